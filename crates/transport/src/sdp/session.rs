//! What a negotiation agrees on, as plain values: the transport's parameters and each line's codecs, header extensions,
//! what the offerer publishes on it and which slot it is. The connection and the SFU are built from these; neither reads
//! SDP.

use super::{Codec, DtlsRole, ExtensionMap, Fingerprint, IceCredentials, RejectReason};

/// An answered offer.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The answer, to be sent to the offerer.
    pub answer: String,
    /// What was agreed on.
    pub session: Session,
    /// Whether this offer restarts ICE: [`Session::remote_ice`] and [`Session::local_ice`] are both new.
    pub ice_restarted: bool,
}

/// What an offer and its answer agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// The offerer's ICE credentials.
    pub remote_ice: IceCredentials,
    /// This server's ICE credentials.
    pub local_ice: IceCredentials,
    /// The offerer's certificate matches one of these.
    pub remote_fingerprints: Vec<Fingerprint>,
    /// This server's role in the DTLS handshake.
    pub dtls_role: DtlsRole,
    /// The audio and video lines in the order of the offer, rejected ones included; the data channels' line is not.
    pub lines: Vec<Line>,
    /// The id of the MID header extension on packets from the offerer, the same on every line: it tells which line a
    /// packet of a new SSRC belongs to, and only then does [`Line::extensions`] hold.
    pub mid_extension: Option<u8>,
    /// Whether data channels were negotiated.
    pub sctp: bool,
}

/// Kinds of RTP media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// `m=audio`.
    Audio,
    /// `m=video`.
    Video,
}

/// One audio or video line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The line's name; empty for a removed line that has none.
    pub mid: String,
    /// Its kind of media.
    pub kind: MediaKind,
    /// The accepted codecs with the offerer's payload types, most preferred first; empty if rejected.
    pub codecs: Vec<Codec>,
    /// The accepted header extensions with the offerer's ids.
    pub extensions: ExtensionMap,
    /// What the offerer sends here, if it may.
    pub publish: Option<PublishLine>,
    /// What this server sends here, if the offerer receives.
    pub slot: Option<SlotLine>,
    /// Why the line is not used at all.
    pub rejected: Option<RejectReason>,
}

/// The sending side of a line, as the offerer declares it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishLine {
    /// The simulcast layers' RIDs in the offerer's order; empty without simulcast.
    pub rids: Vec<String>,
    /// The SSRCs it declares. Browsers declare none for simulcast by RID.
    pub ssrcs: Vec<DeclaredSsrc>,
    /// The stream and track it names.
    pub msid: Option<Msid>,
}

/// An SSRC declared in an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredSsrc {
    /// The SSRC of the media.
    pub ssrc: u32,
    /// The SSRC of its retransmissions (RFC 4588), from the FID group.
    pub rtx: Option<u32>,
}

/// `a=msid` (RFC 8830): which stream and track a line carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Msid {
    /// The stream; `-` for none.
    pub stream: String,
    /// The track; may be empty.
    pub track: String,
}

/// The receive slot that a line is: fixed for as long as the line lives, whichever track flows through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotLine {
    /// The k of the k-th audio and k-th video slot, which browsers play in sync; `None` while its counterpart is missing.
    pub pair: Option<usize>,
    /// The SSRC this server sends with.
    pub ssrc: u32,
    /// The SSRC of retransmissions, if a codec of the line has them.
    pub rtx_ssrc: Option<u32>,
    /// The CNAME of its sender reports, the same for both of a pair.
    pub cname: String,
}
