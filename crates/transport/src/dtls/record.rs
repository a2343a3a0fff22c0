//! Looks at DTLS 1.2 records (RFC 6347, section 4.1) before the handshake library does, and lets through only what it
//! can handle at bounded cost: the library keeps every handshake fragment and every record of a coming epoch,
//! reassembles recursively, and stops its retransmission timer on any repeated message. No cryptography here.

use bytes::BytesMut;

/// Bytes of a record header: type, version, epoch, sequence number, length.
const RECORD_HEADER: usize = 13;
/// Bytes of a handshake message header: type, length, sequence, fragment offset, fragment length.
const HANDSHAKE_HEADER: usize = 12;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;
const ALERT_FATAL: u8 = 2;

/// Handshake fragments taken in during one handshake. A handshake has about ten messages, so this allows some twenty
/// repetitions, and bounds a recursion in the library.
const MAX_FRAGMENTS: usize = 256;
/// Bytes taken in during one handshake, for the same reason.
const MAX_HANDSHAKE_BYTES: usize = 128 * 1024;
/// The longest handshake message: room for a certificate chain.
const MAX_MESSAGE: usize = 16 * 1024;
/// Bytes held of a first ClientHello that is not complete yet. One with a post-quantum key share has about 2 KB.
const MAX_HELD: usize = 8 * 1024;
/// Authenticated handshake records after the handshake: repetitions of the peer's last flight, because it has not seen
/// ours.
const MAX_LATE_FLIGHTS: usize = 16;

/// One record as it stands in a datagram.
#[derive(Debug, Clone, Copy)]
struct Record<'a> {
    whole: &'a [u8],
    body: &'a [u8],
    content_type: u8,
    epoch: u16,
}

/// The well-formed records at the beginning of a datagram; whatever follows them is dropped.
fn records(datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<RECORD_HEADER>()?;
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        // DTLS 1.0 (fe ff) is the version a first ClientHello may carry.
        if length == 0 || header[1] != 0xFE || !matches!(header[2], 0xFD | 0xFF) {
            return None;
        }
        let (whole, after) = rest.split_at_checked(RECORD_HEADER + length)?;
        rest = after;
        let (content_type, epoch) = (header[0], u16::from_be_bytes([header[3], header[4]]));
        Some(Record { whole, body: &whole[RECORD_HEADER..], content_type, epoch })
    })
}

/// A fragment of a handshake message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment<'a> {
    message_type: u8,
    message_len: usize,
    sequence: u16,
    offset: usize,
    data: &'a [u8],
}

/// The handshake fragments in the body of a plaintext record. `None` stands for something malformed, and ends it.
fn fragments(body: &[u8]) -> impl Iterator<Item = Option<Fragment<'_>>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let fragment = split_fragment(rest);
        rest = fragment.map_or(&[], |(_, after)| after);
        Some(fragment.map(|(fragment, _)| fragment))
    })
}

fn split_fragment(bytes: &[u8]) -> Option<(Fragment<'_>, &[u8])> {
    let header = bytes.first_chunk::<HANDSHAKE_HEADER>()?;
    let u24 =
        |at: usize| usize::from(header[at]) << 16 | usize::from(header[at + 1]) << 8 | usize::from(header[at + 2]);
    let (message_len, offset, len) = (u24(1), u24(6), u24(9));
    let (data, after) = bytes[HANDSHAKE_HEADER..].split_at_checked(len)?;
    let empty_part = len == 0 && message_len != 0;
    if message_len > MAX_MESSAGE || offset + len > message_len || empty_part {
        return None;
    }
    let sequence = u16::from_be_bytes([header[4], header[5]]);
    Some((Fragment { message_type: header[0], message_len, sequence, offset, data }, after))
}

/// What the gate made of a datagram.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    /// The records to hand on, as one datagram. Empty when there are none.
    pub(super) records: BytesMut,
    /// Whether the peer repeated a flight that has been answered: it has not seen the answer.
    pub(super) repeats_flight: bool,
}

/// Decides which records reach the library.
#[derive(Debug, Default)]
pub(super) struct RecordGate {
    established: bool,
    fragments: usize,
    bytes: usize,
    late_flights: usize,
    newest_sequence: Option<u16>,
    /// Messages up to this sequence number have been answered by a flight of ours.
    answered: Option<u16>,
}

impl RecordGate {
    /// A flight of ours went out in answer to what came in so far.
    pub(super) fn flight_sent(&mut self) {
        self.answered = self.newest_sequence;
    }

    /// The handshake is complete: from here on only authenticated records count.
    pub(super) fn established(&mut self) {
        self.established = true;
    }

    /// Sorts the records of a datagram.
    pub(super) fn admit(&mut self, datagram: &[u8]) -> Admitted {
        let mut admitted = Admitted::default();
        for record in records(datagram) {
            let good = if self.established { self.is_good_late(record) } else { self.is_good(record, &mut admitted) };
            if good {
                admitted.records.extend_from_slice(record.whole);
            }
        }
        admitted
    }

    /// After the handshake, everything in the clear is forged or stale (RFC 6347, section 4.1.2.7).
    fn is_good_late(&mut self, record: Record<'_>) -> bool {
        if record.epoch != 1 {
            return false;
        }
        if record.content_type == HANDSHAKE {
            self.late_flights += 1;
            return self.late_flights <= MAX_LATE_FLIGHTS;
        }
        matches!(record.content_type, ALERT | APPLICATION_DATA)
    }

    fn is_good(&mut self, record: Record<'_>, admitted: &mut Admitted) -> bool {
        self.bytes = self.bytes.saturating_add(record.whole.len());
        if self.bytes > MAX_HANDSHAKE_BYTES {
            return false;
        }
        match (record.epoch, record.content_type) {
            (0, HANDSHAKE) => self.is_good_handshake(record.body, admitted),
            (0, ALERT) => record.body.first() == Some(&ALERT_FATAL),
            (0, CHANGE_CIPHER_SPEC) => true,
            (1, ALERT | HANDSHAKE | APPLICATION_DATA) => {
                self.fragments += 1;
                self.fragments <= MAX_FRAGMENTS
            }
            _ => false,
        }
    }

    fn is_good_handshake(&mut self, body: &[u8], admitted: &mut Admitted) -> bool {
        let mut new = false;
        for fragment in fragments(body) {
            let Some(fragment) = fragment else { return false };
            self.fragments += 1;
            if self.fragments > MAX_FRAGMENTS {
                return false;
            }
            // A first ClientHello comes again when our HelloVerifyRequest was lost, which nothing else repeats.
            let first_hello = fragment.message_type == CLIENT_HELLO && fragment.sequence == 0;
            let answered = self.answered.is_some_and(|answered| fragment.sequence <= answered);
            if answered && !(first_hello && self.answered == Some(0)) {
                continue;
            }
            new = true;
            self.newest_sequence = self.newest_sequence.max(Some(fragment.sequence));
        }
        admitted.repeats_flight |= !new;
        new
    }
}

/// Puts a ClientHello together that came in several datagrams: the first, so that it can be read before the library is set
/// up, and the second, because the library answers its first half as if it were the first ClientHello again. Browsers with a
/// post-quantum key share split both. Fragments are taken in order; a client repeats them.
#[derive(Debug, Default)]
pub(super) struct HelloAssembly {
    sequence: u16,
    body: Vec<u8>,
    held: Vec<u8>,
}

/// A complete ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WholeHello {
    /// The protection profiles it offers in `use_srtp` (RFC 5764, section 4.1.1), by their identifiers, in its order.
    pub(super) srtp_profiles: Vec<u16>,
    /// The records that carried it, for the library.
    pub(super) records: Vec<u8>,
}

impl HelloAssembly {
    /// Whether a datagram begins with a ClientHello or a part of one.
    pub(super) fn concerns(datagram: &[u8]) -> bool {
        let first = records(datagram).next().filter(|record| (record.epoch, record.content_type) == (0, HANDSHAKE));
        let fragment = first.and_then(|record| fragments(record.body).next().flatten());
        fragment.is_some_and(|fragment| fragment.message_type == CLIENT_HELLO)
    }

    /// Takes in one datagram. Returns the hello once it is complete.
    pub(super) fn push(&mut self, datagram: &[u8]) -> Option<WholeHello> {
        for record in records(datagram) {
            if (record.epoch, record.content_type) != (0, HANDSHAKE) {
                continue;
            }
            let mut complete = false;
            for fragment in fragments(record.body) {
                let fragment = fragment?;
                if fragment.message_type != CLIENT_HELLO {
                    continue;
                }
                if fragment.offset == 0 {
                    self.sequence = fragment.sequence;
                    self.body.clear();
                    self.held.clear();
                }
                let follows = fragment.sequence == self.sequence && fragment.offset == self.body.len();
                if !follows || self.held.len() > MAX_HELD {
                    continue;
                }
                self.body.extend_from_slice(fragment.data);
                self.held.extend_from_slice(record.whole);
                complete |= self.body.len() == fragment.message_len;
            }
            if complete {
                let srtp_profiles = offered_srtp_profiles(&self.body).unwrap_or_default();
                return Some(WholeHello { srtp_profiles, records: std::mem::take(&mut self.held) });
            }
        }
        None
    }
}

/// The profiles in the `use_srtp` extension of a ClientHello (RFC 5246, section 7.4.1.2). `None` if it has none or is
/// malformed, which is for the library to judge.
fn offered_srtp_profiles(hello: &[u8]) -> Option<Vec<u16>> {
    const USE_SRTP: u16 = 14;
    let mut rest = hello.get(2 + 32..)?; // version and random
    for length_bytes in [1, 1, 2, 1] {
        // session id, cookie, cipher suites, compression methods
        let (_, after) = split_vector(rest, length_bytes)?;
        rest = after;
    }
    let (mut extensions, _) = split_vector(rest, 2)?;
    while !extensions.is_empty() {
        let kind = u16::from_be_bytes(*extensions.first_chunk()?);
        let (value, after) = split_vector(&extensions[2..], 2)?;
        extensions = after;
        if kind == USE_SRTP {
            let (profiles, _) = split_vector(value, 2)?;
            return Some(profiles.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect());
        }
    }
    None
}

/// Splits a TLS vector with a length field of one or two bytes off the front.
fn split_vector(bytes: &[u8], length_bytes: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(length_bytes)?;
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(content_type: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![content_type, 0xFE, 0xFD];
        bytes.extend(epoch.to_be_bytes());
        bytes.extend([0; 6]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn fragment(message_type: u8, sequence: u16, len: usize, offset: usize, data: &[u8]) -> Vec<u8> {
        let u24 = |value: usize| [(value >> 16) as u8, (value >> 8) as u8, value as u8];
        let mut bytes = vec![message_type];
        bytes.extend(u24(len));
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(u24(offset));
        bytes.extend(u24(data.len()));
        bytes.extend(data);
        bytes
    }

    fn hello_body(profiles: &[u16]) -> Vec<u8> {
        let mut body = vec![0xFE, 0xFD];
        body.extend([7; 32]);
        body.extend([0, 0, 0, 2, 0xC0, 0x2B, 1, 0]); // no session, no cookie, one suite, null compression
        let mut use_srtp = ((profiles.len() * 2) as u16).to_be_bytes().to_vec();
        use_srtp.extend(profiles.iter().flat_map(|profile| profile.to_be_bytes()));
        use_srtp.push(0);
        let mut extensions = vec![0, 23, 0, 0, 0, 14];
        extensions.extend((use_srtp.len() as u16).to_be_bytes());
        extensions.extend(use_srtp);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    #[test]
    fn after_the_handshake_only_authenticated_records_pass() {
        let mut gate = RecordGate::default();
        gate.established();
        for content_type in 0..=255 {
            for epoch in [0, 2, 3, u16::MAX] {
                assert!(gate.admit(&record(content_type, epoch, &[2; 40])).records.is_empty());
            }
        }
        let data = record(APPLICATION_DATA, 1, &[1; 40]);
        assert_eq!(gate.admit(&data).records, data);
        let finished = record(HANDSHAKE, 1, &[1; 40]);
        let passed = (0..100).filter(|_| !gate.admit(&finished).records.is_empty()).count();
        assert_eq!(passed, MAX_LATE_FLIGHTS);
    }

    #[test]
    fn a_flood_of_tiny_fragments_is_cut_off() {
        let mut gate = RecordGate::default();
        let mut passed = 0;
        for offset in 0..10_000 {
            let one_byte = record(HANDSHAKE, 0, &fragment(11, 1, 10_000, offset, &[0]));
            passed += usize::from(!gate.admit(&one_byte).records.is_empty());
        }
        assert_eq!(passed, MAX_FRAGMENTS);
    }

    #[test]
    fn records_of_a_coming_epoch_are_held_within_bounds() {
        let mut gate = RecordGate::default();
        let early = record(APPLICATION_DATA, 1, &[0; 1000]);
        let passed = (0..10_000).filter(|_| !gate.admit(&early).records.is_empty()).count();
        assert!(passed * early.len() <= MAX_HANDSHAKE_BYTES);
        assert!(gate.admit(&record(APPLICATION_DATA, 2, &[0; 10])).records.is_empty());
    }

    #[test]
    fn a_repeated_flight_is_held_back_and_reported() {
        let mut gate = RecordGate::default();
        let hello_done = record(HANDSHAKE, 0, &fragment(14, 5, 0, 0, &[]));
        assert!(!gate.admit(&hello_done).repeats_flight);
        gate.flight_sent();
        let again = gate.admit(&hello_done);
        assert_eq!(again, Admitted { records: BytesMut::new(), repeats_flight: true });
        let next = record(HANDSHAKE, 0, &fragment(20, 6, 1, 0, &[0]));
        assert_eq!(gate.admit(&next).records, next);
    }

    #[test]
    fn a_first_hello_may_be_repeated_until_the_second_was_answered() {
        let mut gate = RecordGate::default();
        let hello = |sequence| record(HANDSHAKE, 0, &fragment(CLIENT_HELLO, sequence, 2, 0, &[1, 2]));
        gate.admit(&hello(0));
        gate.flight_sent();
        assert!(!gate.admit(&hello(0)).records.is_empty());
        gate.admit(&hello(1));
        gate.flight_sent();
        assert!(gate.admit(&hello(0)).records.is_empty());
        assert!(gate.admit(&hello(1)).repeats_flight);
    }

    #[test]
    fn the_offered_profiles_are_found_whole_or_in_fragments() {
        let body = hello_body(&[1, 7]);
        let whole = record(HANDSHAKE, 0, &fragment(CLIENT_HELLO, 0, body.len(), 0, &body));
        let found = HelloAssembly::default().push(&whole).unwrap();
        assert_eq!(found, WholeHello { srtp_profiles: vec![1, 7], records: whole });

        let (one, two) = body.split_at(20);
        let first = record(HANDSHAKE, 0, &fragment(CLIENT_HELLO, 0, body.len(), 0, one));
        let second = record(HANDSHAKE, 0, &fragment(CLIENT_HELLO, 0, body.len(), 20, two));
        let mut assembly = HelloAssembly::default();
        assert_eq!(assembly.push(&second), None); // out of order: the client repeats it
        assert_eq!(assembly.push(&first), None);
        assert_eq!(assembly.push(&first), None);
        let found = assembly.push(&second).unwrap();
        assert_eq!(found, WholeHello { srtp_profiles: vec![1, 7], records: [first, second].concat() });
    }

    #[test]
    fn a_second_hello_in_two_datagrams_reaches_the_library_whole() {
        let body = hello_body(&[7]);
        let (one, two) = body.split_at(20);
        let first = record(HANDSHAKE, 0, &fragment(CLIENT_HELLO, 1, body.len(), 0, one));
        let second = record(HANDSHAKE, 0, &fragment(CLIENT_HELLO, 1, body.len(), 20, two));
        assert!(HelloAssembly::concerns(&first) && HelloAssembly::concerns(&second));
        let mut assembly = HelloAssembly::default();
        assert!(assembly.push(&record(HANDSHAKE, 0, &fragment(CLIENT_HELLO, 0, body.len(), 0, &body))).is_some());
        assert_eq!(assembly.push(&first), None);
        assert_eq!(assembly.push(&second).unwrap().records, [first, second].concat());
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_gate_panic(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8),
            content_type in 19u8..25, epoch in 0u16..3,
        ) {
            let (mut gate, mut assembly) = (RecordGate::default(), HelloAssembly::default());
            for datagram in &datagrams {
                for bytes in [datagram.clone(), record(content_type, epoch, datagram)] {
                    let admitted = gate.admit(&bytes);
                    prop_assert!(admitted.records.len() <= bytes.len());
                    let _ = assembly.push(&bytes);
                }
            }
        }

        #[test]
        fn no_hello_makes_the_search_for_profiles_panic(cut in 0usize..90, at in 0usize..90, byte: u8) {
            let mut body = hello_body(&[7, 1]);
            if let Some(place) = body.get_mut(at) { *place = byte; }
            body.truncate(cut);
            let _ = offered_srtp_profiles(&body);
        }
    }
}
