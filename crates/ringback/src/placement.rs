//! Which worker takes a room, or a newcomer of one: a choice over passed-in loads, without clocks or workers.

/// Workers whose busy shares differ by less than this, in permille, count as equally busy: shares wander so much by themselves, and a room that was
/// opened a moment ago shows only in the number of people.
const EQUALLY_BUSY: u16 = 50;

/// What is known of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// The share of its time that it lately spent at work, in permille.
    pub(crate) busy: u16,
    /// Connections on it.
    pub(crate) participants: usize,
    /// Rooms opened on it.
    pub(crate) rooms: usize,
}

impl Load {
    /// What loads are compared by; less is better.
    fn rank(self) -> (u16, usize, usize) {
        (self.busy / EQUALLY_BUSY, self.participants, self.rooms)
    }
}

/// The place of the least loaded worker; of equals the first. 0 where there are none.
pub(crate) fn least(loads: impl IntoIterator<Item = (usize, Load)>) -> usize {
    loads.into_iter().min_by_key(|(worker, load)| (load.rank(), *worker)).map_or(0, |(worker, _)| worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads<const N: usize>(of: [(u16, usize, usize); N]) -> impl Iterator<Item = (usize, Load)> {
        of.into_iter().map(|(busy, participants, rooms)| Load { busy, participants, rooms }).enumerate()
    }

    #[test]
    fn a_room_goes_to_the_worker_that_has_the_most_time() {
        assert_eq!(least(loads([(400, 2, 1), (120, 90, 30), (700, 0, 0)])), 1);
    }

    #[test]
    fn of_workers_that_are_about_equally_busy_it_goes_to_the_one_with_the_fewest_people_and_then_rooms() {
        assert_eq!(least(loads([(10, 5, 1), (30, 3, 9), (20, 3, 2)])), 2);
        assert_eq!(least(loads([(0, 0, 1), (0, 0, 0)])), 1);
    }
}
