//! lath-dns.
