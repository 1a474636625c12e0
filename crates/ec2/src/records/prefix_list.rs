use ipnet::IpNet;
use lath_model::id::PrefixListId;
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// A managed prefix list of the account, or one of AWS's (those are computed, not stored).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedPrefixList {
    /// Its id.
    pub id: PrefixListId,
    /// Its name.
    pub name: String,
    /// The account; `AWS` for AWS's own.
    pub owner: String,
    /// Whether its blocks are IPv6.
    pub ipv6: bool,
    /// How many entries it may hold; AWS's own lists have none.
    pub max_entries: Option<usize>,
    /// The entries of every version, the first one first. Never empty.
    pub versions: Vec<Vec<ListEntry>>,
    /// What was done to it last, such as `create-complete`.
    pub state: String,
}

/// One block of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEntry {
    /// The block.
    pub cidr: IpNet,
    /// What it is.
    pub description: Option<String>,
}

impl ManagedPrefixList {
    /// Whether it is AWS's and cannot be changed.
    pub fn is_aws(&self) -> bool {
        self.owner == "AWS"
    }

    /// The newest version's number, from 1.
    pub fn version(&self) -> i64 {
        i64::try_from(self.versions.len()).unwrap_or(i64::MAX)
    }

    /// The newest version's entries.
    pub fn entries(&self) -> &[ListEntry] {
        self.versions.last().map_or(&[], Vec::as_slice)
    }
}

impl Record for ManagedPrefixList {
    const KIND: &'static str = "ec2.prefix-list";
    fn id(&self) -> String {
        self.id.to_string()
    }
}
