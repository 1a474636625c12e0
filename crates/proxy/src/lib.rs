//! lath-proxy.
