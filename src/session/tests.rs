//! What only the inside can see: that nothing is left in a table.

use super::registrations::Registrations;
use super::slab::Slab;
use super::*;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Wake;

type Bare = Session<Infallible>;

struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn task() -> (Arc<Task>, Waker) {
    let task = Arc::new(Task(AtomicUsize::new(0)));
    (Arc::clone(&task), Waker::from(task))
}

fn poll(ended: &mut Ended<Infallible>, waker: &Waker) -> bool {
    Pin::new(ended).poll(&mut Context::from_waker(waker)).is_ready()
}

#[test]
fn r10_the_table_is_empty_when_the_waiters_are_gone() {
    let session = Bare::new();
    let (_task, waker) = task();
    let mut waiting: Vec<_> = (0..100).map(|_| session.ended()).collect();
    assert_eq!(session.waiting(), 0, "nothing is registered before the first poll");
    for _ in 0..2 {
        for ended in &mut waiting {
            assert!(!poll(ended, &waker));
        }
        assert_eq!(session.waiting(), 100, "a second poll takes no second place");
    }
    for left in (0..100).rev() {
        drop(waiting.swap_remove(left / 2));
        assert_eq!(session.waiting(), left);
    }
}

#[test]
fn r10_places_are_used_again() {
    let session = Bare::new();
    let (_task, waker) = task();
    for _ in 0..1000 {
        let mut pair = (session.ended(), session.ended());
        assert!(!poll(&mut pair.0, &waker) && !poll(&mut pair.1, &waker));
        let (one, two) = (pair.0.registration.place, pair.1.registration.place);
        assert_eq!((one.min(two), session.waiting()), (0, 2));
        assert!(one.max(two) < 2, "the table does not grow");
    }
}

#[test]
fn r11_a_place_given_back_after_the_end_is_no_others() {
    // Registrations of before the end are worthless after it, whichever order they are given back in.
    let session = Bare::new();
    let (counted, waker) = task();
    let (mut one, mut two) = (session.ended(), session.ended());
    assert!(!poll(&mut one, &waker) && !poll(&mut two, &waker));
    session.close();
    assert_eq!((session.waiting(), counted.0.load(SeqCst)), (0, 2));
    drop(one);
    assert!(poll(&mut two, &waker));
    let mut late = session.ended();
    assert!(poll(&mut late, &waker));
    assert_eq!(session.waiting(), 0);
}

#[test]
fn r11_the_end_wakes_every_table() {
    let session = Bare::new();
    let (counted, waker) = task();
    let mut first = session.ended();
    assert!(!poll(&mut first, &waker));
    // As if two threads had met at the first table.
    drop(session.inner.registrations.spread());
    let mut waiting: Vec<_> = (0..8).map(|_| session.ended()).collect();
    for ended in &mut waiting {
        let waker = &waker;
        std::thread::scope(|scope| scope.spawn(move || assert!(!poll(ended, waker))).join().unwrap());
    }
    assert_eq!(session.waiting(), 9);
    // What is registered stays where it is, whichever thread polls, replaces or drops it.
    let (other, another) = task();
    assert!(!poll(&mut first, &another) && !poll(&mut waiting[0], &another));
    assert_eq!(session.waiting(), 9);
    drop(waiting.pop());
    assert_eq!(session.waiting(), 8);
    session.close();
    assert_eq!((counted.0.load(SeqCst), other.0.load(SeqCst), session.waiting()), (6, 2, 0));
    assert!(poll(&mut first, &waker) && waiting.iter_mut().all(|ended| poll(ended, &waker)));
}

/// Whether the family can still reach this session. Its tree holds the only weak reference.
fn is_in_the_tree(session: &Bare) -> bool {
    Arc::weak_count(&session.inner) == 1
}

#[test]
fn r16_a_child_leaves_its_family_with_its_last_handle() {
    let parent = Bare::new();
    let members = || Arc::strong_count(&parent.inner.family);
    let child = parent.child();
    let (grandchild, again) = (child.child(), child.clone());
    assert!(is_in_the_tree(&child) && is_in_the_tree(&grandchild));
    assert_eq!((members(), parent.waiting(), child.waiting()), (3, 0, 0), "a child is no registration");
    drop(child);
    assert_eq!(members(), 3, "a clone is left");
    drop(again);
    assert_eq!(members(), 3, "a grandchild keeps its line");
    assert!(is_in_the_tree(&grandchild));
    drop(grandchild);
    assert_eq!(members(), 1);
    assert_eq!(Arc::strong_count(&parent.inner), 1, "a child keeps no parent alive after itself");
}

#[test]
fn r16_an_ended_parent_keeps_no_child_in_the_tree() {
    let parent = Bare::new();
    let before = parent.child();
    assert!(is_in_the_tree(&before));
    parent.close();
    let after = parent.child();
    assert!(before.is_ended() && after.is_ended());
    assert!(!is_in_the_tree(&before) && !is_in_the_tree(&after));
}

#[test]
fn r16_a_child_that_ends_alone_leaves_the_tree_with_its_line() {
    let parent = Bare::new();
    let (child, sibling) = (parent.child(), parent.child());
    let grandchild = child.child();
    child.close();
    assert_eq!([&child, &grandchild, &sibling].map(is_in_the_tree), [false, false, true]);
    assert_eq!([&child, &grandchild, &sibling].map(Session::is_ended), [true, true, false]);
    // What is born below takes the places that are free now, and what has left takes none of them along.
    let (late, new) = (child.child(), [parent.child(), sibling.child()]);
    assert!(late.is_ended() && !is_in_the_tree(&late));
    drop((child, grandchild, late));
    assert!(new.iter().all(|session| is_in_the_tree(session) && !session.is_ended()));
    parent.close();
    assert!(new.iter().all(|session| session.is_ended() && !is_in_the_tree(session)));
}

#[test]
fn r16_a_parents_end_reaches_a_long_line() {
    let parent = Bare::new();
    let mut line = vec![parent.child()];
    for _ in 0..100_000 {
        line.push(line[line.len() - 1].child());
    }
    parent.close();
    assert!(line.iter().all(Session::is_ended));
    // The last one keeps them all.
    let last = line.pop();
    drop((parent, line));
    drop(last);
}

#[test]
fn r16_a_long_line_that_is_alive_is_dropped_step_by_step() {
    let parent = Bare::new();
    let mut last = parent.child();
    for _ in 0..100_000 {
        last = last.child();
    }
    drop(last);
    assert_eq!(Arc::strong_count(&parent.inner.family), 1);
    assert_eq!(Arc::strong_count(&parent.inner), 1);
}

#[test]
fn r16_a_place_among_children_is_used_again_and_never_after_the_end() {
    let parent = Bare::new();
    let (first, second) = (parent.child(), parent.child());
    drop(first);
    let third = parent.child();
    assert!(is_in_the_tree(&second) && is_in_the_tree(&third));
    parent.close();
    let late = parent.child();
    assert!([&second, &third, &late].iter().all(|child| child.is_ended() && !is_in_the_tree(child)));
    drop((second, third));
    drop(late);
    assert_eq!(Arc::strong_count(&parent.inner), 1);
    assert_eq!(Arc::strong_count(&parent.inner.family), 1);
}

#[test]
fn r11_what_comes_after_the_end_is_refused_under_the_lock() {
    let registrations = Registrations::default();
    let [mut taken, mut between, mut late] = [(); 3].map(|()| Registration::default());
    assert!(registrations.register(&mut taken, Waker::noop().clone(), || false));
    assert!(!registrations.replace(&mut taken, Waker::noop().clone(), || true));
    // Latched, but not emptied: it is woken with the others.
    assert!(registrations.register(&mut between, Waker::noop().clone(), || true));
    assert_eq!(registrations.len(), 2);
    registrations.wake_all();
    assert_eq!(registrations.len(), 0);
    assert!(!registrations.register(&mut late, Waker::noop().clone(), || true));
    assert!(!late.is_taken() && taken.is_taken());
    registrations.deregister(&mut taken);
    assert!(!taken.is_taken());
    assert_eq!(registrations.len(), 0);
}

#[test]
fn r11_an_end_leaves_no_room_where_many_have_waited() {
    let registrations = Registrations::default();
    let (mut first, mut late) = (Registration::default(), Registration::default());
    assert!(registrations.register(&mut first, Waker::noop().clone(), || false));
    registrations.deregister(&mut first);
    registrations.wake_all();
    assert!(!registrations.register(&mut late, Waker::noop().clone(), || true));
}

#[test]
fn r22_a_table_gives_memory_back_and_keeps_its_numbers() {
    let mut table = Slab::default();
    let numbers: Vec<_> = (0..4096).map(|value| table.insert(value)).collect();
    let full = table.capacity();
    // Down to a quarter nothing is given back: a table that breathes does not allocate in every breath.
    let (kept, gone) = numbers.split_at(1024);
    for &number in gone {
        assert_eq!(table.remove(number), Some(number));
    }
    assert_eq!((table.len(), table.capacity()), (1024, full));
    // The first ones stay, whichever of the others go first.
    for &number in &kept[100..] {
        assert_eq!(table.remove(number), Some(number));
    }
    assert_eq!(table.len(), 100);
    assert!(table.capacity() <= 200, "{} of {full}", table.capacity());
    for &number in &kept[..100] {
        assert_eq!(table.get_mut(number), Some(&mut number.clone()));
    }
    for &number in &kept[..50] {
        assert_eq!(table.remove(number), Some(number));
    }
    let mut again: Vec<_> = (0..50).map(|value| table.insert(value)).collect();
    again.sort_unstable();
    assert_eq!(again, kept[..50], "places that were given back are taken first");
    for &number in &kept[..100] {
        table.remove(number);
    }
    assert!(table.is_empty() && table.capacity() <= 64, "{}", table.capacity());
}

/// Against a map, with a fixed sequence of random steps.
#[test]
fn r22_a_table_is_a_map_by_number() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    let (mut table, mut map) = (Slab::default(), std::collections::BTreeMap::new());
    for step in 0..200_000_u32 {
        // It fills and empties in long waves.
        let fills = (step / 10_000) % 2 == 0;
        if map.is_empty() || random(10) < if fills { 7 } else { 3 } {
            let number = table.insert(step);
            assert_eq!(map.insert(number, step), None, "the place is another's");
        } else {
            let number = *map.keys().nth(random(map.len().min(50))).unwrap();
            assert_eq!(table.remove(number), map.remove(&number));
        }
        let highest = map.last_key_value().map_or(0, |(&highest, _)| highest as usize + 1);
        assert!(table.capacity() <= 64.max(4 * highest), "{} for {highest}", table.capacity());
    }
    assert_eq!(table.len(), map.len());
    assert!(map.iter().all(|(&number, value)| table.get_mut(number) == Some(&mut value.clone())));
    let mut values: Vec<_> = table.into_values().collect();
    values.sort_unstable();
    let mut expected: Vec<_> = map.into_values().collect();
    expected.sort_unstable();
    assert_eq!(values, expected);
}

#[test]
fn r22_a_place_at_the_end_keeps_what_is_below_it() {
    let mut table = Slab::default();
    let numbers: Vec<_> = (0..1000).map(|value| table.insert(value)).collect();
    let full = table.capacity();
    for &number in &numbers[..999] {
        assert_eq!(table.remove(number), Some(number));
    }
    assert_eq!((table.len(), table.capacity()), (1, full));
    // It is found where it was, and the places below are all there to be taken.
    let mut again: Vec<_> = (0..999).map(|value| table.insert(value)).collect();
    again.sort_unstable();
    assert_eq!(again, numbers[..999]);
    assert_eq!((table.capacity(), table.get_mut(999)), (full, Some(&mut 999)));
}
