//! Asks the processor for memory that is needed in a moment. Whoever sends to many reads a little of what belongs to each, which lies in no cache by then; asked for
//! ahead, many such places come at the time of one. Hints only: nothing is read, and nothing depends on them.

use std::slice;

use prefetch_index::prefetch_index;

/// Asks for the beginning of a value: a line of the cache, which has 64 bytes on most machines.
#[inline]
pub fn prefetch<T>(value: &T) {
    prefetch_index(slice::from_ref(value), 0);
}

/// Asks for an element. An index beyond the end does no harm.
#[inline]
pub fn prefetch_at<T>(values: &[T], index: usize) {
    prefetch_index(values, index);
}
