//! What a slot sends under the SSRC of its retransmissions (RFC 4588): packets again, asked for or not, and padding. When that is done, and how
//! often, is the subscriber's to say.

use std::time::{Duration, Instant};

use ringback_transport::rtp::RtpHeaderWriter;

use super::{MAX_EXTENSION, Slot, described};
use crate::forward::header::Fields;
use crate::forward::{Descriptor, Packet, PacketSink};
use crate::retransmission::{RtxSequencer, SentPacket, StoredPacket};

impl Slot {
    /// Whether the subscriber has negotiated here what probing with padding takes, and so knows padding when it sees it: padding goes out under the
    /// SSRC of retransmissions, whose numbers nobody's pictures depend on.
    pub(crate) fn takes_padding(&self) -> bool {
        self.rtx_ssrc.is_some() && self.is_numbered() && self.rtx_payload_type().is_some()
    }

    fn rtx_payload_type(&self) -> Option<u8> {
        self.codecs.iter().find_map(|codec| codec.rtx_payload_type)
    }

    /// Sends a packet of `padding` bytes of padding. Returns whether it went out.
    pub(crate) fn pad<S: PacketSink>(
        &mut self,
        padding: u8,
        (transport_sequence, send_time): (u16, u32),
        to: usize,
        sink: &mut S,
    ) -> bool {
        let (Some(ssrc), Some(payload_type)) = (self.rtx_ssrc, self.rtx_payload_type()) else { return false };
        let fields = Fields {
            marker: false,
            payload_type,
            sequence: self.rtx.next_sequence(),
            timestamp: self.last_timestamp,
            ssrc,
            transport_sequence,
            send_time,
            level: None,
            dependency: &[],
        };
        let (header, len) = (&self.header, self.header.len(&[]));
        sink.send_rtp(to, len + usize::from(padding), |buf| {
            header.write(buf, &fields);
            let _ = RtpHeaderWriter::pad(buf, len, padding.into());
        })
    }

    /// What was sent under this number, if it may be sent again.
    pub(crate) fn take_resend(&mut self, now: Instant, round_trip: Duration, sequence: u16) -> Option<SentPacket> {
        self.rtx_ssrc?;
        self.sent.resend(now, round_trip, sequence).ok()
    }

    /// Sends a packet that went out just now a second time, unasked. Returns whether it went out.
    pub(crate) fn repeat<S: PacketSink>(
        &mut self,
        packet: &Packet<'_>,
        stamp: (u16, u32),
        to: usize,
        sink: &mut S,
    ) -> bool {
        // What fills a hole went out under another's number.
        let sent = self.sent.last().filter(|sent| sent.source_sequence == packet.sequence);
        let stored = StoredPacket {
            timestamp: packet.timestamp,
            marker: packet.marker,
            dependency: packet.dependency,
            payload: packet.payload,
        };
        sent.is_some_and(|sent| self.resend(&sent, &stored, stamp, to, sink))
    }

    /// Sends a packet again under the RTX SSRC (RFC 4588). A subscriber that has not negotiated RTX gets none: a packet under its
    /// old number must be the same to the last byte, and a keyframe does as well. Returns whether it went out.
    pub(crate) fn resend<S: PacketSink>(
        &mut self,
        sent: &SentPacket,
        stored: &StoredPacket<'_>,
        (transport_sequence, send_time): (u16, u32),
        to: usize,
        sink: &mut S,
    ) -> bool {
        let codec = self.codecs.iter().find(|codec| codec.payload_type == sent.payload_type);
        let repair = codec.and_then(|codec| Some((codec.name, codec.rtx_payload_type?)));
        let (Some(ssrc), Some((codec, payload_type))) = (self.rtx_ssrc, repair) else { return false };
        let mut dependency = [0; MAX_EXTENSION];
        let dependency = described(&mut dependency, stored.dependency, sent.counters);
        let fields = Fields {
            marker: sent.marker,
            payload_type,
            sequence: self.rtx.next_sequence(),
            timestamp: sent.timestamp,
            ssrc,
            transport_sequence,
            send_time,
            level: None,
            dependency,
        };
        let (header, header_len) = (&self.header, self.header.len(dependency));
        sink.send_rtp(to, header_len + RtxSequencer::PREFIX + stored.payload.len(), |buf| {
            header.write(buf, &fields);
            let Some(body) = buf.get_mut(header_len..) else { return };
            if RtxSequencer::write(sent.sequence, stored.payload, body).is_none() {
                return;
            }
            let original = body.get_mut(RtxSequencer::PREFIX..).unwrap_or_default();
            if let Some(descriptor) = Descriptor::read(codec, stored.payload, stored.dependency) {
                sent.counters.write_into(&descriptor, original);
            }
        })
    }
}
