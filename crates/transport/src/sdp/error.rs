//! Why an offer was not answered, and why a single line of one was rejected. The messages are for the person who wrote
//! the offering client: they name the m-line and what was expected.

/// Why an offer was not answered. The negotiation is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The text is longer than is read.
    #[error("the offer has {bytes} bytes, at most {limit} are read")]
    TooLarge {
        /// Length of the offer in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The text is not SDP (RFC 8866).
    #[error("the offer is not SDP: {0}")]
    Syntax(String),
    /// The offer has more media lines than are served.
    #[error("the offer has {count} m-lines, at most {limit} are served")]
    TooManyLines {
        /// Media lines of the offer.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The offer has fewer media lines than an earlier one; JSEP keeps the place of a removed line, with port 0.
    #[error("the offer has {count} m-lines, the one before had {before}; a removed line keeps its place, with port 0")]
    LinesMissing {
        /// Media lines of the offer.
        count: usize,
        /// Media lines of the offer before.
        before: usize,
    },
    /// A media line has no `a=mid`.
    #[error("m-line {line} has no a=mid")]
    MissingMid {
        /// Position of the line, from 0.
        line: usize,
    },
    /// An `a=mid` is no token of up to 16 characters, which is what fits a header extension.
    #[error("m-line {line} has the mid {mid:?}, expected a token of 1 to 16 characters")]
    InvalidMid {
        /// Position of the line, from 0.
        line: usize,
        /// What was found, shortened.
        mid: String,
    },
    /// Two media lines have the same `a=mid`.
    #[error("the mid {mid:?} names two m-lines")]
    DuplicateMid {
        /// The mid.
        mid: String,
    },
    /// A line that is still in use has another mid than in the offer before.
    #[error("m-line {line} has the mid {found:?}, which was {expected:?} in the offer before")]
    MidChanged {
        /// Position of the line, from 0.
        line: usize,
        /// The mid of the offer before.
        expected: String,
        /// The mid of this one.
        found: String,
    },
    /// A line that is still in use has another kind of media than in the offer before.
    #[error("m-line {mid:?} has another kind of media than in the offer before")]
    KindChanged {
        /// The line's mid.
        mid: String,
    },
    /// There is no `a=group:BUNDLE`; one transport carries everything here.
    #[error("the offer has no a=group:BUNDLE with its m-lines (RFC 9143); one transport carries everything here")]
    MissingBundle,
    /// A line does not offer to carry RTP and RTCP on one port.
    #[error("m-line {mid:?} has no a=rtcp-mux (RFC 5761)")]
    MissingRtcpMux {
        /// The line's mid.
        mid: String,
    },
    /// There is no `a=ice-ufrag` or no `a=ice-pwd`.
    #[error("the offer has no a=ice-ufrag and a=ice-pwd")]
    MissingIceCredentials,
    /// The ICE credentials are not what RFC 8839 allows.
    #[error(
        "the ICE credentials are invalid: expected an ice-ufrag of 4 to 256 and an ice-pwd of 22 to 256 letters, digits, + and /"
    )]
    InvalidIceCredentials,
    /// The offerer is ICE-lite as well, so nobody would check connectivity.
    #[error("the offer says a=ice-lite, as does this server; one side must be a full ICE agent")]
    IceLite,
    /// There is no certificate fingerprint of a hash function that is accepted.
    #[error("the offer has no a=fingerprint with sha-256, sha-384 or sha-512")]
    MissingFingerprint,
    /// A fingerprint is not readable.
    #[error("a=fingerprint: {0}")]
    Fingerprint(#[from] super::FingerprintError),
    /// `a=setup` is none of `actpass`, `active` and `passive`.
    #[error("a=setup:{0} is not supported, expected actpass, active or passive")]
    Setup(String),
    /// A later offer insists on another DTLS role or certificate; that takes a new connection.
    #[error("the offer changes the DTLS role or the certificate of an established connection; connect anew for that")]
    DtlsChanged,
    /// Two lines map the MID header extension to different ids, so that no packet could be attributed.
    #[error("m-line {mid:?} maps the MID header extension to another id than the lines before")]
    ConflictingMidExtension {
        /// The mid of the later line.
        mid: String,
    },
    /// One SSRC is declared in two lines.
    #[error("the SSRC {ssrc} is declared in the m-lines {first:?} and {second:?}")]
    DuplicateSsrc {
        /// The SSRC.
        ssrc: u32,
        /// The mid of the earlier line.
        first: String,
        /// The mid of the later line.
        second: String,
    },
    /// No line can be served, the first of them for want of a codec.
    #[error(
        "nothing in the offer can be used: m-line {mid:?} offers no codec that is served here, expected {expected}"
    )]
    NoUsableCodec {
        /// The line's mid.
        mid: String,
        /// The codecs that are served for its kind of media, as in `a=rtpmap`.
        expected: String,
    },
    /// Nothing of the offer can be served: every line was removed or rejected. Says why the first was.
    #[error("nothing in the offer can be used{}", .0.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    NothingUsable(Option<RejectReason>),
}

/// Why one media line was rejected, with port 0, while others were accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// The offerer removed the line itself, with port 0.
    #[error("the offerer removed the line")]
    Removed,
    /// None of the line's codecs is served.
    #[error("the line offers no codec that is served here")]
    NoCodec,
    /// The transport protocol is not DTLS-SRTP with feedback.
    #[error("the line's protocol is not UDP/TLS/RTP/SAVPF")]
    Protocol,
    /// The line is not in the BUNDLE group.
    #[error("the line is not in the BUNDLE group")]
    NotBundled,
}
