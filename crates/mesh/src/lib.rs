//! Cells that speak with one another.
