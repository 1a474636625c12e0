use std::net::Ipv4Addr;

use lath_model::id::{AllocationId, AssociationId, NetworkInterfaceId};
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// An elastic address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Its id.
    pub id: AllocationId,
    /// The account.
    pub owner: String,
    /// The public address.
    pub ip: Ipv4Addr,
    /// What it is mapped to.
    pub association: Option<AddressAssociation>,
}

/// An elastic address's association.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressAssociation {
    /// Its id.
    pub id: AssociationId,
    /// The interface.
    pub interface: NetworkInterfaceId,
    /// Which of the interface's private addresses.
    pub private: Ipv4Addr,
}

impl Record for Address {
    const KIND: &'static str = "ec2.address";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let association = self.association.iter();
        let association = association.map(|it| ("association", it.id.to_string()));
        association
            .chain(std::iter::once(("ip", self.ip.to_string())))
            .collect()
    }
}
