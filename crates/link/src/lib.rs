//! A seeded network link, the instrument that network behaviour is measured with: one-way delay, jitter, reordering, bursty
//! loss (Gilbert–Elliott), duplication, and a token bucket with a drop-tail queue, all of which may change over time. [`Link`] is one
//! direction as a state machine on virtual time, without a socket or a clock; [`Relay`] puts two of them before a UDP server for each
//! client; [`Network`] names pairs of [`Profile`]s with their figures and where these come from. The same seed and the same
//! packets at the same times give the same result. It does not model other traffic, checksums, or anything above
//! datagrams, and the relay is made for behaviour, not for throughput.

mod bucket;
mod dice;
mod link;
mod loss;
mod network;
mod profile;
mod relay;

pub use link::{Link, LinkStatistics};
pub use loss::GilbertElliott;
pub use network::Network;
pub use profile::{Conditions, Profile};
pub use relay::{Relay, RelayConfig, RelayStatistics};

/// Bytes that a datagram of the link takes on the wire besides its payload: the headers of IPv4 and UDP.
pub const OVERHEAD: usize = 28;
