//! Who comes into question for anybody's slots in a large room, so that deciding for each of N subscribers does not look at all N others: the
//! longest there, the loudest and the latest, a few more than there are slots. Whom a subscriber alone has an eye on (a pin, who is in their
//! slots) comes on top. It decides nothing: [`SlotAssignment::assign`](crate::slots::SlotAssignment::assign) comes to the same as with everybody.

use crate::ids::ParticipantId;
use crate::slots::{Candidate, Published};

/// What candidates are ordered by; the lowest comes first.
type Key = fn(&Candidate) -> (bool, i64, u64);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Shortlist {
    /// Everyone, in the room's order.
    everyone: Vec<Candidate>,
    /// The place of each in `everyone`, by id.
    places: Vec<(ParticipantId, usize)>,
    /// Who comes into question for anybody, by their place in `everyone`, ascending.
    short: Vec<usize>,
}

impl Shortlist {
    /// The list for subscribers that have up to `slots` slots of a kind each.
    pub(crate) fn new(everyone: Vec<Candidate>, slots: usize) -> Self {
        // Nobody is shown themselves, and one too many tells that not everybody fits.
        let most = slots + 2;
        let mut places: Vec<_> = everyone.iter().enumerate().map(|(at, one)| (one.participant, at)).collect();
        places.sort_unstable();
        let mut short: Vec<usize> = (0..everyone.len()).filter(|&at| everyone[at].on_stage).collect();
        let mut add = |is_one: fn(&Candidate) -> bool, key: Key| {
            let mut ones: Vec<usize> = (0..everyone.len()).filter(|&at| is_one(&everyone[at])).collect();
            if ones.len() > most {
                ones.select_nth_unstable_by_key(most, |&at| key(&everyone[at]));
                ones.truncate(most);
            }
            short.append(&mut ones);
        };
        let latest = |one: &Candidate| (false, -active(one), one.joined);
        add(|one| one.microphone != Published::No || one.camera != Published::No, |one| (false, 0, one.joined));
        add(
            |one| one.microphone == Published::Yes,
            |one| (!one.speaking, if one.speaking { -i64::from(one.loudness) } else { -active(one) }, one.joined),
        );
        add(|one| one.camera == Published::Yes, latest);
        add(|one| one.screen == Published::Yes, latest);
        short.sort_unstable();
        short.dedup();
        Self { everyone, places, short }
    }

    /// Who comes into question for a subscriber who has an eye on `known`, in the room's order. `places` is room to work in.
    pub(crate) fn with<'a>(
        &'a self,
        known: impl Iterator<Item = ParticipantId>,
        places: &'a mut Vec<usize>,
    ) -> impl Iterator<Item = &'a Candidate> {
        places.clear();
        places.extend_from_slice(&self.short);
        places.extend(known.filter_map(|who| {
            let found = self.places.binary_search_by_key(&who, |(other, _)| *other).ok()?;
            Some(self.places[found].1)
        }));
        places.sort_unstable();
        places.dedup();
        places.iter().map(|&at| &self.everyone[at])
    }
}

/// When they last spoke; later is more.
fn active(one: &Candidate) -> i64 {
    i64::try_from(one.last_active).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slots::SlotAssignment;

    fn published() -> impl Strategy<Value = Published> {
        prop_oneof![Just(Published::No), Just(Published::Muted), Just(Published::Yes)]
    }

    /// One person of a room, but for who they are and when they came.
    fn person() -> impl Strategy<Value = Candidate> {
        let tracks = (published(), published(), prop_oneof![4 => Just(Published::No), 1 => published()]);
        (tracks, any::<bool>(), -60..0_i32, 0..6_u64).prop_map(
            |((microphone, camera, screen), speaking, loudness, last_active)| Candidate {
                participant: ParticipantId(0),
                microphone,
                camera,
                screen,
                pinned: false,
                on_stage: false,
                speaking,
                loudness,
                last_active,
                joined: 0,
            },
        )
    }

    /// A room at some moments: people, in some order, and who of them is on the stage.
    fn rooms() -> impl Strategy<Value = Vec<(Vec<Candidate>, Option<prop::sample::Index>)>> {
        let moment = (prop::collection::vec(person(), 1..24), any::<Option<prop::sample::Index>>());
        prop::collection::vec(moment, 1..6)
    }

    proptest! {
        #[test]
        fn a_shortlist_assigns_as_everybody_would(
            moments in rooms(),
            (audio, video, others) in (0..5_usize, 0..5_usize, 0..3_usize),
            unpaired in 0..2_usize,
            (me, pin) in (any::<Option<u8>>(), any::<Option<u8>>()),
            shift in 0..7_u64,
        ) {
            let pairs = |count: usize| -> Vec<_> { (0..count).map(|k| (k + unpaired < count).then_some(k)).collect() };
            let mut of_all = SlotAssignment::default();
            of_all.set_slots(&pairs(audio), &pairs(video));
            let mut of_few = of_all.clone();
            for (mut people, stage) in moments {
                let count = people.len() as u64;
                for (place, one) in people.iter_mut().enumerate() {
                    // Whoever comes later may take an earlier place in the room.
                    one.joined = (place as u64 + shift) % count;
                    one.participant = ParticipantId(one.joined + 10);
                }
                if let Some(stage) = stage {
                    let at = stage.index(people.len());
                    people[at].on_stage = true;
                }
                let id = |n: Option<u8>| n.map(|n| ParticipantId(u64::from(n % 24) + 10));
                let (me, pin) = (id(me), id(pin));
                let seen = |one: &Candidate| Candidate { pinned: pin == Some(one.participant), ..*one };
                let all: Vec<_> = people.iter().filter(|one| Some(one.participant) != me).map(seen).collect();
                let list = Shortlist::new(people, audio.max(video) + others);
                let (known, mut places): (Vec<_>, _) = (of_few.holds().chain(pin).collect(), Vec::new());
                let few = list.with(known.into_iter(), &mut places);
                let few: Vec<_> = few.filter(|one| Some(one.participant) != me).map(seen).collect();
                of_all.assign(&all);
                of_few.assign(&few);
                for slot in 0..audio.max(video) {
                    prop_assert_eq!(of_few.heard(slot), of_all.heard(slot));
                    prop_assert_eq!(of_few.shown(slot), of_all.shown(slot));
                }
                prop_assert_eq!(of_few.focus(), of_all.focus());
            }
        }
    }

    #[test]
    fn of_a_thousand_who_publish_a_few_come_into_question() {
        let person = |n: u64| Candidate {
            participant: ParticipantId(n),
            microphone: Published::Yes,
            camera: Published::Yes,
            screen: Published::No,
            pinned: false,
            on_stage: n == 500,
            speaking: n.is_multiple_of(100),
            loudness: -30,
            last_active: n % 50,
            joined: n,
        };
        let list = Shortlist::new((0..1_000).map(person).collect(), 9);
        let mut places = Vec::new();
        let few: Vec<_> = list.with([ParticipantId(777)].into_iter(), &mut places).collect();
        assert!(few.len() <= 3 * 11 + 2, "{}", few.len());
        let has = |n| few.iter().any(|one| one.participant == ParticipantId(n));
        assert!(has(500) && has(777) && has(0) && has(900) && has(49), "stage, pin, longest there, speaking, latest");
    }
}
