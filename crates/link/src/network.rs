//! Named networks: a profile for each direction, with the figures and where they come from. Where nobody has published figures the text
//! says "assumed", and why these.

use std::time::Duration;

use crate::loss::GilbertElliott;
use crate::profile::{Conditions, Profile};

/// A pair of profiles, as somebody at the end of the link sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// What the command line calls it.
    pub name: &'static str,
    /// Its figures in words.
    pub about: &'static str,
    /// Where the figures come from.
    pub source: &'static str,
    /// From the client to the server.
    pub up: Profile,
    /// From the server to the client.
    pub down: Profile,
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Network {
    /// The network of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|network| network.name == name)
    }

    /// All of them.
    pub fn all() -> Vec<Self> {
        vec![
            perfect(),
            random_loss(),
            three_g(),
            lift(),
            congested_wifi(),
            handover(),
            step_down_up(),
            rfc8867(),
            uplink_300k(),
            shared_3m(),
        ]
    }

    /// The same network in both directions.
    pub fn symmetric(name: &'static str, about: &'static str, source: &'static str, profile: Profile) -> Self {
        Self { name, about, source, up: profile.clone(), down: profile }
    }
}

fn perfect() -> Network {
    let profile = Profile::constant(Conditions::PERFECT);
    Network::symmetric("perfect", "nothing happens to packets", "shows what the relay itself costs", profile)
}

fn random_loss() -> Network {
    let conditions = Conditions::delayed(ms(25), ms(1)).with_loss(GilbertElliott::random(0.1));
    Network::symmetric(
        "loss-10",
        "10 % independent loss, 50 ms round trip",
        "the aim that this project sets itself for loss; 10 % is also the highest path loss that RFC 8868 (4.5.3) asks to be tested",
        Profile::constant(conditions),
    )
}

fn three_g() -> Network {
    let conditions = Conditions::delayed(ms(125), ms(25)).with_loss(GilbertElliott::random(0.005));
    let (up, down) = (conditions.with_rate(768_000, ms(500)), conditions.with_rate(1_200_000, ms(500)));
    Network {
        name: "3g",
        about: "1.2 Mbit/s down, 768 kbit/s up, 250 ms round trip, 25 ms mean jitter each way, 0.5 % loss, 500 ms of queue",
        source: "down rate, latency, jitter and loss: Loadero's \"3G\" (wiki.loadero.com, network conditions); up rate: WebPageTest's \"3G\"; \
                 queue assumed, cellular ones are deep",
        up: Profile::constant(up),
        down: Profile::constant(down),
    }
}

fn lift() -> Network {
    let open = Conditions::delayed(ms(30), ms(5)).with_rate(4_000_000, ms(300));
    let door = Conditions::delayed(ms(60), ms(20)).with_rate(300_000, ms(300)).with_loss(GilbertElliott {
        to_bad: 0.05,
        to_good: 0.2,
        loss_good: 0.01,
        loss_bad: 0.5,
    });
    // What the base station keeps for a phone that it does not hear.
    let shaft = door.with_outage(64 << 10);
    let profile = Profile::stages([(s(10), open), (s(2), door), (s(6), shaft), (s(2), door), (s(10), open)]);
    Network::symmetric(
        "lift",
        "30 s, repeated: 10 s good (4 Mbit/s, 30 ms), 2 s at the door (300 kbit/s, 60 ms, 11 % loss in bursts), 6 s of nothing, 2 s at \
         the door, 10 s good",
        "assumed: a lift of three floors; the outage is shorter than the 10 s of grace that signaling gives",
        profile.repeating(),
    )
}

fn congested_wifi() -> Network {
    let bursts = GilbertElliott { to_bad: 0.02, to_good: 0.3, loss_good: 0.002, loss_bad: 0.4 };
    let base =
        Conditions::delayed(ms(8), ms(8)).with_loss(bursts).with_reordering(0.002, ms(15)).with_duplication(0.001);
    let (quiet, busy) = (base.with_rate(5_000_000, ms(200)), base.with_rate(1_200_000, ms(200)));
    // A neighbour's frame bursts hold the channel, and everything waits.
    let held = busy.with_outage(64 << 10);
    let stages = [(s(3), quiet), (s(2), busy), (ms(120), held), (s(2), busy), (ms(80), held)];
    Network::symmetric(
        "congested-wifi",
        "7.2 s, repeated: 3 s at 5 Mbit/s, 4 s at 1.2 Mbit/s with pauses of 120 and 80 ms; 8 ms with 8 ms mean jitter each way, 2.7 % loss in \
         bursts of 3 packets, 0.2 % reordered, 0.1 % doubled, 200 ms of queue",
        "assumed, after what RFC 8869 (section 4) names as Wi-Fi's traits: contention, rate changes, retries that delay rather than lose",
        Profile::stages(stages).repeating(),
    )
}

fn handover() -> Network {
    let (one, other) = (
        Conditions::delayed(ms(25), ms(5)).with_rate(3_000_000, ms(300)),
        Conditions::delayed(ms(45), ms(8)).with_rate(1_500_000, ms(300)),
    );
    let gap = one.with_outage(64 << 10);
    let break_off = other.with_outage(0);
    let stages = [(s(8), one), (ms(50), gap), (s(8), other), (ms(1500), break_off)];
    Network::symmetric(
        "handover",
        "17.55 s, repeated: 8 s at 3 Mbit/s and 25 ms, a gap of 50 ms in which packets wait, 8 s at 1.5 Mbit/s and 45 ms, a break \
         of 1.5 s in which they are lost",
        "the gap: LTE's handover interruption of about 50 ms (3GPP TR 36.881); the break (Wi-Fi to cellular) and the rates assumed",
        Profile::stages(stages).repeating(),
    )
}

fn step_down_up() -> Network {
    let base = Conditions::delayed(ms(25), ms(2));
    let (high, low) = (base.with_rate(2_000_000, ms(300)), base.with_rate(300_000, ms(300)));
    Network::symmetric(
        "step-down-up",
        "2 Mbit/s for 20 s, 300 kbit/s for 20 s, 2 Mbit/s from then on; 50 ms round trip, 300 ms of queue",
        "the step that this project's aims name; queue as in RFC 8867 (4.1)",
        Profile::stages([(s(20), high), (s(20), low), (s(20), high)]),
    )
}

fn rfc8867() -> Network {
    let at = |rate| Conditions::delayed(ms(50), ms(4)).with_rate(rate, ms(300));
    let stages = [(s(40), at(1_000_000)), (s(20), at(2_500_000)), (s(20), at(600_000)), (s(20), at(1_000_000))];
    Network::symmetric(
        "rfc8867",
        "1 Mbit/s for 40 s, 2.5 for 20 s, 0.6 for 20 s, 1 from then on; 50 ms one way, jitter of at most 32 ms, 300 ms of queue",
        "RFC 8867, 5.1: variable available capacity with a single flow",
        Profile::stages(stages),
    )
}

fn uplink_300k() -> Network {
    let base = Conditions::delayed(ms(20), ms(3));
    Network {
        name: "uplink-300k",
        about: "300 kbit/s up, 10 Mbit/s down, 40 ms round trip, 300 ms of queue",
        source: "the uplink that this project's aims name; the rest assumed: a crowded cable or DSL line",
        up: Profile::constant(base.with_rate(300_000, ms(300))),
        down: Profile::constant(base.with_rate(10_000_000, ms(300))),
    }
}

fn shared_3m() -> Network {
    Network::symmetric(
        "shared-3m",
        "3 Mbit/s, 50 ms round trip, 300 ms of queue; meant for several clients together (`--shared`)",
        "the fairness aim of this project; delay and queue as in RFC 8867 (4.1)",
        Profile::constant(Conditions::delayed(ms(25), ms(2)).with_rate(3_000_000, ms(300))),
    )
}
