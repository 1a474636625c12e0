//! lath-health.
