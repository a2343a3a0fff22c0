//! A room without sockets and clocks, for benches and instruction counts: what a worker does with a datagram from the moment it is in
//! memory until the sealed packets for the subscribers are. The keys are fixed, since nothing leaves the process. It negotiates as a worker
//! does and runs the same room; it is not for applications.

use std::time::Instant;

use ringback_transport::sdp::{Fingerprint, FingerprintAlgorithm, IceCredentials, Negotiation, NegotiationConfig};
use ringback_transport::srtp::{MAX_OVERHEAD, SrtpError, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};

use crate::error::SfuError;
use crate::forward::PacketSink;
use crate::ids::{ParticipantId, RoomId};
use crate::room::{Room, RoomConfig};
use crate::worker::JoinOffer;

/// Room for one sealed packet, in bytes.
const PLACE: usize = 2048;

/// Places that packets are sealed into, one after the other: as many as a worker's send arena holds before it is flushed, about.
const PLACES: usize = 64;

/// The keys of everybody; the profile decides between them.
fn keys(profile: SrtpProfile) -> Result<SrtpKeys, SrtpError> {
    let salt = [9; 14];
    let len = profile.key_material_len() / 2 - 16;
    SrtpKeys::new(profile, &[7; 16], salt.get(..len).unwrap_or(&salt))
}

/// What members send to a [`DryRoom`] under.
///
/// # Errors
/// Never, but that keys could be of a wrong length.
pub fn sender(profile: SrtpProfile) -> Result<SrtpSender, SrtpError> {
    SrtpSender::new(keys(profile)?)
}

/// The members' ways out: into memory.
struct Sealed {
    profile: Option<SrtpProfile>,
    senders: Vec<SrtpSender>,
    places: Box<[[u8; PLACE]]>,
    next: usize,
    packets: u64,
}

impl PacketSink for Sealed {
    #[inline]
    fn send_rtp(&mut self, to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        let place = &mut self.places[self.next % PLACES];
        let Some(packet) = place.get_mut(..len).filter(|_| len + MAX_OVERHEAD <= PLACE) else { return false };
        write(packet);
        let sealed = match self.senders.get_mut(to) {
            Some(sender) => sender.protect_rtp(place, len).is_ok(),
            None => self.profile.is_none(),
        };
        self.next += usize::from(sealed);
        self.packets += u64::from(sealed);
        sealed
    }

    fn send_rtcp(&mut self, to: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let place = &mut self.places[self.next % PLACES];
        let len = write(&mut place[..PLACE - MAX_OVERHEAD]);
        if let Some(sender) = self.senders.get_mut(to).filter(|_| len > 0) {
            let _ = sender.protect_rtcp(place, len);
        }
    }
}

/// The room. Members are numbered from 0 in the order in which they join.
pub struct DryRoom {
    room: Room,
    sink: Sealed,
    receivers: Vec<SrtpReceiver>,
}

impl std::fmt::Debug for DryRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DryRoom").field("members", &self.receivers.len()).finish_non_exhaustive()
    }
}

impl DryRoom {
    /// An empty room. Without a profile everything stays plain, in and out.
    #[must_use]
    pub fn new(now: Instant, profile: Option<SrtpProfile>) -> Self {
        let config = RoomConfig::default().with_max_participants(usize::MAX);
        let places = vec![[0; PLACE]; PLACES].into_boxed_slice();
        let sink = Sealed { profile, senders: Vec::new(), places, next: 0, packets: 0 };
        Self { room: Room::new(RoomId(1), config, now), sink, receivers: Vec::new() }
    }

    /// Lets somebody in, connected at once; slots are decided with [`settle`](Self::settle).
    ///
    /// # Errors
    /// When the offer or a claim cannot be used.
    pub fn join(&mut self, now: Instant, id: ParticipantId, offer: &JoinOffer) -> Result<usize, SfuError> {
        let fingerprint = Fingerprint { algorithm: FingerprintAlgorithm::Sha256, value: vec![7; 32] };
        let config = NegotiationConfig::new(IceCredentials::random(), fingerprint, Vec::new());
        let accepted = Negotiation::new(config).accept(&offer.sdp)?;
        let (key, _) = self.room.join(now, id, &accepted.session.lines, &offer.tracks)?;
        if let Some(profile) = self.sink.profile {
            let keys = keys(profile).map_err(ringback_transport::TransportError::from)?;
            self.receivers.push(SrtpReceiver::new(&keys).map_err(ringback_transport::TransportError::from)?);
            self.sink.senders.push(SrtpSender::new(keys).map_err(ringback_transport::TransportError::from)?);
        }
        self.room.set_connected(key, true);
        Ok(key)
    }

    /// Takes one datagram of a member: opens it, and seals what follows from it for everybody whom it concerns. Returns whether it was one of
    /// theirs. Not inlined, so that instructions can be counted by its name.
    #[inline(never)]
    pub fn take(&mut self, now: Instant, from: usize, datagram: &mut [u8]) -> bool {
        let len = match self.receivers.get_mut(from) {
            Some(receiver) => receiver.unprotect_rtp(datagram).ok(),
            None => self.sink.profile.is_none().then_some(datagram.len()),
        };
        let Some(packet) = len.and_then(|len| datagram.get(..len)) else { return false };
        self.room.handle_rtp(now, from, packet, &mut self.sink);
        self.settle(now);
        true
    }

    /// A member wants to see somebody, whoever speaks: their slots are decided anew.
    pub fn pin(&mut self, now: Instant, member: usize, pin: ParticipantId) {
        self.room.set_pin(member, Some(pin));
        self.settle(now);
    }

    /// How many packets have been sealed so far.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.sink.packets
    }

    /// Decides what flows where, if something changed.
    pub fn settle(&mut self, now: Instant) {
        self.room.settle(now, &mut self.sink);
        while self.room.poll_event().is_some() {}
    }
}
