//! The only file that says std, loom or shuttle.
//!
//! Everything whose interleaving matters comes from here, so that the models run the code that ships.
//! Reference counts (`Arc`) are std's in every build, and the models cannot see into them: nothing here may
//! depend on the order in which another thread sees a count change.

#[cfg(not(any(shared_fate_loom, shared_fate_shuttle)))]
mod imp {
    use std::cell::Cell;
    pub(crate) use std::sync::MutexGuard;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{OnceLock, PoisonError};

    /// `std::sync::Mutex` without poison: no user code runs under our locks, so a panic cannot leave
    /// anything half done behind one.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        #[inline]
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// A value that is set once and then only read: one `Acquire` load to look, no lock.
    #[derive(Debug)]
    pub(crate) struct Latch<T>(OnceLock<T>);

    impl<T> Latch<T> {
        pub(crate) fn new() -> Self {
            Self(OnceLock::new())
        }

        /// Whether this call set the value. When it returns, the value is set, whoever did it.
        pub(crate) fn set(&self, value: T) -> bool {
            self.0.set(value).is_ok()
        }

        #[inline]
        pub(crate) fn is_set(&self) -> bool {
            self.0.get().is_some()
        }
    }

    impl<T: Clone> Latch<T> {
        #[inline]
        pub(crate) fn get(&self) -> Option<T> {
            // Most who look find nothing.
            #[cold]
            fn cloned<T: Clone>(value: &T) -> T {
                value.clone()
            }
            self.0.get().map(cloned)
        }
    }

    /// A thread that lives: the next one may get the number of one that is gone.
    pub(crate) type ThreadId = usize;

    #[inline]
    pub(crate) fn thread_id() -> ThreadId {
        // Of no size, it might share its address with others.
        thread_local!(static HERE: u8 = const { 0 });
        HERE.with(|here| std::ptr::from_ref(here).addr())
    }

    /// How many locks the waiters of one session are spread over.
    pub(crate) const SHARDS: usize = 8;

    /// This thread's shard. Threads are dealt out in turn, so up to [`SHARDS`] of them never meet.
    #[inline]
    pub(crate) fn shard() -> usize {
        const UNSET: usize = usize::MAX;
        // No destructor and a constant: reading it is one load.
        thread_local!(static SHARD: Cell<usize> = const { Cell::new(UNSET) });
        #[cold]
        fn deal(shard: &Cell<usize>) -> usize {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
            shard.get()
        }
        SHARD.with(|shard| if shard.get() == UNSET { deal(shard) } else { shard.get() })
    }
}

#[cfg(any(shared_fate_loom, shared_fate_shuttle))]
mod imp {
    #[cfg(shared_fate_loom)]
    pub(crate) use loom::sync::MutexGuard;
    #[cfg(shared_fate_loom)]
    use loom::sync::{
        Mutex as Inner,
        atomic::{AtomicBool, Ordering},
    };
    #[cfg(shared_fate_shuttle)]
    pub(crate) use shuttle::sync::MutexGuard;
    #[cfg(shared_fate_shuttle)]
    use shuttle::sync::{
        Mutex as Inner,
        atomic::{AtomicBool, Ordering},
    };
    use std::sync::PoisonError;

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(Inner<T>);

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Self(Inner::new(T::default()))
        }
    }

    impl<T> Mutex<T> {
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// What `OnceLock` promises, from parts the models know: the flag is stored with `Release` after
    /// the value, and a caller of `set` that lost waits until the flag is up.
    #[derive(Debug)]
    pub(crate) struct Latch<T> {
        set: AtomicBool,
        value: Inner<Option<T>>,
    }

    impl<T> Latch<T> {
        pub(crate) fn new() -> Self {
            Self { set: AtomicBool::new(false), value: Inner::new(None) }
        }

        pub(crate) fn set(&self, value: T) -> bool {
            let mut slot = self.value.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.is_some() {
                return false;
            }
            *slot = Some(value);
            self.set.store(true, Ordering::Release);
            true
        }

        pub(crate) fn is_set(&self) -> bool {
            self.set.load(Ordering::Acquire)
        }
    }

    impl<T: Clone> Latch<T> {
        pub(crate) fn get(&self) -> Option<T> {
            if !self.is_set() {
                return None;
            }
            self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    #[cfg(shared_fate_loom)]
    use loom::thread;
    #[cfg(shared_fate_shuttle)]
    use shuttle::thread;
    pub(crate) use thread::ThreadId;

    pub(crate) fn thread_id() -> ThreadId {
        thread::current().id()
    }

    /// One shard: the models are about one lock's order, and every further lock multiplies them.
    pub(crate) const SHARDS: usize = 1;

    pub(crate) fn shard() -> usize {
        0
    }
}

pub(crate) use imp::{Latch, Mutex, MutexGuard, SHARDS, ThreadId, shard, thread_id};
