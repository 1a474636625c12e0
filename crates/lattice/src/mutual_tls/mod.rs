//! Listeners that ask clients for certificates: an extension, asked for by a tag of an HTTPS listener.

mod written;

use lath_control::{Cell, Claim};
use lath_feed as feed;
use lath_model::lattice::ListenerProtocol;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::ident::Kind;
use crate::long_tag::{FEW_PARTS, LongTag};
use crate::record::{Listener, Tags};
use crate::{fault, listener};

pub(crate) use written::{authorities, read};

const NAME: &str = "lath:mutual-tls";

/// What the tag of a service network says.
const REQUIRED: &str = "required";

/// The tag.
pub(crate) const TAG: LongTag = LongTag {
    name: NAME,
    what: "what mutual TLS is asked for with",
    parts: FEW_PARTS,
};

/// How a listener asks clients for certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MutualTls {
    pub(crate) mode: feed::MutualTlsMode,
    /// ARNs of authorities, or of certificates below them.
    pub(crate) trust_anchors: Vec<String>,
    /// Certificates of authorities, PEM.
    #[serde(default)]
    pub(crate) certificates: Vec<String>,
    pub(crate) ignore_expiry: bool,
}

/// What the tags of a listener ask for.
///
/// # Errors
/// It is malformed, no HTTPS listener's, or names an authority that cannot be trusted.
pub(crate) fn of(
    cell: &Cell,
    view: &View,
    protocol: ListenerProtocol,
    tags: &Tags,
) -> Result<Option<Box<MutualTls>>, ApiError> {
    TAG.check_mode(cell, tags)?;
    let Some(text) = TAG.text(tags)? else {
        return Ok(None);
    };
    let invalid =
        |error: &dyn std::fmt::Display| fault::invalid("tags", format!("{NAME}: {error}"));
    if protocol != ListenerProtocol::Https {
        return Err(invalid(
            &"only an HTTPS listener ends TLS, and can ask clients for certificates",
        ));
    }
    let asked = read(&text).map_err(|error| invalid(&error))?;
    for arn in &asked.trust_anchors {
        if let Err(reason) = lath_acm::trusted(cell, view, arn) {
            return Err(invalid(&format!("trustAnchors: {arn}: {reason}")));
        }
    }
    Ok(Some(Box::new(MutualTls {
        mode: asked.mode,
        trust_anchors: asked.trust_anchors,
        certificates: asked.certificates,
        ignore_expiry: asked.ignore_expiry,
    })))
}

/// Refuses tags that are being set where they mean nothing, or that are a part of a text.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_given(kind: Kind, given: &Tags) -> Result<(), ApiError> {
    if !TAG.is_asked(given.keys()) {
        return Ok(());
    }
    let message = match kind {
        Kind::ServiceNetwork if is_required(given) => return Ok(()),
        Kind::ServiceNetwork => {
            format!("{NAME} of a service network is {REQUIRED:?}, or not there")
        }
        Kind::Listener if given.contains_key(NAME) => return Ok(()),
        Kind::Listener => format!("Part {NAME} is missing: set all parts in one request"),
        _ => format!("{NAME} is a tag of HTTPS listeners, and of service networks"),
    };
    Err(fault::invalid("tags", message))
}

/// Whether a service network with these tags takes requests of identified workloads only. As listeners, it does so in strict
/// mode too.
pub(crate) fn is_required(tags: &Tags) -> bool {
    let ours: Vec<_> = tags.iter().filter(|(key, _)| TAG.is_ours(key)).collect();
    matches!(ours.as_slice(), [(key, value)] if *key == NAME && *value == REQUIRED)
}

/// The tags of a resource are about to be these: a listener asks clients for what they say.
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
        Kind::Listener => tx.get::<Listener>(place),
        _ => None,
    };
    // What is not changed is not judged again: an authority may have gone meanwhile, and then no client is admitted.
    let Some(found) = found.filter(|it| !TAG.is_same(&it.tags, tags)) else {
        return Ok(());
    };
    let mutual_tls = of(cell, tx.view(), found.protocol, tags)?;
    listener::release(cell, tx, &found);
    let next = Listener {
        mutual_tls,
        ..Listener::clone(&found)
    };
    listener::claim(cell, tx, &next);
    tx.put(next);
    Ok(())
}

/// What keeps ACM from deleting certificates whose authorities a listener trusts.
pub(crate) fn its_claims(cell: &Cell, record: &Listener) -> Vec<Claim> {
    let holder = listener::arn(cell, &record.service, &record.id);
    let anchors = record.mutual_tls.iter().flat_map(|it| &it.trust_anchors);
    let claim = |resource: &String| Claim {
        resource: resource.clone(),
        holder: holder.clone(),
    };
    anchors.map(claim).collect()
}

/// What nodes are told. A listener keeps asking in strict mode too: what an earlier run in extended mode closed stays closed. An
/// authority that is gone is trusted no more.
pub(crate) fn in_feed(cell: &Cell, view: &View, record: &Listener) -> Option<feed::MutualTls> {
    let asked = record.mutual_tls.as_deref()?;
    let trusted = asked.trust_anchors.iter().filter_map(|arn| {
        let found = lath_acm::trusted(cell, view, arn);
        let logged = found.inspect_err(|reason| {
            let listener = &record.id;
            tracing::error!(listener.id = %listener, authority.arn = arn, %reason, "a listener's clients cannot be trusted by an authority");
        });
        logged.ok()
    });
    let verifies = asked.mode == feed::MutualTlsMode::Verify;
    let revoked = verifies.then(|| lath_acm::revoked(cell, view));
    let revoked = revoked.into_iter().flatten();
    Some(feed::MutualTls {
        mode: asked.mode,
        anchors: trusted.chain(asked.certificates.iter().cloned()).collect(),
        ignore_expiry: asked.ignore_expiry,
        revoked: revoked
            .map(|(authority, serials)| feed::Revoked { authority, serials })
            .collect(),
        reserved: cell.authority.as_ref().map(|it| feed::Reserved {
            trust_domain: it.trust_domain(),
            authority: it.root_pem(),
        }),
    })
}
