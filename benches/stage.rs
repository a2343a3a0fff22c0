//! A room without sockets where one speaks to many, as the benches of single packets share it.
#![allow(dead_code, unreachable_pub)]

use std::time::{Duration, Instant};

use ringback_sfu::ParticipantId;
use ringback_sfu::dry::{self, DryRoom};
use ringback_transport::srtp::{MAX_OVERHEAD, SrtpProfile, SrtpSender};

use super::peer::media::{face_in, voice};
use super::peer::{self, Format, Peer, Spec};

/// A room where the first sends a voice and a face to so many others.
pub struct Stage {
    pub room: DryRoom,
    sender: Option<SrtpSender>,
    format: Format,
    origin: Instant,
    number: u64,
}

impl Stage {
    pub fn new(format: Format, subscribers: u64, profile: Option<SrtpProfile>) -> Self {
        let origin = Instant::now();
        let mut room = DryRoom::new(origin, profile);
        let publisher = Spec { microphone: true, camera: true, video: format, ..Spec::default() };
        let subscriber = Spec { pairs: 1, video: format, ..Spec::default() };
        let offer = |spec| peer::sdp::offer(&Peer::new(spec));
        room.join(origin, ParticipantId(1), &offer(publisher)).unwrap();
        let subscriber = offer(subscriber);
        for id in 0..subscribers {
            room.join(origin, ParticipantId(id + 2), &subscriber).unwrap();
        }
        room.settle(origin);
        let sender = profile.map(|profile| dry::sender(profile).unwrap());
        let mut stage = Self { room, sender, format, origin, number: 0 };
        for _ in 0..4 {
            let mut face = stage.face();
            stage.take(&mut face);
            let mut voice = stage.voice();
            stage.take(&mut voice);
        }
        assert_eq!(stage.room.packets(), 8 * subscribers);
        stage
    }

    fn sealed(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        if let Some(sender) = &mut self.sender {
            let len = packet.len();
            packet.resize(len + MAX_OVERHEAD, 0);
            let sealed = sender.protect_rtp(&mut packet, len).unwrap();
            packet.truncate(sealed);
        }
        packet
    }

    pub fn face(&mut self) -> Vec<u8> {
        self.number += 1;
        let packet = face_in(self.format, 1, self.number, self.origin, self.number == 1);
        self.sealed(packet)
    }

    pub fn voice(&mut self) -> Vec<u8> {
        self.number += 1;
        let packet = voice(1, self.number, self.origin, 0x80 | 40);
        self.sealed(packet)
    }

    pub fn take(&mut self, packet: &mut [u8]) {
        // Hardly any time passes: what is due by the clock is no packet's cost.
        let now = self.origin + Duration::from_nanos(self.number);
        assert!(self.room.take(now, 0, packet));
    }
}
