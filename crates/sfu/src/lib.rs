//! placeholder

pub mod feedback;
pub mod ids;
pub mod keyframe;
pub mod layers;
pub mod nack;
mod renumber;
pub mod retransmission;
pub mod rewrite;
pub mod sender_report;
pub mod speaking;
pub mod stage;
pub mod vp8;
