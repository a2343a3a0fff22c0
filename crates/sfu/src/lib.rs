//! placeholder

mod renumber;
pub mod rewrite;
pub mod vp8;
