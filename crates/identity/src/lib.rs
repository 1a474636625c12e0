//! lath-identity.
