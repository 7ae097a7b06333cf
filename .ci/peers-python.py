"""The same little MCP server on two frameworks, for `.ci/peers`: peers-python.py <mcp|fastmcp> <stdio|http|sse> [port]

Its tools have the names of those of @modelcontextprotocol/server-everything, so that one driver does for all.
"""

import asyncio
import sys
import warnings

warnings.simplefilter("ignore")

framework, transport, port = sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["0"])[0])

import mcp_types as types
from pydantic import BaseModel

if framework == "mcp":
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context

    server = MCPServer("peer", version="1", log_level="WARNING")
    named = server.tool
else:
    from fastmcp import Context, FastMCP

    server = FastMCP("peer", version="1")
    named = server.tool


class Form(BaseModel):
    name: str


def modern(ctx):
    if framework == "mcp":
        return ctx.protocol_version >= "2026-07-28"
    return ctx._is_modern_protocol()


async def ask(ctx, request, directly):
    """Asks the client for input, in the way of the protocol revision in use."""
    if not modern(ctx):
        return await directly()
    if not ctx.input_responses:
        return types.InputRequiredResult(input_requests={"question": request})
    return ctx.input_responses["question"]


def told(answer):
    return answer if isinstance(answer, types.InputRequiredResult) else f"the client said: {answer}"


@named(name="echo")
async def echo(message: str) -> str:
    return f"Echo: {message}"


@named(name="trigger-long-running-operation")
async def slow(ctx: Context, duration: float = 10, steps: int = 5) -> str:
    for step in range(steps):
        await asyncio.sleep(duration / steps)
        await ctx.report_progress(step + 1, steps)
    return "done"


async def sampling(ctx: Context, prompt: str = ""):
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="hi"))
    params = types.CreateMessageRequestParams(messages=[message], max_tokens=10)

    async def directly():
        return await ctx.session.create_message([message], max_tokens=10, related_request_id=ctx.request_id)

    return told(await ask(ctx, types.CreateMessageRequest(params=params), directly))


async def elicitation(ctx: Context):
    schema = Form.model_json_schema()
    params = types.ElicitRequestFormParams(message="who?", requested_schema=schema)

    async def directly():
        return await ctx.session.elicit_form("who?", schema, related_request_id=ctx.request_id)

    return told(await ask(ctx, types.ElicitRequest(params=params), directly))


async def roots(ctx: Context):
    return told(await ask(ctx, types.ListRootsRequest(), ctx.session.list_roots))


async def touch(ctx: Context, uri: str) -> str:
    if framework == "mcp" and modern(ctx):
        await ctx.notify_resource_updated(uri)
        return "touched"
    params = types.ResourceUpdatedNotificationParams(uri=uri)
    notification = types.ResourceUpdatedNotification(params=params)
    if framework == "mcp":
        await ctx.session.send_notification(notification)
    else:
        await ctx.send_notification(notification)
    return "touched"


extra = {"structured_output": False} if framework == "mcp" else {"output_schema": None}
named(name="trigger-sampling-request", **extra)(sampling)
named(name="trigger-elicitation-request", **extra)(elicitation)
named(name="get-roots-list", **extra)(roots)
named(name="touch", **extra)(touch)


@server.resource("demo://text/1", mime_type="text/plain")
def text() -> str:
    return "one"


@server.resource("demo://resource/dynamic/text/{resourceId}", mime_type="text/plain")
def dynamic(resourceId: str) -> str:
    return f"text {resourceId}"


@server.prompt(name="simple-prompt")
def simple() -> str:
    return "Say hello."


@server.prompt(name="completable-prompt")
def completable(department: str, name: str = "") -> str:
    return f"Promote {name} of {department}."


@server.completion()
async def complete(ref, argument, context):
    values = ["Engineering", "Sales"]
    return types.Completion(values=[value for value in values if value.startswith(argument.value)])


print("the peer is up", file=sys.stderr, flush=True)
names = {"stdio": "stdio", "http": "streamable-http", "sse": "sse"}
options = {} if transport == "stdio" else {"host": "127.0.0.1", "port": port}
if framework == "fastmcp":
    options["show_banner"] = False
server.run(transport=names[transport], **options)
