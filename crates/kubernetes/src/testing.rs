//! A cluster for tests.

use std::collections::{BTreeMap, BTreeSet};

use lath_feed::{ClusterAccess, ControlPlane};
use lath_model::{ManagedId, ManagedKind};

/// The control plane of `blue` on 10.0.1.5.
pub(crate) fn plane() -> ControlPlane {
    ControlPlane {
        id: ManagedId::new(ManagedKind::ControlPlane, "blue").unwrap(),
        name: "blue".into(),
        arn: "arn:aws:eks:us-east-1:123456789012:cluster/blue".into(),
        version: "1.37".into(),
        boot: 1,
        addresses: vec!["10.0.1.5".parse().unwrap()],
        service_cidr: "172.20.0.0/16".parse().unwrap(),
        keys: crate::pki::generate(lath_clock::Clock::system().now()).unwrap(),
        issuer: "https://oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
            .into(),
        public_endpoint: None,
        logging: BTreeSet::new(),
        access: ClusterAccess::default(),
        addons: BTreeMap::new(),
        pod_identities: Vec::new(),
        unreachable_seconds: None,
        identity_provider: None,
        scales: false,
    }
}
