//! A session is known by its address while it leaves its family: nobody else may have that address by then.

#![expect(unsafe_code, reason = "an allocator is unsafe")]

use shared_fate::Session;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::io;
use std::ptr::null_mut;

/// The system's. The memory of one session it hands out again at once, to what is done in the place of another thread.
struct Eager;

#[global_allocator]
static ALLOCATOR: Eager = Eager;

thread_local! {
    /// The next memory that is asked for is the one.
    static WATCH: Cell<bool> = const { Cell::new(false) };
    static WATCHED: Cell<(*mut u8, usize)> = const { Cell::new((null_mut(), 0)) };
    static FREE: Cell<*mut u8> = const { Cell::new(null_mut()) };
    static OTHER_THREAD: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

// SAFETY: it is the system's, but for one piece of memory, which is handed out again with the layout that it had.
unsafe impl GlobalAlloc for Eager {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !FREE.get().is_null() && layout.size() == WATCHED.get().1 {
            return FREE.replace(null_mut());
        }
        // SAFETY: as the caller's.
        let memory = unsafe { System.alloc(layout) };
        if WATCH.replace(false) {
            WATCHED.set((memory, layout.size()));
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if let Some(act) = OTHER_THREAD.try_with(|act| act.borrow_mut().take()).ok().flatten() {
            if memory == WATCHED.get().0 {
                FREE.set(memory);
                return act();
            }
            OTHER_THREAD.set(Some(act));
        }
        // SAFETY: as the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[test]
fn r16_a_child_that_is_born_while_a_sibling_goes_ends_with_its_parent() {
    let root = Session::<io::Error>::new();
    WATCH.set(true);
    let parent = root.child();
    parent.close();
    let child = parent.child();
    drop(parent);
    let (family, born) = (root.clone(), std::rc::Rc::new(Cell::new(None)));
    let cradle = born.clone();
    OTHER_THREAD.set(Some(Box::new(move || cradle.set(Some(family.child())))));
    drop(child);
    let sibling = born.take().expect("the memory of the parent was given back");
    root.close();
    assert!(sibling.is_ended());
}
