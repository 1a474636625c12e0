//! lath-observe.
