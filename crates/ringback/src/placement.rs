//! Which worker takes a room, or a newcomer of one: a choice over passed-in loads, without clocks or workers. A room stays on the workers that it has; it is given
//! one more for its newcomers where those are busy, or hold as much of it as they are meant to.

/// Workers whose busy shares differ by less than this, in permille, count as equally busy: shares wander so much by themselves, and a room that was
/// opened a moment ago shows only in the number of people.
const EQUALLY_BUSY: u16 = 50;

/// From this busy share on, in permille, a room's newcomers go to another worker, if one is much less busy. Lower shares spread rooms that would have fitted, and spanning costs a
/// copy of each packet; higher ones leave less for those who are there already when many come within a second.
const BUSY: u16 = 600;

/// Much less busy: by this share, in permille.
const MUCH: u16 = 250;

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

/// A worker, by its number, with its load.
pub(crate) type Candidate = (usize, Load);

/// Where a newcomer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// To a worker that has the room.
    Stay(usize),
    /// To another, which gets a part of the room.
    Spread(usize),
}

/// The least loaded worker; of equals the first. 0 where there are none.
pub(crate) fn least(loads: impl IntoIterator<Item = Candidate>) -> usize {
    least_of(loads).map_or(0, |(worker, _)| worker)
}

fn least_of(loads: impl IntoIterator<Item = Candidate>) -> Option<Candidate> {
    loads.into_iter().min_by_key(|(worker, load)| (load.rank(), *worker))
}

/// Chooses for a newcomer of a room that is on `parts`, each with how many of the room's participants are there, and could spread to `others`. A worker takes `most` of one room, unless
/// there is no other.
pub(crate) fn for_newcomer(parts: &[(Candidate, usize)], others: &[Candidate], most: usize) -> Choice {
    let spare = least_of(others.iter().copied());
    let has_room = parts.iter().filter(|(_, held)| *held < most).map(|(candidate, _)| *candidate);
    let Some((best, load)) = least_of(has_room) else {
        let all = parts.iter().map(|(candidate, _)| *candidate);
        return spare.map_or_else(|| Choice::Stay(least(all)), |(spare, _)| Choice::Spread(spare));
    };
    match spare {
        Some((spare, other)) if load.busy >= BUSY && other.busy + MUCH <= load.busy => Choice::Spread(spare),
        _ => Choice::Stay(best),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads<const N: usize>(of: [(u16, usize, usize); N]) -> impl Iterator<Item = Candidate> {
        of.into_iter().map(|(busy, participants, rooms)| Load { busy, participants, rooms }).enumerate()
    }

    fn busy(worker: usize, busy: u16) -> Candidate {
        (worker, Load { busy, ..Load::default() })
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

    #[test]
    fn a_newcomer_stays_with_the_room_until_its_worker_is_busy_and_another_is_not() {
        let choose = |part, other| for_newcomer(&[(busy(0, part), 40)], &[busy(1, other)], usize::MAX);
        assert_eq!(choose(500, 0), Choice::Stay(0));
        assert_eq!(choose(600, 0), Choice::Spread(1));
        assert_eq!(choose(900, 700), Choice::Stay(0), "that would not help");
        assert_eq!(for_newcomer(&[(busy(0, 990), 40)], &[], usize::MAX), Choice::Stay(0));
    }

    #[test]
    fn a_newcomer_goes_to_the_least_busy_part_that_holds_less_than_it_may() {
        let parts = [(busy(0, 100), 10), (busy(1, 300), 9)];
        assert_eq!(for_newcomer(&parts, &[busy(2, 0)], 20), Choice::Stay(0));
        assert_eq!(for_newcomer(&parts, &[busy(2, 0)], 10), Choice::Stay(1));
        assert_eq!(for_newcomer(&parts, &[busy(2, 500), busy(3, 400)], 9), Choice::Spread(3));
        assert_eq!(for_newcomer(&parts, &[], 9), Choice::Stay(0), "rather more than meant than nobody");
    }
}
