//! A room that is open: on which workers it is, and how many of its participants are on each.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ringback_sfu::RoomId;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct OpenRoom {
    pub(crate) id: RoomId,
    /// The workers that have a part of it, and how many are connected there.
    parts: Mutex<Vec<(usize, usize)>>,
    /// Held while it is given a part more, or closed.
    pub(crate) changes: tokio::sync::Mutex<()>,
}

impl OpenRoom {
    pub(crate) fn new(id: RoomId, worker: usize) -> Self {
        Self { id, parts: Mutex::new(vec![(worker, 0)]), changes: tokio::sync::Mutex::default() }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<(usize, usize)>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn parts(&self) -> Vec<(usize, usize)> {
        self.locked().clone()
    }

    /// The workers that have a part of it.
    pub(crate) fn workers(&self) -> Vec<usize> {
        self.locked().iter().map(|(worker, _)| *worker).collect()
    }

    pub(crate) fn add_part(&self, worker: usize) {
        self.locked().push((worker, 0));
    }

    /// A worker has no part of it any more. `None`: it had none; otherwise whether there are others.
    pub(crate) fn remove_part(&self, worker: usize) -> Option<bool> {
        let mut parts = self.locked();
        let at = parts.iter().position(|(other, _)| *other == worker)?;
        parts.swap_remove(at);
        Some(!parts.is_empty())
    }

    /// Somebody has come to a worker.
    pub(crate) fn came(&self, worker: usize) {
        self.locked().iter_mut().filter(|part| part.0 == worker).for_each(|part| part.1 += 1);
    }

    /// Somebody has gone from a worker.
    pub(crate) fn went(&self, worker: usize) {
        self.locked().iter_mut().filter(|part| part.0 == worker).for_each(|part| part.1 = part.1.saturating_sub(1));
    }
}
