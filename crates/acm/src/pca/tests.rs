//! What is known of authorities that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lath_ca::{KeyAlgorithm, PrivateKey};
use lath_wire::ApiError;
use serde_json::json;

use super::record::{Authority, Issued};
use super::shape::{AuthorityStatus, AuthorityType, Reason, UsageMode};
use super::{revoked, sweep};
use crate::tests::lab;

#[tokio::test]
async fn what_an_authority_revoked_is_known_when_it_is_gone() {
    let cell = lab().await.cell;
    let installation = Arc::clone(cell.authority.as_ref().unwrap());
    let (now, above) = (cell.now(), installation.root_pem());
    let authority = Authority {
        id: "a".to_owned(),
        kind: AuthorityType::Subordinate,
        configuration: serde_json::from_value(json!({
            "KeyAlgorithm": "EC_prime256v1",
            "SigningAlgorithm": "SHA256WITHECDSA",
            "Subject": {},
        }))
        .unwrap(),
        usage_mode: UsageMode::GeneralPurpose,
        status: AuthorityStatus::Deleted,
        key: installation.seal(&PrivateKey::generate(KeyAlgorithm::P256).unwrap()),
        request: String::new(),
        certificate: Some(above.clone()),
        chain: String::new(),
        serial: None,
        not_before: None,
        not_after: None,
        created_at: now,
        changed_at: now,
        restorable_until: Some(now),
        tags: Default::default(),
    };
    let issued = |id: &str, revoked| Issued {
        authority: "a".to_owned(),
        id: id.to_owned(),
        certificate: above.clone(),
        chain: above.repeat(2),
        revoked,
    };
    let both = [
        issued("01", None),
        issued("02", Some((now, Reason::KeyCompromise))),
    ];
    let written = cell.db.write(|tx| {
        tx.put(authority);
        for it in both {
            tx.put(it);
        }
        Ok::<_, ApiError>(())
    });
    written.await.unwrap();
    sweep(&cell, now).await.unwrap();
    let view = cell.db.view();
    assert!(view.get::<Authority>("a").is_none() && view.get::<Issued>("a/01").is_none());
    let wanted = BTreeMap::from([(above, BTreeSet::from(["02".to_owned()]))]);
    assert_eq!(revoked(&view), wanted);
}
