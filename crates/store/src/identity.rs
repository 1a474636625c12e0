use std::fmt;

use serde::{Deserialize, Serialize};

/// The owner of a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The installation's unique id.
    pub installation: String,
    /// The region.
    pub region: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            installation,
            region,
        } = self;
        write!(f, "{region} of the installation {installation}")
    }
}
