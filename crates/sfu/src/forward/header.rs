//! The RTP header of a slot's packets, laid out once and filled in per packet: MID, transport-wide sequence number,
//! abs-send-time and audio level under the subscriber's own extension ids. What the publisher wrote for the server (RID, repaired
//! RID, layer allocation) is left out by not being here. AV1's dependency descriptor differs in length from packet to packet: a header with
//! one is written anew.

use std::time::{Duration, Instant};

use ringback_transport::rtp::{RtpHeader, RtpHeaderWriter};
use ringback_transport::sdp::{Extension, ExtensionMap};

/// The longest header laid out: 12 bytes, and extensions with a MID of at most [`MAX_MID`] bytes.
const MAX_HEADER: usize = 64;

/// The longest MID that is written into packets: what one element of the one-byte form carries (RFC 8285).
const MAX_MID: usize = 16;

/// The elements of a header extension by their ids.
type Extensions<'a> = [(u8, &'a [u8]); 5];

/// What differs from packet to packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) transport_sequence: u16,
    pub(crate) send_time: u32,
    pub(crate) level: Option<u8>,
    /// AV1's dependency descriptor; empty without one. Of an m-line that has not negotiated it, nothing is written.
    pub(crate) dependency: &'a [u8],
}

/// The header of one slot.
#[derive(Debug, Clone)]
pub(crate) struct HeaderTemplate {
    bytes: [u8; MAX_HEADER],
    len: usize,
    transport_sequence: Option<usize>,
    send_time: Option<usize>,
    level: Option<usize>,
    dependency: Option<u8>,
    /// Of each element its id, where its value begins and how long that is; those that there are come first.
    elements: [(u8, u8, u8); 4],
    count: usize,
    /// The ids of the two that are written when a packet leaves.
    stamps: [Option<u8>; 2],
}

impl HeaderTemplate {
    /// Lays out the header for an m-line with these extensions.
    pub(crate) fn new(mid: &str, extensions: &ExtensionMap) -> Self {
        const NOTHING: [u8; 3] = [0; 3];
        let id = |extension| extensions.id_of(extension);
        let mut elements: [(u8, &[u8]); 4] = [(0, &[]); 4];
        let mut count = 0;
        let mut add = |id: Option<u8>, value: &'static [u8]| {
            let id = id?;
            elements[count] = (id, value);
            count += 1;
            Some(id)
        };
        let transport_sequence = add(id(Extension::TransportCc), &NOTHING[..2]);
        let send_time = add(id(Extension::AbsSendTime), &NOTHING[..3]);
        let level = add(id(Extension::AudioLevel), &NOTHING[..1]);
        if let Some(mid_id) = id(Extension::Mid).filter(|_| (1..=MAX_MID).contains(&mid.len())) {
            elements[count] = (mid_id, mid.as_bytes());
            count += 1;
        }
        let blank = RtpHeaderWriter { marker: false, payload_type: 0, sequence: 0, timestamp: 0, ssrc: 0 };
        let mut bytes = [0; MAX_HEADER];
        // It fits: 12 + 4 bytes, and at most 22 of values with four element headers of two bytes each.
        let len = blank.write(&mut bytes, &elements[..count]).unwrap_or(0);
        let dependency = id(Extension::DependencyDescriptor);
        let stamps = [transport_sequence, send_time];
        let mut places = [(0, 0, 0); 4];
        if let Ok(header) = RtpHeader::parse_unpadded(&bytes[..len]) {
            for (place, (id, value)) in places.iter_mut().zip(header.extensions(&bytes[..len])) {
                let at = value.as_ptr() as usize - bytes.as_ptr() as usize;
                *place = (id, at as u8, value.len() as u8);
            }
        }
        let mut template = Self {
            bytes,
            len,
            transport_sequence: None,
            send_time: None,
            level: None,
            dependency,
            elements: places,
            count,
            stamps,
        };
        let value_at = |wanted: Option<u8>| {
            let header = RtpHeader::parse_unpadded(&template.bytes[..len]).ok()?;
            let value = header.extension(&template.bytes[..len], wanted?)?;
            Some(value.as_ptr() as usize - template.bytes.as_ptr() as usize)
        };
        let places = (value_at(transport_sequence), value_at(send_time), value_at(level));
        (template.transport_sequence, template.send_time, template.level) = places;
        template
    }

    /// Whether packets carry a transport-wide sequence number.
    pub(crate) fn is_numbered(&self) -> bool {
        self.transport_sequence.is_some()
    }

    /// Writes when a packet of this slot leaves, and its transport-wide sequence number, into one that has waited.
    pub(crate) fn restamp(&self, packet: &mut [u8], transport_sequence: u16, send_time: u32) {
        let Ok(header) = RtpHeader::parse_unpadded(packet) else { return };
        let at = |id: Option<u8>| {
            let value = header.extension(packet, id?)?;
            Some(value.as_ptr() as usize - packet.as_ptr() as usize)
        };
        let [sequence_at, time_at] = self.stamps.map(at);
        if let Some(place) = sequence_at.and_then(|at| packet.get_mut(at..at + 2)) {
            place.copy_from_slice(&transport_sequence.to_be_bytes());
        }
        if let Some(place) = time_at.and_then(|at| packet.get_mut(at..at + 3)) {
            place.copy_from_slice(&send_time.to_be_bytes()[1..]);
        }
    }

    /// The length of the header in bytes, the same for every packet without a dependency descriptor: equal payloads make equal datagrams,
    /// which travel as a train.
    pub(crate) fn len(&self, dependency: &[u8]) -> usize {
        match self.described(&self.bytes, dependency) {
            None => self.len,
            Some((elements, count)) => RtpHeaderWriter::header_len(&elements[..count]),
        }
    }

    /// The elements of this header in `bytes`, with the dependency descriptor, if there is one and the m-line takes it.
    fn described<'a>(&self, bytes: &'a [u8], dependency: &'a [u8]) -> Option<(Extensions<'a>, usize)> {
        let id = self.dependency.filter(|_| !dependency.is_empty())?;
        let mut elements: Extensions<'_> = [(id, dependency); 5];
        for (element, &(id, at, len)) in elements.iter_mut().zip(self.elements.get(..self.count)?) {
            *element = (id, bytes.get(usize::from(at)..usize::from(at) + usize::from(len))?);
        }
        Some((elements, self.count + 1))
    }

    /// Writes the header into the first [`len`](Self::len) bytes of `buf`.
    pub(crate) fn write(&self, buf: &mut [u8], fields: &Fields<'_>) {
        if self.dependency.is_none() || fields.dependency.is_empty() {
            return self.fill(buf, fields);
        }
        let mut plain = [0; MAX_HEADER];
        self.fill(&mut plain, fields);
        let Some((elements, count)) = self.described(&plain, fields.dependency) else { return };
        let &Fields { marker, payload_type, sequence, timestamp, ssrc, .. } = fields;
        let header = RtpHeaderWriter { marker, payload_type, sequence, timestamp, ssrc };
        // It fits: `len` was asked before.
        let _ = header.write(buf, &elements[..count]);
    }

    fn fill(&self, buf: &mut [u8], fields: &Fields<'_>) {
        let Some(header) = buf.get_mut(..self.len) else { return };
        header.copy_from_slice(&self.bytes[..self.len]);
        header[1] = u8::from(fields.marker) << 7 | fields.payload_type;
        header[2..4].copy_from_slice(&fields.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&fields.ssrc.to_be_bytes());
        if let Some(at) = self.transport_sequence {
            header[at..at + 2].copy_from_slice(&fields.transport_sequence.to_be_bytes());
        }
        if let Some(at) = self.send_time {
            header[at..at + 3].copy_from_slice(&fields.send_time.to_be_bytes()[1..]);
        }
        if let Some(at) = self.level {
            // A voice that is not measured counts as silence rather than as the loudest.
            header[at] = fields.level.unwrap_or(127);
        }
    }
}

/// The 24 bits of abs-send-time: seconds as 6.18 fixed point, from any origin (only differences count).
pub(crate) fn abs_send_time(since_origin: Duration) -> u32 {
    let seconds = (since_origin.as_secs() & 0x3F) as u32;
    let fraction = (u64::from(since_origin.subsec_nanos()) << 18) / 1_000_000_000;
    (seconds << 18 | fraction as u32) & 0x00FF_FFFF
}

/// A clock for abs-send-time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendClock(Instant);

impl SendClock {
    pub(crate) fn new(origin: Instant) -> Self {
        Self(origin)
    }

    pub(crate) fn at(self, now: Instant) -> u32 {
        abs_send_time(now.saturating_duration_since(self.0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_waited_gets_its_stamps_when_it_leaves_in_either_form_of_header() {
        let mut extensions = ExtensionMap::default();
        for (id, extension) in [
            (3, Extension::TransportCc),
            (4, Extension::AbsSendTime),
            (5, Extension::Mid),
            (6, Extension::DependencyDescriptor),
        ] {
            extensions.insert(extension, id, true, true);
        }
        let template = HeaderTemplate::new("v0", &extensions);
        // The second is too long for the one-byte form.
        for dependency in [&[][..], &[7; 20]] {
            let fields = Fields {
                marker: true,
                payload_type: 96,
                sequence: 1,
                timestamp: 2,
                ssrc: 3,
                transport_sequence: 4,
                send_time: 5,
                level: None,
                dependency,
            };
            let mut packet = vec![0; template.len(dependency) + 50];
            template.write(&mut packet, &fields);
            let mut expected = packet.clone();
            template.write(&mut expected, &Fields { transport_sequence: 0x1234, send_time: 0x56_789A, ..fields });
            template.restamp(&mut packet, 0x1234, 0x56_789A);
            assert_eq!(packet, expected);
            let header = RtpHeader::parse_unpadded(&packet).unwrap();
            assert_eq!(header.extension(&packet, 3), Some(&[0x12, 0x34][..]));
        }
    }
}
