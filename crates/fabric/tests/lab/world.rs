//! The outside world beyond a host.

use std::collections::BTreeMap;

use lath_fabric::plan::{Link, LinkKind, MAIN, Namespace, NamespaceRef, RouteTo, VpcPlan};
use lath_fabric::{Fabric, FabricConfig, HostPlan};

use super::{Lab, Site, id};

/// Another fabric plays the world: 192.0.2.2 behind the host's link `out0`, which is 192.0.2.1.
pub(crate) struct World {
    fabric: Fabric,
    _directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn beyond(lab: &Lab) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fabric = Fabric::open(FabricConfig {
            run_dir: directory.path().to_owned(),
            owner: format!("{}-world", lab.owner),
            host: Some(lab.host.clone()),
        })
        .unwrap();
        let report = lab.block_on(fabric.apply(&world(&format!("lath:{}-world:out", lab.owner))));
        assert!(report.is_complete(), "{report:#?}");
        Self {
            fabric,
            _directory: directory,
        }
    }

    pub(crate) fn site(&self) -> Site {
        Site::new(self.fabric.router_netns(&id("vpc", 999)).unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let outcome = runtime.block_on(self.fabric.remove_all());
        assert!(outcome.is_ok() || std::thread::panicking(), "{outcome:?}");
    }
}

fn world(alias: &str) -> HostPlan {
    let link = |kind| Link {
        kind,
        mac: None,
        mtu: None,
        alias: Some(alias.to_owned()),
        up: true,
    };
    let net = |text: &str| text.parse::<ipnet::Ipv4Net>().unwrap();
    let mut host = Namespace::with_loopback();
    host.links.insert("out0".into(), link(LinkKind::Peer));
    host.address("out0", net("192.0.2.1/32"));
    host.route(MAIN, net("192.0.2.2/32"), RouteTo::dev("out0"));
    host.route(
        MAIN,
        net("0.0.0.0/0"),
        RouteTo::via("out0", "192.0.2.2".parse().unwrap()),
    );
    let mut router = Namespace::with_loopback();
    let kind = LinkKind::Veth {
        peer_place: NamespaceRef::Host,
        peer: "out0".into(),
    };
    router.links.insert("in0".into(), link(kind));
    router.address("in0", net("192.0.2.2/32"));
    // A server with a private address, such as a host's own network may hold.
    host.route(MAIN, net("10.99.0.1/32"), RouteTo::dev("out0"));
    router.address("lo", net("10.99.0.1/32"));
    router.route(MAIN, net("192.0.2.1/32"), RouteTo::dev("in0"));
    // The world knows how to reach the host, and what it gave the host.
    router.route(
        MAIN,
        net("198.51.100.0/24"),
        RouteTo::via("in0", "192.0.2.1".parse().unwrap()),
    );
    let vpc = VpcPlan {
        router,
        ..VpcPlan::default()
    };
    HostPlan {
        host,
        vpcs: BTreeMap::from([(id("vpc", 999), vpc)]),
        ..HostPlan::default()
    }
}
