//! Certificates of workloads: what they say, how long they are kept, and what their authority may sign.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use lath_ca::{Authority, Certificate, verify};
use lath_feed::{Certificate as Presented, Hidden, WorkloadAuthority};
use lath_model::Timestamp;
use lath_svid::{Issuer, LIFE};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const ID: &str = "spiffe://lath-1/111122223333/us-east-1/role/till/i-1";

fn below(root: &Authority, life: Duration) -> Arc<WorkloadAuthority> {
    let made = root.workload_authority("us-east-1", life, NOW).unwrap();
    Arc::new(WorkloadAuthority {
        certificate: Presented {
            chain: lath_ca::encode("CERTIFICATE", &made.chain[0]),
            key: Hidden(made.key.reveal_pem().to_string()),
        },
        trust_domain: root.trust_domain(),
    })
}

#[test]
fn a_certificate_is_kept_for_half_its_life_and_then_replaced() {
    let root = Authority::random(NOW).unwrap();
    let authority = below(&root, LIFE * 24);
    let (issuer, now) = (Issuer::default(), NOW);
    let first = issuer.issue(&authority, ID, now).unwrap();
    let [leaf, above] = first.chain.as_slice() else {
        panic!("{} certificates", first.chain.len());
    };
    let leaf = Certificate::parse(leaf).unwrap();
    let above = Certificate::parse(above).unwrap();
    assert_eq!(
        (leaf.uris.as_slice(), &leaf.dns_names),
        (&[ID.to_owned()][..], &vec![])
    );
    assert!(verify(&leaf, &[above, root.root().clone()]));
    assert_eq!(first.key.public(), leaf.public);
    let later = |by: Duration| issuer.issue(&authority, ID, now.plus(by)).unwrap();
    assert!(Arc::ptr_eq(&first, &later(LIFE / 4)));
    let next = later(LIFE * 3 / 4);
    assert!(next.serial > first.serial && next.key != first.key);
    let other = issuer.issue(&authority, "spiffe://lath-1/x", now).unwrap();
    assert!(other.key != first.key);
    // A new authority certifies anew; the same one, told again, does not.
    let same = Arc::new(WorkloadAuthority::clone(&authority));
    assert!(Arc::ptr_eq(
        &next,
        &issuer.issue(&same, ID, now.plus(LIFE)).unwrap()
    ));
    let renewed = issuer.issue(&below(&root, LIFE * 24), ID, now).unwrap();
    assert!(renewed.serial > next.serial);
}

#[test]
fn nothing_outlives_its_authority() {
    let root = Authority::random(NOW).unwrap();
    let authority = below(&root, LIFE / 2);
    let (issuer, now) = (Issuer::default(), NOW);
    let issued = issuer.issue(&authority, ID, now).unwrap();
    assert!(issued.not_after <= now.plus(LIFE / 2));
    assert!(issuer.issue(&authority, ID, now.plus(LIFE)).is_none());
    assert!(root.trust_domain().starts_with("lath-"));
}
