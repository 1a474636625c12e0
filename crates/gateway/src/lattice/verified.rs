//! What target groups are told of how their targets prove who they are.

use super::{Fault, KnownGroup, Lattice};
use crate::backend_tls;
use crate::desired::{Group, Tags, key};
use crate::long_tags;

/// The tag that says that what verifies a group's targets is a policy's.
const VERIFIED: &str = "TargetValidation";

impl Lattice {
    /// Brings what says how targets prove who they are to what it should be. What somebody else has put there stays while no policy
    /// says anything.
    pub(super) async fn fit_verified(
        &self,
        desired: &Group,
        known: &mut KnownGroup,
    ) -> Result<(), Fault> {
        let is_own = known.tags.contains_key(&key(VERIFIED));
        let there = long_tags::text_of(backend_tls::TAG, &known.tags);
        match &desired.verified {
            Some(text) if !is_own || there.as_ref() != Some(text) => {
                let tags = verified_tags(text);
                let tag = self.client.tag_resource().resource_arn(&known.arn);
                let all = tags.clone().into_iter().collect();
                tag.set_tags(Some(all)).send().await?;
                known.tags.retain(|it, _| !it.starts_with(backend_tls::TAG));
                known.tags.extend(tags);
            }
            None if is_own => {
                let untag = self.client.untag_resource().resource_arn(&known.arn);
                let untag = untag.tag_keys(backend_tls::TAG).tag_keys(key(VERIFIED));
                untag.send().await?;
                known.tags.retain(|it, _| !it.starts_with(backend_tls::TAG));
                known.tags.remove(&key(VERIFIED));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The tags that say how targets prove who they are.
fn verified_tags(text: &str) -> Tags {
    let mut tags = long_tags::tags(backend_tls::TAG, text);
    tags.insert(key(VERIFIED), "BackendTLSPolicy".to_owned());
    tags
}

/// All tags of a group that is made.
pub(super) fn tags_of_new(desired: &Group) -> Tags {
    let mut tags = desired.tags.clone();
    tags.extend(desired.extra.clone());
    tags.extend(desired.verified.iter().flat_map(|it| verified_tags(it)));
    tags
}
