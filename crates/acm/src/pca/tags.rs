//! Tags of authorities.

use lath_control::paginate;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::record::Authority;
use super::shape::*;
use super::{AUTHORITY, Pca, find};
use crate::fault::coded;
use crate::resource_types::pairs;
use crate::shape::Tag;

const MOST: usize = 50;

operations! {
    for Pca as "acm-pca";
    change TagCertificateAuthority -> () = tag
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone()).tagged(|op, _| pairs(&op.tags));
    change UntagCertificateAuthority -> () = untag
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone())
            .tagged(|op, _| pairs(&op.tags));
    read ListTags -> ListTagsResponse = list
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone());
}

/// How many items a page has.
pub(crate) fn page_size(asked: Option<i32>, most: usize) -> usize {
    asked.map_or(most, |size| size.unsigned_abs() as usize)
}

fn tag(app: &Pca, tx: &mut Tx, op: TagCertificateAuthority) -> Result<(), ApiError> {
    let found = find(&app.cell, tx.view(), &op.certificate_authority_arn)?;
    let mut next = Authority::clone(&found);
    next.tags.extend(crate::tags::checked(&op.tags)?);
    if next.tags.len() > MOST {
        return Err(crate::tags::too_many());
    }
    tx.put(next);
    Ok(())
}

fn untag(app: &Pca, tx: &mut Tx, op: UntagCertificateAuthority) -> Result<(), ApiError> {
    let found = find(&app.cell, tx.view(), &op.certificate_authority_arn)?;
    let mut next = Authority::clone(&found);
    next.tags.retain(|key, value| {
        let meant = |it: &Tag| it.key == *key && it.value.as_ref().is_none_or(|it| it == value);
        !op.tags.iter().any(meant)
    });
    tx.put(next);
    Ok(())
}

fn list(app: &Pca, view: &View, op: &ListTags) -> Result<ListTagsResponse, ApiError> {
    let found = find(&app.cell, view, &op.certificate_authority_arn)?;
    let size = page_size(op.max_results, MOST);
    let tags = found.tags.iter();
    let page = paginate(tags, |it| it.0.clone(), size, op.next_token.as_deref());
    let page =
        page.map_err(|_| coded("InvalidNextTokenException", "The NextToken is not valid."))?;
    let tags = page.items.into_iter().map(|(key, value)| Tag {
        key: key.clone(),
        value: Some(value.clone()),
    });
    Ok(ListTagsResponse {
        tags: tags.collect(),
        next_token: page.next_token,
    })
}
