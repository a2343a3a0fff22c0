//! Nothing but its benches: each file beside this one is a program that says what it measures.
