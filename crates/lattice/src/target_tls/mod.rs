//! Target groups whose targets prove by certificates who they are. An extension, asked for by tags of a group whose targets speak HTTPS.

mod written;

use lath_control::{Cell, Claim};
use lath_feed as feed;
use lath_model::lattice::TargetProtocol;
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::ident::Kind;
use crate::long_tag::LongTag;
use crate::record::{Tags, TargetGroup};
use crate::{certificate, target_group};

pub(crate) use written::read;

/// The tag. Certificates of authorities take room, and so do the other tags of a group.
pub(crate) const TAG: LongTag = LongTag {
    name: "lath:target-tls",
    what: "how targets prove who they are",
    parts: 32,
};

/// How a group's targets prove who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetTls {
    pub(crate) hostname: String,
    pub(crate) names: Vec<feed::TargetName>,
    /// ARNs of authorities, or of certificates below them.
    pub(crate) trust_anchors: Vec<String>,
    /// Certificates of authorities, PEM.
    pub(crate) certificates: Vec<String>,
    /// Whether those are trusted, too, that nodes' operating systems trust.
    pub(crate) system: bool,
    /// The ARN of what health checks show.
    pub(crate) check_certificate: Option<String>,
}

/// What the tags of a group ask for.
///
/// # Errors
/// It is malformed, the mode is strict, targets do not speak HTTPS, or a certificate that it names cannot be used.
pub(crate) fn of(
    cell: &Cell,
    view: &View,
    protocol: TargetProtocol,
    tags: &Tags,
) -> Result<Option<Box<TargetTls>>, ApiError> {
    TAG.check_mode(cell, tags)?;
    let Some(text) = TAG.text(tags)? else {
        return Ok(None);
    };
    if protocol != TargetProtocol::Https {
        return Err(TAG.wrong("only targets of HTTPS groups have certificates"));
    }
    let asked = read(&text).map_err(|error| TAG.wrong(error))?;
    for arn in &asked.trust_anchors {
        if let Err(reason) = lath_acm::trusted(cell, view, arn) {
            return Err(TAG.wrong(format!("trustAnchors: {arn}: {reason}")));
        }
    }
    if let Some(arn) = &asked.check_certificate
        && let Err(reason) = lath_acm::usable(cell, view, arn)
    {
        let message = format!("healthCheckCertificateArn: {arn} cannot be used: {reason}");
        return Err(TAG.wrong(message));
    }
    Ok(Some(Box::new(TargetTls {
        hostname: asked.hostname,
        names: asked.names,
        trust_anchors: asked.trust_anchors,
        certificates: asked.certificates,
        system: asked.system,
        check_certificate: asked.check_certificate,
    })))
}

/// The certificate that tags let health checks show, for permissions; none where they are malformed, which is for [`of`] to say.
pub(crate) fn presented(tags: &Tags) -> Vec<String> {
    let text = TAG.text(tags).ok().flatten();
    let asked = text.and_then(|text| read(&text).ok());
    asked
        .and_then(|it| it.check_certificate)
        .into_iter()
        .collect()
}

/// Refuses tags that are being set where they mean nothing, or that are a part of a text.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_given(kind: Kind, given: &Tags) -> Result<(), ApiError> {
    TAG.check_place(kind == Kind::TargetGroup, "target groups", given)
}

/// The tags of a group are about to be these: its targets prove what they say.
///
/// # Errors
/// As [`of`].
pub(crate) fn retag(
    cell: &Cell,
    tx: &mut Tx,
    kind: Kind,
    place: &str,
    tags: &Tags,
) -> Result<(), ApiError> {
    let found = match kind {
        Kind::TargetGroup => tx.get::<TargetGroup>(place),
        _ => None,
    };
    // What is not changed is not judged again: an authority may have gone meanwhile, and then no target is trusted by it.
    let Some(found) = found.filter(|it| !TAG.is_same(&it.tags, tags)) else {
        return Ok(());
    };
    let tls = of(cell, tx.view(), found.protocol, tags)?;
    release(cell, tx, &found);
    let next = tx.put(TargetGroup {
        tls,
        ..TargetGroup::clone(&found)
    });
    claim(cell, tx, &next);
    Ok(())
}

/// What keeps ACM from deleting the certificates that a group names.
fn its_claims(cell: &Cell, record: &TargetGroup) -> Vec<Claim> {
    let holder = target_group::arn(cell, &record.id);
    let named = record.tls.iter().flat_map(|it| {
        let shown = it.check_certificate.as_ref();
        it.trust_anchors.iter().chain(shown)
    });
    let claim = |resource: &String| Claim {
        resource: resource.clone(),
        holder: holder.clone(),
    };
    named.map(claim).collect()
}

/// A group names these certificates from now on.
pub(crate) fn claim(cell: &Cell, tx: &mut Tx, record: &TargetGroup) {
    for claim in its_claims(cell, record) {
        tx.put(claim);
    }
}

/// A group does not name them any more.
pub(crate) fn release(cell: &Cell, tx: &mut Tx, record: &TargetGroup) {
    for claim in its_claims(cell, record) {
        tx.delete::<Claim>(&claim.id());
    }
}

/// What nodes are told. Targets are verified in strict mode too: what an earlier run in extended mode trusted no more stays so. An
/// authority that is gone is trusted no more.
pub(crate) fn in_feed(cell: &Cell, view: &View, record: &TargetGroup) -> Option<feed::TargetTls> {
    let asked = record.tls.as_deref()?;
    let trusted = asked.trust_anchors.iter().filter_map(|arn| {
        let found = lath_acm::trusted(cell, view, arn);
        let logged = found.inspect_err(|reason| {
            let group = &record.id;
            tracing::error!(target_group.id = %group, authority.arn = arn, %reason, "a group's targets cannot be trusted by an authority");
        });
        logged.ok()
    });
    let holder = target_group::arn(cell, &record.id);
    let shown = asked.check_certificate.as_deref();
    Some(feed::TargetTls {
        hostname: asked.hostname.clone(),
        anchors: trusted.chain(asked.certificates.iter().cloned()).collect(),
        system: asked.system,
        names: asked.names.clone(),
        check_certificate: shown.and_then(|arn| certificate::shown(cell, view, &holder, arn)),
    })
}
