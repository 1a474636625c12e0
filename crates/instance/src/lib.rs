//! lath-instance.
