//! Tags of groups, by ARN, and by name as older clients ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_model::arn::Arn;
use lath_store::View;
use lath_wire::{ApiError, Caller, Handle};

use super::api::{
    Empty, ListTagsForResource, ListTagsLogGroup, TagLogGroup, TagResource, Tags, UntagLogGroup,
    UntagResource,
};
use super::constraint::check_arn;
use super::groups::check_tags;
use super::{find_group, invalid, named_by};
use crate::Observe;
use crate::records::LogGroup;

const MAX_TAGS: usize = 50;

/// The group that an ARN names; this service's only taggable resource.
fn tagged(app: &Observe, view: &View, arn: &str) -> Result<Arc<LogGroup>, ApiError> {
    check_arn("resourceArn", arn)?;
    let well_formed = arn
        .parse::<Arn>()
        .is_ok_and(|parsed| parsed.service == "logs" && parsed.resource.starts_with("log-group:"));
    if !well_formed {
        return Err(invalid(format!("{arn} is not the ARN of a log group.")));
    }
    named_by(app, arn)
        .and_then(|name| view.get(name))
        .ok_or_else(super::no_group)
}

impl Observe {
    /// Changes the tags of the group that `find` finds.
    async fn retag(
        &self,
        find: impl FnOnce(&View) -> Result<Arc<LogGroup>, ApiError> + Send,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), ApiError> + Send,
    ) -> Result<Empty, ApiError> {
        self.cell
            .db
            .write(|tx| {
                let mut group = LogGroup::clone(&*find(tx.view())?);
                change(&mut group.tags)?;
                tx.put(group);
                Ok(Empty {})
            })
            .await
    }

    fn named(&self, view: &View, name: &str) -> Result<Arc<LogGroup>, ApiError> {
        find_group(self, view, Some(name), None)
    }
}

fn add(
    tags: &mut BTreeMap<String, String>,
    new: BTreeMap<String, String>,
    too_many: &'static str,
) -> Result<(), ApiError> {
    tags.extend(new);
    if tags.len() <= MAX_TAGS {
        return Ok(());
    }
    let message = format!("A resource can have at most {MAX_TAGS} tags.");
    Err(ApiError::new(too_many, 400, message))
}

fn remove(tags: &mut BTreeMap<String, String>, keys: &[String]) {
    tags.retain(|key, _| !keys.contains(key));
}

impl Handle<TagResource> for Observe {
    async fn handle(&self, _caller: &Caller, op: TagResource) -> Result<Empty, ApiError> {
        check_tags(&op.tags)?;
        let find = |view: &View| tagged(self, view, &op.resource_arn);
        self.retag(find, |tags| add(tags, op.tags, "TooManyTagsException"))
            .await
    }
}

impl Handle<UntagResource> for Observe {
    async fn handle(&self, _caller: &Caller, op: UntagResource) -> Result<Empty, ApiError> {
        let find = |view: &View| tagged(self, view, &op.resource_arn);
        let change = |tags: &mut _| {
            remove(tags, &op.tag_keys);
            Ok(())
        };
        self.retag(find, change).await
    }
}

impl Handle<ListTagsForResource> for Observe {
    async fn handle(&self, _caller: &Caller, op: ListTagsForResource) -> Result<Tags, ApiError> {
        let group = tagged(self, &self.cell.db.view(), &op.resource_arn)?;
        Ok(Tags {
            tags: group.tags.clone(),
        })
    }
}

impl Handle<TagLogGroup> for Observe {
    async fn handle(&self, _caller: &Caller, op: TagLogGroup) -> Result<Empty, ApiError> {
        check_tags(&op.tags)?;
        let find = |view: &View| self.named(view, &op.log_group_name);
        self.retag(find, |tags| add(tags, op.tags, "InvalidParameterException"))
            .await
    }
}

impl Handle<UntagLogGroup> for Observe {
    async fn handle(&self, _caller: &Caller, op: UntagLogGroup) -> Result<Empty, ApiError> {
        let find = |view: &View| self.named(view, &op.log_group_name);
        let change = |tags: &mut _| {
            remove(tags, &op.tags);
            Ok(())
        };
        self.retag(find, change).await
    }
}

impl Handle<ListTagsLogGroup> for Observe {
    async fn handle(&self, _caller: &Caller, op: ListTagsLogGroup) -> Result<Tags, ApiError> {
        let group = self.named(&self.cell.db.view(), &op.log_group_name)?;
        Ok(Tags {
            tags: group.tags.clone(),
        })
    }
}
