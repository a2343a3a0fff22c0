//! Live reactions and raised hands.
