//! Random loss, reordering, duplication, skipping and switching: what a slot sends stays one continuous stream.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringback_sfu::rewrite::{MediaClock, REORDER_WINDOW, Rewriter, Rewritten};

/// What happens to one packet of the source on its way to the rewriter.
#[derive(Debug, Clone, Copy)]
struct Journey {
    lost: bool,
    /// Places that it is overtaken by.
    delay: u8,
    duplicated: bool,
    skipped: bool,
    /// The slot goes over to the other source with this packet, if it comes in order.
    switches: bool,
}

fn journey() -> impl Strategy<Value = Journey> {
    let delay = prop_oneof![6 => Just(0_u8), 2 => 1_u8..5, 1 => 5_u8..40];
    (
        prop::bool::weighted(0.1),
        delay,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.25),
        prop::bool::weighted(0.02),
    )
        .prop_map(|(lost, delay, duplicated, skipped, switches)| Journey {
            lost,
            delay,
            duplicated,
            skipped,
            switches,
        })
}

/// A packet as it arrives: its number is not wrapped.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    number: u64,
    skipped: bool,
    switches: bool,
}

fn arrivals(first: u64, journeys: &[Journey]) -> Vec<Arrival> {
    let mut queue = Vec::new();
    for (place, journey) in journeys.iter().enumerate() {
        if journey.lost {
            continue;
        }
        let arrival = Arrival { number: first + place as u64, skipped: journey.skipped, switches: journey.switches };
        queue.push((place + usize::from(journey.delay), place, arrival));
        if journey.duplicated {
            queue.push((place + usize::from(journey.delay) + 3, place, arrival));
        }
    }
    queue.sort_by_key(|&(at, place, _)| (at, place));
    queue.into_iter().map(|(_, _, arrival)| arrival).collect()
}

/// The stretch between two switches.
#[derive(Debug, Default)]
struct Stretch {
    first: u64,
    /// Incoming number → outgoing number, not wrapped.
    forwarded: BTreeMap<u64, u64>,
    /// Numbers that were left out before anything newer had been seen.
    closed: BTreeSet<u64>,
    highest: u64,
}

fn unwrap_near(highest: u64, number: u16) -> u64 {
    highest.wrapping_add_signed(i64::from(number.wrapping_sub(highest as u16) as i16))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_a_slot_sends_is_one_continuous_stream(
        journeys in prop::collection::vec(journey(), 1..600),
        starts in prop::array::uniform2(any::<u16>()),
        first_sequence in any::<u16>(),
        first_timestamp in any::<u32>(),
    ) {
        let begin = Instant::now();
        let mut rewriter = Rewriter::new(MediaClock::VIDEO, first_sequence, first_timestamp);
        let sources = [0x1111_u32, 0x2222];
        let streams = starts.map(|start| arrivals((1 << 20) + u64::from(start), &journeys));
        let mut cursors = [0_usize; 2];
        let mut active = 0_usize;
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut outgoing_highest = (1_u64 << 20) + u64::from(first_sequence) - 1;
        let mut newest_timestamp: Option<u32> = None;
        let mut wants_switch = true;
        let mut step = 0_u32;
        let mut seen = [0_u64; 2];

        // Both sources arrive all the time, interleaved; one of them flows.
        while cursors.iter().zip(&streams).any(|(&cursor, stream)| cursor < stream.len()) {
            for index in 0..2 {
                let Some(&arrival) = streams[index].get(cursors[index]) else { continue };
                cursors[index] += 1;
                step += 1;
                let now = begin + Duration::from_millis(u64::from(step));
                let timestamp = (arrival.number as u32).wrapping_mul(3_000).wrapping_add(index as u32 * 1_000_000);
                let in_order = arrival.number > seen[index];
                seen[index] = seen[index].max(arrival.number);

                if wants_switch && index == active && in_order {
                    let first = rewriter.switch(now, sources[index], arrival.number as u16, timestamp);
                    if let Some(newest) = newest_timestamp {
                        prop_assert!(first.wrapping_sub(newest) as i32 >= 3_000, "the timestamp advances by a frame at least");
                    } else {
                        prop_assert_eq!(first, first_timestamp);
                    }
                    prop_assert_eq!(rewriter.timestamp_offset(), first.wrapping_sub(timestamp));
                    stretches.push(Stretch { first: arrival.number, highest: arrival.number - 1, ..Stretch::default() });
                    wants_switch = false;
                }

                let stretch_at = stretches.len();
                let mine = rewriter.source() == Some(sources[index]);
                if arrival.skipped && mine && stretch_at > 0 {
                    let stretch = stretches.last_mut().unwrap();
                    rewriter.skip(sources[index], arrival.number as u16);
                    if arrival.number > stretch.highest {
                        stretch.closed.insert(arrival.number);
                        stretch.highest = arrival.number;
                    }
                } else if !arrival.skipped {
                    match rewriter.rewrite(now, sources[index], arrival.number as u16, timestamp) {
                        Rewritten::Forward { sequence, timestamp } => {
                            prop_assert!(mine, "only the present source is forwarded");
                            let outgoing = unwrap_near(outgoing_highest, sequence);
                            outgoing_highest = outgoing_highest.max(outgoing);
                            let stretch = stretches.last_mut().unwrap();
                            let before = stretch.forwarded.insert(arrival.number, outgoing);
                            prop_assert_eq!(before, None, "a duplicate was sent twice");
                            stretch.highest = stretch.highest.max(arrival.number);
                            if newest_timestamp.is_none_or(|newest| timestamp.wrapping_sub(newest) as i32 > 0) {
                                newest_timestamp = Some(timestamp);
                            }
                        }
                        Rewritten::Drop(_) => {
                            if let (true, Some(stretch)) = (mine, stretches.last()) {
                                let excused = arrival.number < stretch.first
                                    || stretch.forwarded.contains_key(&arrival.number)
                                    || arrival.number + REORDER_WINDOW as u64 <= stretch.highest;
                                prop_assert!(excused, "a packet was dropped without a reason: {}", arrival.number);
                            }
                        }
                    }
                }
                if arrival.switches && mine && in_order {
                    active = 1 - active;
                    wants_switch = true;
                }
            }
        }

        let mut everything = BTreeSet::new();
        let mut previous_end = None;
        for stretch in &stretches {
            for (&number, &outgoing) in &stretch.forwarded {
                prop_assert!(everything.insert(outgoing), "two packets under one number");
                if let Some(end) = previous_end {
                    prop_assert!(outgoing > end, "a switch stepped back");
                }
                // The distance to the start of the stretch is what came in, without what was closed up: losses stay gaps.
                let closed = stretch.closed.range(..number).count() as u64;
                let start = previous_end.map_or((1 << 20) + u64::from(first_sequence), |end| end + 1);
                prop_assert_eq!(outgoing, start + (number - stretch.first) - closed);
            }
            // Everything up to the highest number of the stretch has its place, closed ones excepted.
            let used = stretch.highest + 1 - stretch.first - stretch.closed.len() as u64;
            let start = previous_end.map_or((1 << 20) + u64::from(first_sequence), |end| end + 1);
            previous_end = Some(start + used - 1);
        }
    }
}
