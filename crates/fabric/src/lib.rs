//! lath-fabric.
