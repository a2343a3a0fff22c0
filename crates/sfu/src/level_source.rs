//! Whose word there is for how loud a microphone is: the client's (RFC 6464), or our own ears'. Levels are the client's word, and
//! cost nothing; where there is none, or the sizes of its Opus packets contradict it, only what is decoded counts. A client that
//! loses its trust keeps its voice: it is forwarded as before, and heard by ear.
//!
//! Opus at a variable bitrate spends almost as much on noise as on speech, so sizes cannot tell these two apart. But digital silence
//! makes the smallest packets there are or packets all of one size, at any bitrate, and no voice does. So does a constant bitrate: it
//! has to be listened to once, and is believed from then on.

use std::time::{Duration, Instant};

/// Packets of fewer bytes than this in 20 ms are silence: 4 kbit/s, while Opus speaks from 6 kbit/s on (RFC 6716, section 2.1.1).
const SILENCE_SIZE: f32 = 10.0;
/// Sizes that differ by no more than this, in bytes, are one size.
const ONE_SIZE: u16 = 1;
/// A client that has sent packets of sound for so long, in ms, and no level, sends none. Shorter hears the first word, longer spares
/// decoding for those who begin late.
const MISSING_AFTER: f32 = 300.0;
/// … and a client that has sent levels before: a microphone behind a noise gate is silent for longer than that.
const MISSING_AGAIN_AFTER: f32 = 10_000.0;
/// Louder than this (in −dBov) is a claim to be heard.
const LOUD: u8 = 50;
/// A client that has claimed to be loud for so long, in ms, in packets of silence or of one size, is doubted: longer than any vowel.
const DOUBTED_AFTER: f32 = 1_000.0;
/// A claim agrees with what is heard if it differs by no more than this, in dB: clients measure before they encode.
const AGREES: u8 = 10;
/// … or if both are fainter than this (in −dBov): suppressed noise may be anything down to nothing.
const FAINT: u8 = 60;
/// A client whose claims have agreed for so long, in ms, is believed again, …
const BELIEVED_AFTER: f32 = 1_000.0;
/// … and not doubted for so long, in ms.
const BELIEVED_FOR: f32 = 60_000.0;
/// Without a packet for so long a microphone sends nothing at present.
const SENDING: Duration = Duration::from_millis(300);
/// What the sizes are like is smoothed over so many ms.
const SMOOTHING: f32 = 400.0;

/// Whose word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Word {
    /// The client's levels count.
    Client,
    /// The client sends no levels, or only those of silence while it sends sound: what is decoded counts.
    Missing,
    /// The client says that it is loud while its packets are those of silence: what is decoded counts.
    Doubted,
}

/// See the [module](self). One for each microphone; times are media times in ms.
#[derive(Debug, Clone)]
pub(crate) struct LevelSource {
    word: Word,
    /// Whether the client has ever sent a level that was not silence.
    said: bool,
    /// Sound since its last such level.
    unsaid: f32,
    /// Loud claims in packets of silence or of one size.
    unlikely: f32,
    /// How much longer it is believed.
    believed: f32,
    /// For how long its claims have agreed with what was heard.
    agreed: f32,
    /// The size of the last packet, in bytes, and whether that is silence.
    size: u16,
    silence: bool,
    /// The mean size, and the mean deviation from it, in bytes in 20 ms.
    mean: f32,
    deviation: f32,
    /// When sound was last sent.
    sounded: Option<Instant>,
}

impl LevelSource {
    pub(crate) fn new() -> Self {
        Self {
            word: Word::Client,
            said: false,
            unsaid: 0.0,
            unlikely: 0.0,
            believed: 0.0,
            agreed: 0.0,
            size: 0,
            silence: false,
            mean: 0.0,
            deviation: 0.0,
            sounded: None,
        }
    }

    pub(crate) fn word(&self) -> Word {
        self.word
    }

    /// Whether there is something to listen to: no word to go by, and sound.
    pub(crate) fn wants_ears(&self, now: Instant) -> bool {
        let sends = self.sounded.is_some_and(|at| now.saturating_duration_since(at) < SENDING);
        self.word != Word::Client && sends
    }

    /// How much the sizes move, as a share of their mean: voices move them by a tenth and more, noise by half of that, silence and
    /// constant bitrates not at all.
    pub(crate) fn restlessness(&self) -> f32 {
        self.deviation / self.mean.max(1.0)
    }

    /// Takes a packet: the level it claims (0, loudest, to 127, silent), and its Opus payload's size in bytes and length in ms. Returns
    /// the level, if the client's word counts.
    pub(crate) fn on_packet(&mut self, now: Instant, claim: Option<u8>, size: usize, ms: f32) -> Option<u8> {
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        let per_20_ms = f32::from(size) * 20.0 / ms.max(1.0);
        let silence = per_20_ms < SILENCE_SIZE;
        let one_size = size.abs_diff(self.size) <= ONE_SIZE;
        self.size = size;
        self.silence = silence;
        if !silence {
            self.sounded = Some(now);
            let share = if self.mean == 0.0 { 1.0 } else { (ms / SMOOTHING).min(1.0) };
            self.mean += (per_20_ms - self.mean) * share;
            self.deviation += ((per_20_ms - self.mean).abs() - self.deviation) * (ms / SMOOTHING).min(1.0);
        }
        self.believed = (self.believed - ms).max(0.0);
        match claim {
            Some(level) if level < 127 => {
                self.said = true;
                self.unsaid = 0.0;
                if self.word == Word::Missing {
                    self.word = Word::Client;
                }
            }
            _ if !silence => self.unsaid += ms,
            _ => {}
        }
        if self.word == Word::Client && self.unsaid >= if self.said { MISSING_AGAIN_AFTER } else { MISSING_AFTER } {
            self.word = Word::Missing;
        }
        self.doubt(claim, silence || one_size, ms);
        claim.filter(|_| self.word == Word::Client)
    }

    fn doubt(&mut self, claim: Option<u8>, unlikely: bool, ms: f32) {
        if self.believed > 0.0 || !unlikely {
            self.unlikely = 0.0;
        } else if claim.is_some_and(|level| level <= LOUD) {
            self.unlikely += ms;
        }
        if self.unlikely >= DOUBTED_AFTER && self.word == Word::Client {
            self.word = Word::Doubted;
            self.agreed = 0.0;
        }
    }

    /// What it sends cannot be decoded: it is encrypted end to end, and there is no better word than the client's. But encryption adds to
    /// each packet, so that what is smaller than any speech is still silence.
    pub(crate) fn on_undecodable(&mut self) {
        if self.word == Word::Doubted && !self.silence {
            self.believe();
        }
    }

    fn believe(&mut self) {
        self.word = Word::Client;
        self.believed = BELIEVED_FOR;
        self.unlikely = 0.0;
    }

    /// A packet was decoded: what it claimed, how loud it is, and its length in ms.
    pub(crate) fn on_heard(&mut self, claim: Option<u8>, level: u8, ms: f32) {
        if self.word != Word::Doubted {
            return;
        }
        let agrees = |claim: u8| claim.abs_diff(level) <= AGREES || claim.min(level) > FAINT;
        self.agreed = if claim.is_some_and(agrees) { self.agreed + ms } else { 0.0 };
        if self.agreed >= BELIEVED_AFTER {
            self.believe();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client that sends 20 ms packets.
    struct Client {
        source: LevelSource,
        now: Instant,
        number: usize,
    }

    /// Sizes of 20 ms of speech at 32 kbit/s, as libopus makes them.
    const SPEECH: [usize; 7] = [57, 74, 68, 83, 61, 71, 66];

    impl Client {
        fn new() -> Self {
            Self { source: LevelSource::new(), now: Instant::now(), number: 0 }
        }

        /// Sends for so long; returns for how long the client's word counted, in ms.
        fn send(&mut self, ms: u64, claim: impl Fn(usize) -> Option<u8>, size: impl Fn(usize) -> usize) -> u64 {
            let mut counted = 0;
            for _ in 0..ms / 20 {
                self.number += 1;
                self.now += Duration::from_millis(20);
                let level = self.source.on_packet(self.now, claim(self.number), size(self.number), 20.0);
                counted += if level.is_some() { 20 } else { 0 };
            }
            counted
        }
    }

    fn speech(number: usize) -> usize {
        SPEECH[number % SPEECH.len()]
    }

    fn loud(number: usize) -> Option<u8> {
        Some(20 + (number * 7 % 15) as u8)
    }

    #[test]
    fn an_honest_clients_word_counts_from_the_first_packet_on() {
        let mut client = Client::new();
        assert_eq!(client.send(20_000, loud, speech), 20_000);
        assert!(!client.source.wants_ears(client.now));
    }

    #[test]
    fn a_client_without_levels_is_heard_by_ear_soon() {
        let mut client = Client::new();
        assert_eq!(client.send(400, |_| None, speech), 0);
        assert_eq!(client.source.word(), Word::Missing);
        assert!(client.source.wants_ears(client.now));
        assert!(!client.source.wants_ears(client.now + Duration::from_secs(1)), "it has stopped sending");
    }

    #[test]
    fn nothing_but_silence_claimed_over_sound_is_no_word() {
        let mut client = Client::new();
        client.send(400, |_| Some(127), speech);
        assert_eq!(client.source.word(), Word::Missing);
        client.send(20, |_| Some(40), speech);
        assert_eq!(client.source.word(), Word::Client, "the first real level is a word");
    }

    #[test]
    fn silence_claimed_over_silence_is_a_word() {
        for size in [1, 3, 6, 8] {
            let mut client = Client::new();
            assert_eq!(client.send(20_000, |_| Some(127), |_| size), 20_000, "{size} bytes");
        }
    }

    #[test]
    fn a_noise_gate_is_not_listened_behind() {
        let mut client = Client::new();
        client.send(2_000, loud, speech);
        assert_eq!(client.send(9_000, |_| Some(127), |_| 35), 9_000);
        assert_eq!(client.send(2_000, loud, speech), 2_000);
    }

    #[test]
    fn loudness_claimed_over_silence_loses_trust() {
        // Silence by DTX, by CELT, and by SILK at 12 to 40 kbit/s, as libopus makes it.
        for size in [1, 3, 8, 18, 25, 35, 45] {
            let mut client = Client::new();
            client.send(3_000, loud, speech);
            let counted = client.send(3_000, loud, |_| size);
            assert!(counted <= 1_100, "{size} bytes: believed for {counted} ms");
            assert_eq!(client.source.word(), Word::Doubted, "{size} bytes");
        }
    }

    #[test]
    fn whoever_lies_in_syllables_is_found_out_as_well() {
        let mut client = Client::new();
        let syllables = |number: usize| if number % 12 < 8 { Some(22) } else { Some(70) };
        assert!(client.send(4_000, syllables, |_| 3) < 2_000);
        assert_eq!(client.source.word(), Word::Doubted);
    }

    #[test]
    fn trust_comes_back_when_ears_and_claims_agree_and_not_before() {
        let mut client = Client::new();
        client.send(2_000, |_| Some(20), |_| 3);
        for _ in 0..500 {
            client.source.on_heard(Some(20), 127, 20.0);
        }
        assert_eq!(client.source.word(), Word::Doubted);
        for _ in 0..49 {
            client.source.on_heard(Some(20), 26, 20.0);
        }
        assert_eq!(client.source.word(), Word::Doubted);
        client.source.on_heard(Some(20), 26, 20.0);
        assert_eq!(client.source.word(), Word::Client);
    }

    #[test]
    fn a_constant_bitrate_is_listened_to_once_and_then_believed() {
        let mut client = Client::new();
        client.send(2_000, loud, |_| 80);
        assert_eq!(client.source.word(), Word::Doubted);
        for _ in 0..60 {
            client.source.on_heard(Some(30), 28, 20.0);
        }
        assert_eq!(client.send(50_000, loud, |_| 80), 50_000);
    }

    #[test]
    fn a_client_that_encrypts_at_a_constant_bitrate_is_taken_at_its_word() {
        let mut client = Client::new();
        client.send(2_000, loud, |_| 96);
        assert_eq!(client.source.word(), Word::Doubted);
        client.source.on_undecodable();
        assert_eq!(client.send(50_000, loud, |_| 96), 50_000);
        let mut client = Client::new();
        client.send(2_000, loud, |_| 4);
        client.source.on_undecodable();
        assert_eq!(client.source.word(), Word::Doubted, "garbage smaller than any speech");
    }

    #[test]
    fn voices_are_more_restless_than_noise_and_noise_than_silence() {
        let of = |size: &dyn Fn(usize) -> usize| {
            let mut client = Client::new();
            client.send(3_000, |_| None, size);
            client.source.restlessness()
        };
        let (voice, noise, silence) = (of(&speech), of(&|number| 62 + number % 5), of(&|_| 35));
        assert!(voice > 1.5 * noise && noise > silence && silence < 0.01, "{voice} {noise} {silence}");
    }

    proptest! {
        #[test]
        fn only_the_clients_own_word_is_passed_on_and_only_while_it_counts(
            packets in prop::collection::vec((prop::option::of(0..=127_u8), 0..1_300_usize, 0.0..120.0_f32, prop::option::of(0..=127_u8)), 0..400),
        ) {
            let (mut source, mut now) = (LevelSource::new(), Instant::now());
            for (claim, size, ms, heard) in packets {
                now += Duration::from_millis(20);
                let level = source.on_packet(now, claim, size, ms);
                prop_assert_eq!(level, claim.filter(|_| source.word() == Word::Client));
                prop_assert!(source.word() == Word::Client || !source.wants_ears(now + Duration::from_secs(1)));
                if let Some(heard) = heard {
                    source.on_heard(claim, heard, ms);
                }
                prop_assert!(source.restlessness().is_finite() && source.restlessness() >= 0.0);
            }
        }

        #[test]
        fn whoever_tells_levels_in_packets_of_moving_sizes_is_never_doubted(
            packets in prop::collection::vec((0..127_u8, 2..60_usize), 1..2_000), first in 12..200_usize,
        ) {
            let (mut source, mut now, mut size) = (LevelSource::new(), Instant::now(), first);
            for (level, step) in packets {
                now += Duration::from_millis(20);
                size = if size > 200 { size - step } else { size + step };
                prop_assert_eq!(source.on_packet(now, Some(level), size, 20.0), Some(level));
            }
        }
    }
}
