//! SDP negotiation (RFC 8829, RFC 9143, RFC 8853): the state machine that answers offers. It neither opens sockets nor
//! starts handshakes; its result is an answer to send and a session of plain values to build a connection from.

mod parameters;

pub use parameters::{DtlsRole, Fingerprint, FingerprintAlgorithm, FingerprintError, IceCredentials};
