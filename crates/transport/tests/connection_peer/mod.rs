//! What the connection's tests share: STUN requests as a controlling client writes them, and the far end of a call.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs)]

pub mod link;
pub mod stun;
