//! What the connection's tests share: a link on virtual time, STUN requests as a controlling client writes them, and
//! the far end of a call.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs)]

pub mod call;
pub mod far;
pub mod link;
pub mod stun;
