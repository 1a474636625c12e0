use std::collections::BTreeMap;

use lath_control::Cell;
use lath_model::id::DhcpOptionsId;
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// A set of DHCP options that the account made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpOptions {
    /// Its id.
    pub id: DhcpOptionsId,
    /// The account.
    pub owner: String,
    /// The values of each option, by its name.
    pub values: BTreeMap<String, Vec<String>>,
}

impl Record for DhcpOptions {
    const KIND: &'static str = "ec2.dhcp-options";
    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// The id of the region's options: the same for ever in a region of an account.
pub fn options_id(cell: &Cell) -> DhcpOptionsId {
    let name = format!("dhcp-options/{}/{}", cell.account, cell.region);
    crate::ids::fixed("dopt", &name)
}
