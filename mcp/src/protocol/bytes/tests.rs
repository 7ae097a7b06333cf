//! Unit tests of `protocol::bytes`.

use super::*;

#[test]
fn append_never_reserves_more_than_the_limit() {
    let mut buffer = Vec::new();
    for _ in 0..1000 {
        append(&mut buffer, b"x", 1000);
        assert!(buffer.capacity() <= 1000);
    }
    assert_eq!(buffer.len(), 1000);
}

#[test]
fn reset_releases_a_large_buffer_and_keeps_a_small_one() {
    let mut large = vec![0; KEPT_CAPACITY + 1];
    reset(&mut large);
    assert!(large.is_empty() && large.capacity() <= KEPT_CAPACITY);
    let mut small = vec![0; KEPT_CAPACITY];
    reset(&mut small);
    assert!(small.is_empty() && small.capacity() == KEPT_CAPACITY);
}
