//! SDP negotiation (RFC 8829, RFC 9143, RFC 8853): the state machine that answers offers. It neither opens sockets nor
//! starts handshakes; its result is an answer to send and a [`Session`] of plain values to build a connection from. It
//! never offers, so there is no glare.

mod answer;
mod codec;
mod direction;
mod error;
mod extension;
mod h264;
mod negotiation;
mod offer;
mod parameters;
mod session;
mod source;

pub use codec::{Codec, CodecName, CodecPreferences, FeedbackSet};
pub use error::{NegotiationError, RejectReason};
pub use extension::{Extension, ExtensionMap};
pub use negotiation::{Negotiation, NegotiationConfig};
pub use parameters::{DtlsRole, Fingerprint, FingerprintAlgorithm, FingerprintError, IceCredentials};
pub use session::{Accepted, DeclaredSsrc, Line, MediaKind, Msid, PublishLine, Session, SlotLine};
