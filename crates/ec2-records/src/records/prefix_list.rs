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
    /// The newest version's number, from 1.
    pub version: i64,
    /// The entries of the newest versions with their numbers, the newest last. Never empty.
    pub history: Vec<(i64, Vec<ListEntry>)>,
    /// What was done to it last, such as `create-complete`.
    pub state: String,
}

/// How many versions of a list are kept.
const KEPT: usize = 100;

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

    /// The newest version's entries.
    pub fn entries(&self) -> &[ListEntry] {
        self.history
            .last()
            .map_or(&[], |(_, entries)| entries.as_slice())
    }

    /// The entries of a version that is still kept.
    pub fn entries_of(&self, version: i64) -> Option<&[ListEntry]> {
        let mut kept = self.history.iter();
        kept.find(|(number, _)| *number == version)
            .map(|(_, entries)| entries.as_slice())
    }

    /// Makes these the entries, as a new version.
    pub fn advance(&mut self, entries: Vec<ListEntry>) {
        self.version += 1;
        self.history.push((self.version, entries));
        if self.history.len() > KEPT {
            self.history.remove(0);
        }
    }
}

impl Record for ManagedPrefixList {
    const KIND: &'static str = "ec2.prefix-list";
    fn id(&self) -> String {
        self.id.to_string()
    }
}
