//! Which cryptographic library does AES-GCM. Two are built in, and which one is faster depends on the processor: ring has code for AVX2 with VAES, aws-lc-rs for AVX-512. So
//! both seal a few packets when the process starts; whoever knows better says so instead. Nothing else of SRTP depends on it: both make the same bytes.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::gcm::Gcm;
use super::key_derivation::SessionKeys;
use super::{KEY_LEN, MAX_SALT_LEN};

/// Packets of each size that a library seals in a round: long enough for a clock that ticks in tens of nanoseconds.
const PACKETS: u64 = 64;

/// Rounds, of which the middle one counts: another process disturbs some, not most. All together take a millisecond or two.
const ROUNDS: usize = 15;

/// A voice, and a piece of a picture.
const SIZES: [usize; 2] = [120, 1_200];

/// ring is left only for what is faster by this part; so close to each other it is a matter of chance, and a choice that changes from start to start is hard to follow.
const CLEARLY: u32 = 20;

/// A cryptographic library that has AES-GCM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum GcmLibrary {
    /// `ring`, which DTLS uses too.
    #[default]
    Ring,
    /// `aws-lc-rs`.
    AwsLc,
}

impl GcmLibrary {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ring, Self::AwsLc];

    /// The faster one on this machine. The first call in a process finds out, which takes about two milliseconds.
    #[must_use]
    pub fn fastest() -> Self {
        static FASTEST: OnceLock<GcmLibrary> = OnceLock::new();
        *FASTEST.get_or_init(|| {
            let [ring, aws_lc] = measure();
            let chosen = choose(ring, aws_lc);
            tracing::info!(
                library = chosen.name(),
                ?ring,
                ?aws_lc,
                "chose what does AES-GCM, by a voice and a piece of a picture"
            );
            chosen
        })
    }

    /// Its name, as its package is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::AwsLc => "aws-lc-rs",
        }
    }
}

/// Which one to take by what sealing takes with each.
fn choose(ring: Duration, aws_lc: Duration) -> GcmLibrary {
    if aws_lc + aws_lc / CLEARLY < ring { GcmLibrary::AwsLc } else { GcmLibrary::Ring }
}

/// How long each library takes to seal a packet of each size: the median of rounds that take turns. One that refuses takes forever.
fn measure() -> [Duration; 2] {
    let keys = SessionKeys { key: [0x5A; KEY_LEN], salt: [0xA5; MAX_SALT_LEN], auth: Default::default() };
    let ciphers = GcmLibrary::ALL.map(|library| Gcm::new(library, &keys).ok());
    let mut rounds = [[Duration::MAX; ROUNDS]; 2];
    for round in 0..ROUNDS {
        for (cipher, times) in ciphers.iter().zip(&mut rounds) {
            let Some(cipher) = cipher else { continue };
            times[round] = seal(cipher, round as u64).unwrap_or(Duration::MAX);
        }
    }
    rounds.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2] / PACKETS as u32
    })
}

/// How long a round takes.
fn seal(cipher: &Gcm, round: u64) -> Option<Duration> {
    let mut packet = [round as u8; 1_200];
    let began = Instant::now();
    for number in 0..PACKETS {
        for size in SIZES {
            // The key seals nothing that anybody sees.
            let sealed = cipher.seal(size as u32, round * PACKETS + number, &[0x80; 20], &mut packet[..size]);
            black_box(sealed.ok()?);
        }
    }
    Some(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_is_left_only_for_what_is_clearly_faster() {
        let ns = Duration::from_nanos;
        assert_eq!(choose(ns(400), ns(300)), GcmLibrary::AwsLc);
        assert_eq!(choose(ns(400), ns(390)), GcmLibrary::Ring);
        assert_eq!(choose(ns(300), ns(400)), GcmLibrary::Ring);
        assert_eq!(choose(Duration::MAX, ns(400)), GcmLibrary::AwsLc);
        assert_eq!(choose(ns(400), Duration::MAX / PACKETS as u32), GcmLibrary::Ring);
    }

    #[test]
    fn both_are_measured_and_the_choice_stays() {
        let times = measure();
        assert!(times.iter().all(|time| !time.is_zero() && *time < Duration::from_millis(10)), "{times:?}");
        assert_eq!(GcmLibrary::fastest(), GcmLibrary::fastest());
    }
}
