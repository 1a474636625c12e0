//! lath-node.
