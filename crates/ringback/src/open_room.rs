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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_open_until_its_last_worker_has_ended_its_part() {
        let room = OpenRoom::new(RoomId(7), 3);
        room.add_part(1);
        (0..3).for_each(|_| room.came(1));
        room.went(1);
        assert_eq!(room.parts(), [(3, 0), (1, 2)]);
        assert_eq!(room.remove_part(3), Some(true));
        assert_eq!(room.remove_part(3), None);
        assert_eq!((room.workers(), room.remove_part(1)), (vec![1], Some(false)));
    }
}
