//! Development tasks that need Rust.
fn main() {}
