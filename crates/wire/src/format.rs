//! One small reader and writer per format.

pub mod cbor;
pub mod form;
pub mod json;
pub mod xml;

#[cfg(test)]
mod tests;
