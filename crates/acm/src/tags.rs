//! Tags of certificates.

use std::collections::BTreeMap;

use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::record::Certificate;
use crate::resource_types::{CERTIFICATE, pairs};
use crate::shape::*;
use crate::{Acm, fault};

const MOST: usize = 50;

operations! {
    for Acm as "acm";
    change AddTagsToCertificate -> () = add
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone()).tagged(|op, _| pairs(&op.tags));
    change RemoveTagsFromCertificate -> () = remove
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone()).tagged(|op, _| pairs(&op.tags));
    read ListTagsForCertificate -> ListTagsForCertificateResponse = list
        => on(&CERTIFICATE, |op, _| op.certificate_arn.clone());
}

/// What tags of a request are as a record's.
///
/// # Errors
/// One of them is malformed, or a key stands there twice.
pub(crate) fn checked(tags: &[Tag]) -> Result<BTreeMap<String, String>, ApiError> {
    let fits = |text: &str| {
        text.chars()
            .all(|it| it.is_alphanumeric() || it.is_whitespace() || "_.:/=+-@".contains(it))
    };
    let mut all = BTreeMap::new();
    for (key, value) in pairs(tags) {
        let is_tag = (1..=128).contains(&key.chars().count())
            && value.chars().count() <= 256
            && fits(&key)
            && fits(&value);
        if !is_tag {
            let text = format!("The tag with the key '{}' is not valid.", shown(&key));
            return Err(fault::coded("InvalidTagException", text));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            let text = format!(
                "aws: prefixed tag key names are not allowed for external use: {}",
                shown(&key)
            );
            return Err(fault::coded("InvalidTagException", text));
        }
        if all.insert(key.clone(), value).is_some() {
            let text = format!("The tag key '{}' is specified more than once.", shown(&key));
            return Err(fault::coded("InvalidTagException", text));
        }
    }
    if all.len() > MOST {
        return Err(too_many());
    }
    Ok(all)
}

fn shown(key: &str) -> String {
    key.chars().take(128).collect()
}

pub(crate) fn too_many() -> ApiError {
    fault::coded(
        "TooManyTagsException",
        format!("A resource can have at most {MOST} tags."),
    )
}

fn add(app: &Acm, tx: &mut Tx, op: AddTagsToCertificate) -> Result<(), ApiError> {
    let found = fault::find(&app.cell, tx.view(), &op.certificate_arn)?;
    let mut next = Certificate::clone(&found);
    next.tags.extend(checked(&op.tags)?);
    if next.tags.len() > MOST {
        return Err(too_many());
    }
    tx.put(next);
    Ok(())
}

/// A tag with a value is removed only if it has that one
/// (<https://docs.aws.amazon.com/acm/latest/APIReference/API_RemoveTagsFromCertificate.html>).
fn remove(app: &Acm, tx: &mut Tx, op: RemoveTagsFromCertificate) -> Result<(), ApiError> {
    let found = fault::find(&app.cell, tx.view(), &op.certificate_arn)?;
    let mut next = Certificate::clone(&found);
    next.tags.retain(|key, value| {
        let meant = |it: &Tag| it.key == *key && it.value.as_ref().is_none_or(|it| it == value);
        !op.tags.iter().any(meant)
    });
    tx.put(next);
    Ok(())
}

fn list(
    app: &Acm,
    view: &View,
    op: &ListTagsForCertificate,
) -> Result<ListTagsForCertificateResponse, ApiError> {
    let found = fault::find(&app.cell, view, &op.certificate_arn)?;
    let tags = found.tags.iter().map(|(key, value)| Tag {
        key: key.clone(),
        value: Some(value.clone()),
    });
    Ok(ListTagsForCertificateResponse {
        tags: tags.collect(),
    })
}
