//! What protecting a packet costs: AES-GCM of both libraries, and the fallback profile, for a voice and a piece of a picture.
//!
//! `cargo bench -p ringback-benches --bench ciphers` prints the median of rounds that take turns. With `-- --test`, and in `cargo test --benches`, it runs for a moment.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use ringback_transport::srtp::{GcmLibrary, MAX_OVERHEAD, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};

const SIZES: [usize; 2] = [120, 1_200];

/// One way of protecting packets.
struct Candidate {
    name: String,
    sender: SrtpSender,
    receiver: SrtpReceiver,
    sequence: u16,
}

impl Candidate {
    fn new(profile: SrtpProfile, library: GcmLibrary) -> Self {
        let salt = vec![3; if profile == SrtpProfile::AeadAes128Gcm { 12 } else { 14 }];
        let keys = || SrtpKeys::new(profile, &[7; 16], &salt).unwrap();
        let name = match profile {
            SrtpProfile::AeadAes128Gcm => format!("AES-128-GCM, {}", library.name()),
            SrtpProfile::Aes128CmSha1_80 => "AES-CM and HMAC-SHA1-80".to_owned(),
        };
        let sender = SrtpSender::with_library(keys(), library).unwrap();
        let receiver = SrtpReceiver::with_library(&keys(), library).unwrap();
        Self { name, sender, receiver, sequence: 0 }
    }

    /// Seals so many packets and opens them; how long each took on the average.
    fn round(&mut self, size: usize, packets: u32) -> [Duration; 2] {
        let mut plain = vec![0xA5; size];
        plain[..2].copy_from_slice(&[0x80, 96]);
        let mut sealed: Vec<Vec<u8>> = Vec::new();
        for _ in 0..packets {
            self.sequence = self.sequence.wrapping_add(1);
            plain[2..4].copy_from_slice(&self.sequence.to_be_bytes());
            sealed.push([&plain[..], &[0; MAX_OVERHEAD]].concat());
        }
        let began = Instant::now();
        for packet in &mut sealed {
            let len = self.sender.protect_rtp(packet, size).unwrap();
            packet.truncate(len);
        }
        let sealing = began.elapsed() / packets;
        let began = Instant::now();
        for packet in &mut sealed {
            assert_eq!(self.receiver.unprotect_rtp(packet), Ok(size));
        }
        [sealing, began.elapsed() / packets]
    }
}

fn main() {
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let (rounds, packets) = if is_test { (3, 10) } else { (201, 100) };
    println!("the library chosen on this machine: {}", GcmLibrary::fastest().name());
    let mut candidates = [
        Candidate::new(SrtpProfile::AeadAes128Gcm, GcmLibrary::Ring),
        Candidate::new(SrtpProfile::AeadAes128Gcm, GcmLibrary::AwsLc),
        Candidate::new(SrtpProfile::Aes128CmSha1_80, GcmLibrary::Ring),
    ];
    for size in SIZES {
        let mut times = vec![[const { Vec::new() }; 2]; candidates.len()];
        for _ in 0..rounds {
            for (candidate, times) in candidates.iter_mut().zip(&mut times) {
                let [sealing, opening] = candidate.round(size, packets);
                times[0].push(sealing);
                times[1].push(opening);
            }
        }
        for (candidate, times) in candidates.iter().zip(times) {
            let [sealing, opening] = times.map(|mut times| {
                times.sort_unstable();
                times[times.len() / 2]
            });
            println!("  {:<26} {size:>5} B   seal {sealing:>9.0?}   open {opening:>9.0?}", candidate.name);
        }
    }
}
