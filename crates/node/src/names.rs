//! The addresses of resources that have a name, as this node's resolvers answer.

use lath_dns::Lookup;
use lath_model::id::VpcId;
use lath_proxy::{Looking, NameLookup};

/// What this node's resolvers know.
pub(crate) struct KnownNames(pub(crate) Lookup);

impl NameLookup for KnownNames {
    fn addresses<'a>(&'a self, vpc: Option<&'a VpcId>, name: &'a str) -> Looking<'a> {
        Box::pin(self.0.addresses(vpc, name))
    }
}
