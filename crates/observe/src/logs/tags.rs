use std::sync::Arc;

use lath_model::arn::Arn;
use lath_store::View;
use lath_wire::{ApiError, Caller, Handle};

use super::api::{Empty, ListTagsForResource, TagResource, Tags, UntagResource};
use super::groups::check_tags;
use super::{group_name_of, invalid};
use crate::Observe;
use crate::records::LogGroup;

/// The group that an ARN names; this service's only taggable resource.
fn tagged(view: &View, arn: &str) -> Result<Arc<LogGroup>, ApiError> {
    let well_formed = arn
        .parse::<Arn>()
        .is_ok_and(|parsed| parsed.service == "logs" && parsed.resource.starts_with("log-group:"));
    if !well_formed {
        return Err(invalid(format!("{arn} is not the ARN of a log group.")));
    }
    view.get(group_name_of(arn)).ok_or_else(super::no_group)
}

impl Handle<TagResource> for Observe {
    async fn handle(&self, _caller: &Caller, op: TagResource) -> Result<Empty, ApiError> {
        check_tags(&op.tags)?;
        self.cell
            .db
            .write(|tx| {
                let mut group = LogGroup::clone(&*tagged(tx.view(), &op.resource_arn)?);
                group.tags.extend(op.tags);
                if group.tags.len() > 50 {
                    let message = "A resource can have at most 50 tags.";
                    return Err(ApiError::new("TooManyTagsException", 400, message));
                }
                tx.put(group);
                Ok(Empty {})
            })
            .await
    }
}

impl Handle<UntagResource> for Observe {
    async fn handle(&self, _caller: &Caller, op: UntagResource) -> Result<Empty, ApiError> {
        self.cell
            .db
            .write(|tx| {
                let mut group = LogGroup::clone(&*tagged(tx.view(), &op.resource_arn)?);
                group.tags.retain(|key, _| !op.tag_keys.contains(key));
                tx.put(group);
                Ok::<_, ApiError>(Empty {})
            })
            .await
    }
}

impl Handle<ListTagsForResource> for Observe {
    async fn handle(&self, _caller: &Caller, op: ListTagsForResource) -> Result<Tags, ApiError> {
        let group = tagged(&self.cell.db.view(), &op.resource_arn)?;
        Ok(Tags {
            tags: group.tags.clone(),
        })
    }
}
