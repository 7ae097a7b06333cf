"""What FastMCP's session monitoring costs: its wrap, reduced to asyncio.

Each call becomes a task of its own, raced against the session's task; see `fastmcp.rs`, which runs this and
prints ours beside it. One line per measurement: what, how, how many, seconds for all of them.
"""

import asyncio
import contextlib
import sys
import time


async def direct(call, _session):
    return await call


async def monitored(call, session):
    """The reference's order of things: a task per call, wait for the first, cancel the loser and await it."""
    task = asyncio.create_task(call)
    try:
        done, _ = await asyncio.wait({task, session}, return_when=asyncio.FIRST_COMPLETED)
        if session in done:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            error = session.exception()
            raise error if error else RuntimeError("Session task completed unexpectedly")
        return task.result()
    except asyncio.CancelledError:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        raise


async def session_until(over):
    await over.wait()
    raise ConnectionResetError("the server went away")


async def settle():
    """Until everybody waits: one tick starts a call, the next one its task, and one more for good measure."""
    for _ in range(4):
        await asyncio.sleep(0)


async def together(how, n, end_session):
    """n calls in flight; the replies all come at once, or the session ends. From then until all are done."""
    over, replies = asyncio.Event(), asyncio.Event()
    session = asyncio.create_task(session_until(over))
    calls = [asyncio.create_task(how(replies.wait(), session)) for _ in range(n)]
    await settle()
    start = time.perf_counter()
    (over if end_session else replies).set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    seconds = time.perf_counter() - start
    failed = sum(isinstance(result, ConnectionResetError) for result in results)
    assert failed == (n if end_session else 0), results[:3]
    session.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionResetError):
        await session
    return seconds


async def mean(how, n, end_session):
    """A few calls are done in no time: repeat them."""
    times = max(1, 200 // n)
    return sum([await together(how, n, end_session) for _ in range(times)]) / times


async def one_after_another(how, n):
    """A call that waits once for the event loop, n times."""
    session = asyncio.create_task(asyncio.Event().wait())
    start = time.perf_counter()
    for _ in range(n):
        await how(asyncio.sleep(0), session)
    seconds = time.perf_counter() - start
    session.cancel()
    return seconds


async def main(rounds, most):
    for _ in range(rounds):
        for name, how in ("direct", direct), ("monitored", monitored):
            print("sequential", name, 5000, await one_after_another(how, 5000))
            for n in (1, 1000, 16000):
                if n <= most:
                    print("together", name, n, await mean(how, n, end_session=False))
                    if how is monitored:
                        print("ends", name, n, await mean(how, n, end_session=True))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
