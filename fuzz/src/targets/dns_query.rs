//! DNS questions: whatever is asked, the reply has the question's number and fits what the client takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_dns::{answer, decode_query, fuzzing};
use lath_feed::{Snapshot, Vpc};
use lath_model::id::VpcId;

pub(crate) fn run(bytes: &[u8]) {
    let reply = match decode_query(bytes) {
        Ok(query) => {
            assert!((512..=1232).contains(&query.udp_limit()));
            let (snapshot, vpc) = world();
            let said = answer(&snapshot, &vpc, &query);
            let reply = fuzzing::reply(&query, said, query.udp_limit());
            assert!(
                reply
                    .as_ref()
                    .is_none_or(|it| it.len() <= query.udp_limit())
            );
            reply
        }
        Err(reason) => fuzzing::refusal(&reason),
    };
    if let Some(reply) = reply {
        assert_eq!(reply[..2], bytes[..2]);
        assert!(
            decode_query(&reply).is_err(),
            "a reply must not be taken for a question"
        );
    }
}

/// A VPC whose reverse names are ours.
fn world() -> (Snapshot, VpcId) {
    let id: VpcId = "vpc-00000000000000001".parse().expect("an id");
    let vpc = Vpc {
        id: id.clone(),
        owner: "123456789012".into(),
        cidrs: vec!["10.0.0.0/16".parse().expect("a block")],
        dns_support: true,
        dns_hostnames: true,
        dhcp_options: None,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: BTreeMap::new(),
        lattice: None,
        nat_gateways: Default::default(),
        endpoints: Default::default(),
        network_acls: Default::default(),
        peerings: Default::default(),
    };
    let snapshot = Snapshot {
        region: "us-east-1".into(),
        vpcs: lath_feed::Items::from([(id.clone(), Arc::new(vpc))]),
        ..Snapshot::default()
    };
    (snapshot, id)
}
