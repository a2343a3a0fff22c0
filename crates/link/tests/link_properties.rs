//! What holds for every link, whatever its profile and seed; and what the dice throw in the long run.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringback_link::{Conditions, GilbertElliott, Link, Network, OVERHEAD, Profile};

type Packet = Vec<u8>;

/// Packets with a number, of some size, each some time after the one before.
fn traffic() -> impl Strategy<Value = Vec<(Duration, Packet)>> {
    let packet = (0_u64..20_000, 8_usize..1400);
    prop::collection::vec(packet, 1..300).prop_map(|packets| {
        let numbered = packets.into_iter().enumerate().map(|(number, (gap, size))| {
            let mut bytes = vec![0; size];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            (Duration::from_micros(gap), bytes)
        });
        numbered.collect()
    })
}

prop_compose! {
    fn conditions()(
        delay in 0_u64..200,
        jitter in 0_u64..40,
        reorder in prop_oneof![Just(0.0), 0.0..0.2],
        to_bad in 0.0..0.2,
        loss_bad in 0.0..1.0,
        duplicate in prop_oneof![Just(0.0), 0.0..0.1],
        rate in prop_oneof![Just(None), (0_u64..5_000_000).prop_map(Some)],
        burst in 1500_usize..8000,
        queue in 0_usize..60_000,
    ) -> Conditions {
        Conditions {
            delay: Duration::from_millis(delay),
            jitter: Duration::from_millis(jitter),
            reorder,
            reorder_by: Duration::from_millis(30),
            loss: GilbertElliott { to_bad, to_good: 0.3, loss_good: 0.0, loss_bad },
            duplicate,
            rate,
            burst,
            queue,
        }
    }
}

fn profile() -> impl Strategy<Value = Profile> {
    let stages = prop::collection::vec((10_u64..2000, conditions()), 1..5);
    (stages, any::<bool>()).prop_map(|(stages, repeats)| {
        let stages = stages.into_iter().map(|(length, conditions)| (Duration::from_millis(length), conditions));
        let profile = Profile::stages(stages);
        if repeats { profile.repeating() } else { profile }
    })
}

fn number(packet: &[u8]) -> u64 {
    u64::from_be_bytes(packet[..8].try_into().unwrap())
}

/// Sends it all and collects what arrives within a minute after; `every` is how often it is polled besides.
fn run(link: &mut Link<Packet>, traffic: &[(Duration, Packet)], every: Option<Duration>) -> Vec<(Duration, Packet)> {
    let began = Instant::now();
    let mut now = began;
    let mut arrived = Vec::new();
    let drain = |link: &mut Link<Packet>, now, arrived: &mut Vec<_>| {
        while let Some((at, packet)) = link.poll(now) {
            arrived.push((at - began, packet));
        }
    };
    // The profile begins here, and not with whatever comes first.
    drain(link, now, &mut arrived);
    for (gap, packet) in traffic {
        let at = now + *gap;
        while let Some(every) = every.filter(|every| now + *every < at) {
            now += every;
            drain(link, now, &mut arrived);
        }
        now = at;
        link.send(now, packet.clone());
    }
    let end = now + Duration::from_secs(60);
    while let Some(at) = link.poll_timeout().filter(|at| *at <= end) {
        drain(link, at, &mut arrived);
    }
    arrived
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_seed_gives_the_same_result_however_often_it_is_polled(
        profile in profile(), traffic in traffic(), seed in any::<u64>(), every in 1_u64..50,
    ) {
        let once = run(&mut Link::new(profile.clone(), seed), &traffic, None);
        let polled = run(&mut Link::new(profile, seed), &traffic, Some(Duration::from_millis(every)));
        prop_assert_eq!(once, polled);
    }

    #[test]
    fn order_is_kept_unless_packets_are_held_back(mut conditions in conditions(), traffic in traffic(), seed in any::<u64>()) {
        conditions.reorder = 0.0;
        let arrived = run(&mut Link::new(Profile::constant(conditions), seed), &traffic, None);
        prop_assert!(arrived.is_sorted_by_key(|(at, packet)| (*at, number(packet))));
    }

    #[test]
    fn a_held_back_packet_is_overtaken_but_nothing_is_early(conditions in conditions(), traffic in traffic(), seed in any::<u64>()) {
        let mut sent_at = Duration::ZERO;
        let times: Vec<Duration> = traffic.iter().map(|(gap, _)| { sent_at += *gap; sent_at }).collect();
        for (at, packet) in run(&mut Link::new(Profile::constant(conditions), seed), &traffic, None) {
            prop_assert!(at >= times[number(&packet) as usize] + conditions.delay);
        }
    }

    #[test]
    fn no_stretch_of_time_carries_more_than_its_rate_and_one_burst(
        rate in 50_000_u64..5_000_000, burst in 1500_usize..6000, traffic in traffic(), seed in any::<u64>(),
    ) {
        let conditions = Conditions { burst, ..Conditions::PERFECT.with_rate(rate, Duration::from_millis(400)) };
        let arrived = run(&mut Link::new(Profile::constant(conditions), seed), &traffic, None);
        for first in 0..arrived.len() {
            let mut bits = 0;
            for (at, packet) in &arrived[first..] {
                bits += (packet.len() + OVERHEAD) as u128 * 8;
                let time = (*at - arrived[first].0).as_nanos();
                prop_assert!(bits * 1_000_000_000 <= burst as u128 * 8_000_000_000 + u128::from(rate) * (time + 1));
            }
        }
    }

    #[test]
    fn the_queue_never_holds_more_than_its_limit_and_every_packet_is_accounted_for(
        profile in profile(), traffic in traffic(), seed in any::<u64>(),
    ) {
        let limit = profile.iter().map(|(_, conditions)| conditions.queue).max().unwrap();
        let mut link = Link::new(profile, seed);
        let arrived = run(&mut link, &traffic, None);
        let statistics = link.statistics();
        prop_assert!(statistics.queue_peak <= limit);
        prop_assert_eq!(statistics.sent, traffic.len() as u64);
        prop_assert_eq!(statistics.delivered, arrived.len() as u64);
        // What an outage without end keeps is neither lost nor delivered.
        let gone = statistics.delivered - statistics.duplicated + statistics.lost + statistics.dropped;
        prop_assert!(gone == statistics.sent || (gone < statistics.sent && link.queued_bytes() > 0));
    }
}

#[test]
fn losses_are_as_many_and_as_long_as_the_figures_say() {
    let loss = GilbertElliott { to_bad: 0.02, to_good: 0.25, loss_good: 0.0, loss_bad: 1.0 };
    for seed in 0..5 {
        let mut link = Link::new(Profile::constant(Conditions::PERFECT.with_loss(loss)), seed);
        let now = Instant::now();
        let count = 50_000_u64;
        for number in 0..count {
            link.send(now, number.to_be_bytes().to_vec());
        }
        let arrived: Vec<u64> = std::iter::from_fn(|| link.poll(now)).map(|(_, packet)| number(&packet)).collect();
        let share = 1.0 - arrived.len() as f64 / count as f64;
        assert!((share - loss.mean()).abs() < 0.01, "seed {seed}: {share} lost instead of {}", loss.mean());
        let bursts: Vec<u64> = arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0).collect();
        let mean = bursts.iter().sum::<u64>() as f64 / bursts.len() as f64;
        assert!(
            (mean - 1.0 / loss.to_good).abs() < 0.4,
            "seed {seed}: bursts of {mean} instead of {}",
            1.0 / loss.to_good
        );
    }
}

#[test]
fn other_figures_leave_the_losses_of_a_seed_where_they_were() {
    let loss = GilbertElliott::random(0.2);
    let run_with = |conditions: Conditions| {
        let mut link = Link::new(Profile::constant(conditions.with_loss(loss)), 11);
        let now = Instant::now();
        (0..500_u64).for_each(|number| link.send(now, number.to_be_bytes().to_vec()));
        let end = now + Duration::from_secs(10);
        let mut numbers: Vec<u64> = std::iter::from_fn(|| link.poll(end)).map(|(_, packet)| number(&packet)).collect();
        numbers.sort_unstable();
        numbers
    };
    let jittery = Conditions::delayed(Duration::from_millis(40), Duration::from_millis(9));
    let quiet = run_with(Conditions::PERFECT);
    assert!(quiet.len() < 450);
    assert_eq!(quiet, run_with(jittery.with_reordering(0.1, Duration::from_millis(5))));
}

#[test]
fn what_waits_through_an_outage_leaves_after_it() {
    let open = Conditions::PERFECT.with_rate(1_000_000, Duration::from_millis(500));
    let second = Duration::from_secs(1);
    let profile = Profile::stages([(second, open), (second, open.with_outage(10_000)), (second, open)]);
    let mut link = Link::new(profile, 1);
    let began = Instant::now();
    assert!(link.poll(began).is_none());
    link.send(began + second.mul_f64(1.5), vec![0; 1000]);
    link.send(began + second.mul_f64(1.6), vec![1; 1000]);
    assert!(link.poll(began + second.mul_f64(1.99)).is_none());
    assert_eq!(link.poll_timeout(), Some(began + 2 * second));
    let arrived: Vec<Duration> =
        std::iter::from_fn(|| link.poll(began + 3 * second)).map(|(at, _)| at - began).collect();
    assert_eq!(arrived.len(), 2);
    assert!(arrived.iter().all(|at| *at >= 2 * second && *at < second.mul_f64(2.1)), "{arrived:?}");
}

#[test]
fn ten_minutes_of_every_network_carry_most_of_a_thin_stream() {
    for network in Network::all() {
        let mut link = Link::new(network.down, 3);
        let began = Instant::now();
        for packet in 0..60_000_u32 {
            // 10 ms apart: ten minutes.
            let now = began + packet * Duration::from_millis(10);
            link.send(now, vec![0; 300]);
            while link.poll(now).is_some() {}
        }
        let statistics = link.statistics();
        let share = statistics.delivered as f64 / statistics.sent as f64;
        assert!(share > 0.6 && share <= 1.01, "{}: {statistics:?}", network.name);
    }
}
