//! lath-sigv4.
