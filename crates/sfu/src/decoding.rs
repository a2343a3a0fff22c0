//! Ears: how loud an Opus packet is, for microphones whose client does not say so. Packets are decoded by a few threads of the
//! worker's, each behind a short queue; what does not fit is dropped, so that a media worker never waits and never decodes. The
//! threads begin with the first packet that is given to them. Nothing is kept of what was said but one number a packet.
//!
//! Who is listened to is the room's choice: `room/voices.rs`.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use opus::{Channels, Decoder};
use tokio::sync::mpsc;

use crate::ids::ParticipantId;

/// Packets that wait for one thread: a millisecond or two of its work. More would be heard too late to matter.
const QUEUE: usize = 32;
/// Packets whose loudness waits for the worker.
const HEARD_QUEUE: usize = 256;
/// The largest packet that is listened to, in bytes: Opus at 510 kbit/s, in 20 ms (RFC 6716, section 2.1.1). Larger ones are rare, and the
/// next may be smaller.
const LARGEST: usize = 1_276;
/// Samples a second that are decoded: voices have hardly any energy above 8 kHz, and a third of the samples is a third of the work.
const SAMPLE_RATE: u32 = 16_000;
/// The longest packet, 120 ms (RFC 6716, section 2.1.4), in samples.
const LONGEST: usize = SAMPLE_RATE as usize * 120 / 1_000;
/// A decoder that nothing was given to for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(10);
/// Voices that one thread listens to at most: a tenth of a core at 50 packets a second, and about 20 kB each. Others wait until one of them
/// has been quiet for a while; without a bound, clients that send no levels could have all of the machine.
const DECODERS: usize = 64;

/// A packet to listen to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unheard<'a> {
    pub(crate) participant: ParticipantId,
    pub(crate) rtp_time: u32,
    /// What its sender claims of its level.
    pub(crate) claim: Option<u8>,
    /// How long it is, in ms.
    pub(crate) ms: f32,
    /// Opus.
    pub(crate) payload: &'a [u8],
}

/// A packet that was listened to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Heard {
    pub(crate) participant: ParticipantId,
    pub(crate) rtp_time: u32,
    pub(crate) claim: Option<u8>,
    pub(crate) ms: f32,
    /// Its level (0, loudest, to 127, silent, in −dBov); `None`: it is no Opus, or encrypted.
    pub(crate) level: Option<u8>,
}

/// Something that listens to packets and says later how loud they were.
pub(crate) trait Ears: Send {
    /// Takes a packet, if there is time for it. Never waits.
    fn listen(&mut self, packet: Unheard<'_>) -> bool;
}

/// Nobody listens.
#[derive(Debug)]
pub(crate) struct Deaf;

impl Ears for Deaf {
    fn listen(&mut self, _packet: Unheard<'_>) -> bool {
        false
    }
}

/// A packet on its way to a thread.
struct Job {
    participant: ParticipantId,
    rtp_time: u32,
    claim: Option<u8>,
    ms: f32,
    len: u16,
    payload: [u8; LARGEST],
}

/// The threads of one worker. See the [module](self).
#[derive(Debug)]
pub(crate) struct DecoderPool {
    threads: usize,
    queues: OnceLock<Vec<SyncSender<Job>>>,
    heard: mpsc::Sender<Heard>,
}

impl DecoderPool {
    /// A pool of at most so many threads, none of which runs yet, and where what they hear comes out.
    pub(crate) fn new(threads: usize) -> (Self, mpsc::Receiver<Heard>) {
        let (heard, receiver) = mpsc::channel(HEARD_QUEUE);
        (Self { threads, queues: OnceLock::new(), heard }, receiver)
    }

    fn begin(&self) -> Vec<SyncSender<Job>> {
        let thread = |number: usize| {
            let (queue, jobs) = sync_channel(QUEUE);
            let heard = self.heard.clone();
            let builder = std::thread::Builder::new().name(format!("ringback-ears-{number}"));
            builder.spawn(move || decode(&jobs, &heard)).map(|_| queue)
        };
        let begun: Result<_, _> = (0..self.threads).map(thread).collect();
        begun.unwrap_or_else(|error| {
            tracing::warn!(%error, "no thread to decode on: microphones without levels are not followed");
            Vec::new()
        })
    }
}

impl Ears for std::sync::Arc<DecoderPool> {
    fn listen(&mut self, packet: Unheard<'_>) -> bool {
        let queues = self.queues.get_or_init(|| self.begin());
        let Some(queue) = packet.participant.0.checked_rem(queues.len() as u64).and_then(|at| queues.get(at as usize))
        else {
            return false;
        };
        // To a decoder, nothing means that a packet was lost.
        if packet.payload.is_empty() {
            return false;
        }
        let mut payload = [0; LARGEST];
        let Some(space) = payload.get_mut(..packet.payload.len()) else { return false };
        space.copy_from_slice(packet.payload);
        let Unheard { participant, rtp_time, claim, ms, payload: bytes } = packet;
        queue.try_send(Job { participant, rtp_time, claim, ms, len: bytes.len() as u16, payload }).is_ok()
    }
}

/// One participant's decoder: packets are understood from those before them.
struct Ear {
    decoder: Decoder,
    used: Instant,
}

/// What a thread does until the worker is gone.
fn decode(jobs: &Receiver<Job>, heard: &mpsc::Sender<Heard>) {
    let mut ears: HashMap<ParticipantId, Ear> = HashMap::new();
    let mut samples = [0.0; LONGEST];
    while let Ok(job) = jobs.recv() {
        let now = Instant::now();
        if !ears.contains_key(&job.participant) {
            ears.retain(|_, ear| now.saturating_duration_since(ear.used) < FORGET_AFTER);
            let Ok(decoder) = Decoder::new(SAMPLE_RATE, Channels::Mono) else { continue };
            if ears.len() < DECODERS {
                ears.insert(job.participant, Ear { decoder, used: now });
            }
        }
        let Some(ear) = ears.get_mut(&job.participant) else { continue };
        ear.used = now;
        let payload = job.payload.get(..usize::from(job.len)).unwrap_or_default();
        let level = match ear.decoder.decode_float(payload, &mut samples, false) {
            Ok(count) => Some(level(samples.get(..count).unwrap_or_default())),
            Err(_) => {
                let _ = ear.decoder.reset_state();
                None
            }
        };
        // A worker that does not keep up hears the next one.
        let Job { participant, rtp_time, claim, ms, .. } = job;
        let _ = heard.try_send(Heard { participant, rtp_time, claim, ms, level });
    }
}

/// The level of some samples of full scale 1, as RFC 6464 has it: 0, loudest, to 127, silent, in −dBov.
fn level(samples: &[f32]) -> u8 {
    let power = samples.iter().map(|sample| sample * sample).sum::<f32>() / (samples.len().max(1) as f32);
    if power > 0.0 { (-10.0 * power.log10()).round().clamp(0.0, 127.0) as u8 } else { 127 }
}

/// How long an Opus packet is, in ms, by its first bytes (RFC 6716, section 3.1). `None`: it is none.
pub(crate) fn packet_ms(payload: &[u8]) -> Option<f32> {
    let samples = opus::packet::get_nb_samples(payload, 48_000).ok()?;
    Some(samples as f32 / 48.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::f32::consts::TAU;
    use std::sync::Arc;

    use opus::{Application, Encoder};

    use super::*;

    /// Packets of 20 ms of a tone of this amplitude.
    fn tone(amplitude: f32, count: usize) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(48_000, Channels::Mono, Application::Voip).unwrap();
        let packet = |number: usize| {
            let sample = |n: usize| amplitude * (TAU * 300.0 * (number * 960 + n) as f32 / 48_000.0).sin();
            let samples: Vec<f32> = (0..960).map(sample).collect();
            encoder.encode_vec_float(&samples, LARGEST).unwrap()
        };
        (0..count).map(packet).collect()
    }

    async fn listen(pool: &mut Arc<DecoderPool>, heard: &mut mpsc::Receiver<Heard>, payload: &[u8]) -> Heard {
        let packet = Unheard { participant: ParticipantId(7), rtp_time: 960, claim: Some(30), ms: 20.0, payload };
        assert!(pool.listen(packet));
        tokio::time::timeout(Duration::from_secs(10), heard.recv()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn what_is_heard_is_as_loud_as_what_was_said() {
        let (pool, mut heard) = DecoderPool::new(2);
        let mut pool = Arc::new(pool);
        // A sine of amplitude a has −20·log₁₀(a) + 3 −dBov.
        for (amplitude, expected) in [(0.5, 9), (0.05, 29), (0.005, 49)] {
            let mut last = None;
            for packet in tone(amplitude, 20) {
                last = listen(&mut pool, &mut heard, &packet).await.level;
            }
            assert!(last.unwrap().abs_diff(expected) <= 3, "{amplitude}: {last:?}, expected {expected}");
        }
    }

    #[tokio::test]
    async fn what_is_no_opus_has_no_level_and_hurts_nobody() {
        let (pool, mut heard) = DecoderPool::new(1);
        let mut pool = Arc::new(pool);
        for bytes in [&[0xFF; 1_276][..], &[0x03, 0xFF], &[0x7B; 3]] {
            let _ = listen(&mut pool, &mut heard, bytes).await;
        }
        for payload in [&[][..], &[0; 1_277]] {
            let packet = Unheard { participant: ParticipantId(7), rtp_time: 0, claim: None, ms: 20.0, payload };
            assert!(!pool.listen(packet), "{} bytes", payload.len());
        }
        let last = tone(0.5, 10).pop().unwrap();
        assert!(listen(&mut pool, &mut heard, &last).await.level.is_some());
    }

    #[test]
    fn a_full_queue_drops_and_never_waits() {
        // Nobody takes what is heard, and far more is given than can be decoded meanwhile.
        let (pool, _heard) = DecoderPool::new(1);
        let mut pool = Arc::new(pool);
        let packet = tone(0.5, 1).pop().unwrap();
        let begin = Instant::now();
        let taken = (0..20_000)
            .filter(|_| {
                pool.listen(Unheard {
                    participant: ParticipantId(1),
                    rtp_time: 0,
                    claim: None,
                    ms: 20.0,
                    payload: &packet,
                })
            })
            .count();
        assert!(taken < 20_000, "everything was taken");
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn without_threads_nobody_listens() {
        let (pool, _heard) = DecoderPool::new(0);
        let packet = Unheard { participant: ParticipantId(1), rtp_time: 0, claim: None, ms: 20.0, payload: &[1] };
        assert!(!Arc::new(pool).listen(packet));
    }

    #[test]
    fn the_length_of_a_packet_stands_in_its_first_bytes() {
        assert_eq!(packet_ms(&tone(0.5, 1)[0]), Some(20.0));
        // SILK of 60 ms, and two frames of 20 ms (RFC 6716, table 2).
        assert_eq!(packet_ms(&[3 << 3, 0]), Some(60.0));
        assert_eq!(packet_ms(&[(1 << 3) | 1, 0, 0]), Some(40.0));
        assert_eq!(packet_ms(&[]), None);
    }
}
