//! ACM's resources as policies name them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscertificatemanager.html>).

use lath_authz::{RESOURCE_TAG, ResourceType};
use lath_control::Cell;

use crate::record::Certificate;
use crate::shape::Tag;

/// A certificate, by its ARN.
pub const CERTIFICATE: ResourceType = ResourceType {
    name: "certificate",
    arn: |at, id| {
        if id.starts_with("arn:") {
            return at.settled(id);
        }
        at.arn("acm", &format!("certificate/{id}"))
    },
    keys: &[RESOURCE_TAG],
    facts: |at, id| {
        let found = at
            .view
            .get::<Certificate>(id.rsplit('/').next().unwrap_or(id));
        let tags = found.map(|it| it.tags.clone()).unwrap_or_default();
        let fact = |(key, value)| (format!("aws:ResourceTag/{key}"), vec![value]);
        tags.into_iter().map(fact).collect()
    },
};

/// The ARN of a certificate.
pub(crate) fn arn(cell: &Cell, id: &str) -> String {
    cell.arn("acm", format!("certificate/{id}"))
}

/// The id in the ARN of a certificate of this account and region.
pub(crate) fn own_id<'a>(cell: &Cell, arn: &'a str) -> Option<&'a str> {
    let id = arn.rsplit_once('/').map(|(_, id)| id)?;
    (self::arn(cell, id) == arn).then_some(id)
}

/// Tags of a request as pairs.
pub(crate) fn pairs(tags: &[Tag]) -> Vec<(String, String)> {
    let pair = |it: &Tag| (it.key.clone(), it.value.clone().unwrap_or_default());
    tags.iter().map(pair).collect()
}
