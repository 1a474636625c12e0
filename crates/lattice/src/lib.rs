//! lath-lattice.
