//! XML: enough to read rest-xml requests and to print replies.

mod reader;
mod writer;

pub use reader::read;
pub use writer::{Element, print};
