//! lath-route.
