//! The `lath` binary.
fn main() {}
