use std::sync::Arc;

use lath_store::{Record, View};
use serde::{Deserialize, Serialize};

/// One resource holds another, across services: the held one must not be deleted. A service writes the
/// claim in the transaction that creates the holder, and deletes it with the holder.
///
/// A Lattice VPC association claims its VPC and its security groups; EC2 asks [`claims_on`] before it
/// deletes either, and knows nothing of Lattice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The held resource's id, such as `vpc-...`.
    pub resource: String,
    /// The holder's id, such as `snva-...`.
    pub holder: String,
}

impl Record for Claim {
    const KIND: &'static str = "control.claim";
    fn id(&self) -> String {
        format!("{}/{}", self.resource, self.holder)
    }
}

/// Who holds a resource.
pub fn claims_on(view: &View, resource: &str) -> Vec<Arc<Claim>> {
    view.range::<Claim>(&format!("{resource}/")).collect()
}
