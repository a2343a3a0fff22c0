//! The voice light of one participant: on while they speak, from the audio levels their packets carry (RFC 6464).
//! Nothing is decoded.
//!
//! This is a light decided for each person alone, by a handful of rules. Rooms use the one of
//! [`stage::Detector`](crate::stage::Detector), which knows the others, too; this one goes with
//! [`stage::PlainStage`](crate::stage::PlainStage), and is what the detector's is measured against. The light comes on within 100 ms of speech, with packets of 10 to 60 ms,
//! and goes out a moment after it. What is loud enough depends on the noise around the microphone, which is followed;
//! a level that nobody mistakes for noise always counts.

use std::time::{Duration, Instant};

/// The light comes on after this much loud sound: two packets of 20 ms. Less reacts to key clicks, more is seen as
/// lag.
const ONSET: Duration = Duration::from_millis(35);
/// The light stays on for so long after the last loud packet, which bridges the pauses between words.
pub const HANGOVER: Duration = Duration::from_millis(300);
/// Speech is this much above the noise, in dB.
const ABOVE_NOISE: u8 = 12;
/// Once the light is on, this much less keeps it on, in dB: words fade out.
const HYSTERESIS: u8 = 4;
/// Fainter than this (in −dBov) is not heard as speech, however quiet the room is.
const FAINTEST: u8 = 52;
/// Louder than this (in −dBov) always is: a tone or music that never pauses must not be taken for noise.
const LOUDEST_NOISE: u8 = 33;
/// The noise is the quietest packet of the last one to two of these. Speech pauses within that time; a fan does not,
/// and loses its light.
const NOISE_WINDOW: Duration = Duration::from_millis(1_500);
/// Packets further apart than this are a pause in sending (DTX), and say nothing about the packet time.
const LONGEST_PACKET: Duration = Duration::from_millis(70);
/// The V bit counts only if both of its values came within this time: many senders always set it, others never.
const VOICE_BIT_MEMORY: Duration = Duration::from_secs(10);

/// Splits the value of the audio level extension into the level (0, loudest, to 127, silent, in −dBov) and the V bit.
#[must_use]
pub fn parse_level(extension: &[u8]) -> Option<(u8, bool)> {
    let byte = extension.first()?;
    Some((byte & 0x7F, byte & 0x80 != 0))
}

/// Follows the level of the noise around one microphone: the minimum over a sliding window.
#[derive(Debug, Clone, Copy)]
struct Noise {
    /// The quietest levels of the present window and of the one before.
    quietest: u8,
    quietest_before: u8,
    began: Option<Instant>,
}

impl Noise {
    /// Before anything is known the room counts as silent, so that the first word is seen.
    const SILENT: Self = Self { quietest: 0, quietest_before: 127, began: None };

    fn on_level(&mut self, now: Instant, level: u8) {
        let began = *self.began.get_or_insert(now);
        if now.saturating_duration_since(began) >= NOISE_WINDOW {
            self.quietest_before = self.quietest;
            self.quietest = level;
            self.began = Some(now);
        } else {
            self.quietest = self.quietest.max(level);
        }
    }

    fn level(&self) -> u8 {
        self.quietest.max(self.quietest_before)
    }
}

/// One participant's voice light.
#[derive(Debug, Clone)]
pub struct VoiceLight {
    muted: bool,
    lit: bool,
    noise: Noise,
    last_packet: Option<Instant>,
    packet_time: Duration,
    /// Loud sound gathered while the light is off.
    gathered: Duration,
    last_loud: Option<Instant>,
    voice_set: Option<Instant>,
    voice_clear: Option<Instant>,
}

impl Default for VoiceLight {
    fn default() -> Self {
        Self::new()
    }
}

impl VoiceLight {
    /// A light that is off, for a participant who is not muted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            muted: false,
            lit: false,
            noise: Noise::SILENT,
            last_packet: None,
            packet_time: Duration::from_millis(20),
            gathered: Duration::ZERO,
            last_loud: None,
            voice_set: None,
            voice_clear: None,
        }
    }

    /// Whether the light is on.
    #[must_use]
    pub fn is_lit(&self) -> bool {
        self.lit
    }

    /// The level of the noise around the microphone, in dBov.
    #[must_use]
    pub fn noise(&self) -> i8 {
        -(self.noise.level().min(127) as i8)
    }

    /// Takes the level of one packet (0, loudest, to 127, silent, in −dBov) and its V bit. Returns the light if it
    /// changes.
    pub fn on_level(&mut self, now: Instant, level: u8, voice: bool) -> Option<bool> {
        if self.muted {
            return None;
        }
        let level = level & 0x7F;
        self.measure_packet_time(now);
        self.noise.on_level(now, level);
        let voice = self.judge_voice_bit(now, voice);
        let threshold = self.noise.level().saturating_sub(ABOVE_NOISE).clamp(LOUDEST_NOISE, FAINTEST);
        let threshold = if self.lit { threshold + HYSTERESIS } else { threshold };
        if voice && level <= threshold {
            self.last_loud = Some(now);
            self.gathered = (self.gathered + self.packet_time).min(ONSET);
            if !self.lit && self.gathered >= ONSET {
                return self.light(true);
            }
        } else {
            self.gathered = self.gathered.saturating_sub(self.packet_time);
        }
        self.on_silence(now)
    }

    /// When [`on_silence`](Self::on_silence) puts the light out, if no loud packet comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.lit { Some(self.last_loud? + HANGOVER) } else { None }
    }

    /// Time has passed, with packets or without them (DTX, loss). Returns the light if it changes.
    pub fn on_silence(&mut self, now: Instant) -> Option<bool> {
        if self.poll_timeout()? > now { None } else { self.light(false) }
    }

    /// The participant mutes or unmutes. Muting puts the light out at once. Returns the light if it changes.
    pub fn set_muted(&mut self, muted: bool) -> Option<bool> {
        self.muted = muted;
        self.gathered = Duration::ZERO;
        self.last_packet = None;
        if muted && self.lit { self.light(false) } else { None }
    }

    fn light(&mut self, lit: bool) -> Option<bool> {
        self.lit = lit;
        self.gathered = Duration::ZERO;
        Some(lit)
    }

    fn measure_packet_time(&mut self, now: Instant) {
        if let Some(last) = self.last_packet.replace(now) {
            let apart = now.saturating_duration_since(last);
            // Packets that arrive in one go say nothing, either.
            if apart >= Duration::from_millis(5) && apart <= LONGEST_PACKET {
                self.packet_time = (self.packet_time * 3 + apart) / 4;
            }
        }
    }

    /// What the V bit says, as far as it says anything.
    fn judge_voice_bit(&mut self, now: Instant, voice: bool) -> bool {
        if voice {
            self.voice_set = Some(now);
        } else {
            self.voice_clear = Some(now);
        }
        let lately = |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < VOICE_BIT_MEMORY);
        voice || !(lately(self.voice_set) && lately(self.voice_clear))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A talker whose packets follow one another evenly.
    struct Talker {
        light: VoiceLight,
        now: Instant,
        packet_time: Duration,
    }

    impl Talker {
        fn new(packet_time_ms: u64) -> Self {
            Self { light: VoiceLight::new(), now: Instant::now(), packet_time: Duration::from_millis(packet_time_ms) }
        }

        /// Sends packets of this level for so long; returns when the light changed, counted from the beginning.
        fn level(&mut self, ms: u64, level: u8) -> Vec<(u64, bool)> {
            self.varying(ms, |_| (level, true))
        }

        fn varying(&mut self, ms: u64, level: impl Fn(u64) -> (u8, bool)) -> Vec<(u64, bool)> {
            let begin = self.now;
            let mut changes = Vec::new();
            while self.now + self.packet_time <= begin + Duration::from_millis(ms) {
                self.now += self.packet_time;
                let elapsed = (self.now - begin).as_millis() as u64;
                let (level, voice) = level(elapsed);
                changes.extend(self.light.on_level(self.now, level, voice).map(|lit| (elapsed, lit)));
            }
            changes
        }

        /// Sends nothing for so long.
        fn nothing(&mut self, ms: u64) -> Vec<(u64, bool)> {
            let begin = self.now;
            let mut changes = Vec::new();
            for elapsed in 1..=ms {
                self.now = begin + Duration::from_millis(elapsed);
                changes.extend(self.light.on_silence(self.now).map(|lit| (elapsed, lit)));
            }
            changes
        }
    }

    /// Syllables: 160 ms of voice, 80 ms of less.
    fn speech(elapsed: u64) -> (u8, bool) {
        (if elapsed % 240 < 160 { 25 } else { 50 }, true)
    }

    #[test]
    fn the_light_comes_on_within_100_ms_at_any_packet_time() {
        for packet_time in [10, 20, 30, 40, 60] {
            let mut talker = Talker::new(packet_time);
            assert_eq!(talker.level(1_800, 70), []);
            let changes = talker.level(240, 25);
            assert!(matches!(changes[..], [(at, true)] if at <= 100), "{packet_time} ms packets: {changes:?}");
        }
    }

    #[test]
    fn the_first_words_after_a_pause_in_sending_are_seen_as_fast() {
        let mut talker = Talker::new(20);
        talker.level(500, 60);
        talker.nothing(5_000);
        assert!(matches!(talker.level(200, 25)[..], [(at, true)] if at <= 100));
    }

    #[test]
    fn a_key_click_does_not_light() {
        let mut talker = Talker::new(20);
        talker.level(1_000, 65);
        for _ in 0..10 {
            assert_eq!(talker.level(20, 20), []);
            assert_eq!(talker.level(180, 65), []);
        }
    }

    #[test]
    fn pauses_between_words_do_not_flicker() {
        let mut talker = Talker::new(20);
        assert_eq!(talker.varying(20_000, speech).len(), 1);
        assert!(talker.light.is_lit());
        assert!(matches!(talker.level(2_000, 60)[..], [(at, false)] if at <= 400), "and then it goes out");
    }

    #[test]
    fn a_fan_loses_its_light_and_a_voice_over_it_gets_one() {
        let mut talker = Talker::new(20);
        talker.level(3_000, 70);
        let noise = |elapsed: u64| (44 + (elapsed / 20 % 5) as u8, true);
        talker.varying(4_000, noise);
        assert!(!talker.light.is_lit());
        assert_eq!(talker.varying(20_000, noise), []);
        assert!(matches!(talker.level(200, 25)[..], [(at, true)] if at <= 100));
    }

    #[test]
    fn a_loud_tone_without_pauses_keeps_its_light() {
        let mut talker = Talker::new(20);
        assert_eq!(talker.level(60_000, 20).len(), 1);
        assert!(talker.light.is_lit());
    }

    #[test]
    fn muting_clears_at_once_and_stray_packets_do_not_light_again() {
        let mut talker = Talker::new(20);
        talker.level(200, 20);
        assert_eq!(talker.light.set_muted(true), Some(false));
        assert_eq!(talker.level(500, 10), []);
        assert_eq!(talker.light.set_muted(false), None);
        assert!(matches!(talker.level(200, 20)[..], [(at, true)] if at <= 100));
    }

    #[test]
    fn a_pause_in_sending_clears_after_the_hangover() {
        let mut talker = Talker::new(20);
        talker.level(200, 20);
        assert_eq!(talker.light.poll_timeout(), Some(talker.now + HANGOVER));
        assert_eq!(talker.nothing(1_000), [(300, false)]);
        assert_eq!(talker.light.poll_timeout(), None);
    }

    #[test]
    fn a_voice_bit_that_never_changes_means_nothing() {
        for voice in [false, true] {
            let mut talker = Talker::new(20);
            talker.varying(1_000, |_| (70, voice));
            assert_eq!(talker.varying(200, |_| (20, voice)).len(), 1, "always {voice}");
        }
    }

    #[test]
    fn a_voice_bit_that_varies_keeps_loud_noise_dark() {
        let mut talker = Talker::new(20);
        talker.varying(1_000, |elapsed| if elapsed < 500 { (20, true) } else { (70, false) });
        assert_eq!(talker.varying(1_000, |_| (20, false)), []);
        assert_eq!(talker.varying(200, |_| (20, true)).len(), 1);
    }

    #[test]
    fn a_voice_bit_that_stopped_changing_is_forgotten() {
        let mut talker = Talker::new(20);
        talker.varying(100, |_| (70, true));
        talker.varying(12_000, |_| (70, false));
        assert_eq!(talker.varying(200, |_| (20, false)).len(), 1);
    }

    #[test]
    fn the_extension_is_split_into_level_and_voice_bit() {
        assert_eq!(parse_level(&[0x80 | 30]), Some((30, true)));
        assert_eq!(parse_level(&[127]), Some((127, false)));
        assert_eq!(parse_level(&[]), None);
    }
}
