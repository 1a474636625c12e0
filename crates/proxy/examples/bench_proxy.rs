//! The real exchange path on host sockets, for benchmarks beside other proxies.
//!
//! `bench_proxy [--threads N] [--h1 9001] [--h2 9002] [--tls 9003] [--grpc 9005] [--target 127.0.0.1:18000]
//! [--grpc-target 127.0.0.1:18001]` serves HTTP/1.1 and HTTP/2 with prior knowledge on the first two ports, both under TLS
//! with a P-256 certificate on the third, and forwards everything to the target; what comes to the fourth goes to the other
//! target by HTTP/2 (h2load asks by GET, which is no gRPC). Hosts that are known: `svc.local`, `127.0.0.1`, `localhost`.
//! `--connections N` (20000) is how many connections there may be, all of one client's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lath_feed::telemetry::Discard;
use lath_feed::*;
use lath_health::HealthView;
use lath_model::id::*;
use lath_model::lattice::*;
use lath_net::HostNetwork;
use lath_net::accept::ConnectionLimits;
use lath_proxy::{Limits, Proxy, ProxyConfig};
use tokio::sync::watch;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let snapshot = Arc::new(snapshot());
    let connections = option("--connections", "20000").parse().unwrap_or(20_000);
    let limits = Limits {
        connections: Some(ConnectionLimits {
            total: connections,
            per_place: connections,
            per_source: connections,
            idle: Duration::from_secs(60),
        }),
        target_connections: Some(connections),
        ..Limits::default()
    };
    let config = ProxyConfig {
        threads: option("--threads", "1").parse().unwrap_or(1),
        limits,
        ..ProxyConfig::default()
    };
    let (_snapshots, receiver) = watch::channel(snapshot);
    let (_health, health) = watch::channel(Arc::new(HealthView::default()));
    let handle = Proxy::start(
        config,
        Arc::new(HostNetwork),
        receiver,
        health,
        Arc::new(Discard),
    )?;
    runtime.block_on(async {
        tokio::signal::ctrl_c().await?;
        handle.shutdown(Duration::from_secs(1)).await;
        Ok(())
    })
}

fn option(name: &str, otherwise: &str) -> String {
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != name)
        .skip(1);
    arguments.next().unwrap_or_else(|| otherwise.to_owned())
}

fn snapshot() -> Snapshot {
    let group = target_group("--target", "127.0.0.1:18000", ProtocolVersion::Http1);
    let grpc = target_group("--grpc-target", "127.0.0.1:18001", ProtocolVersion::Http2);
    let network = ServiceNetworkId::random();
    let certificate = certificate();
    let services = ["svc.local", "127.0.0.1", "localhost"]
        .map(|host| service(host, &group.id, &grpc.id, &certificate));
    let vpc = vpc(&group.vpc, &network);
    Snapshot {
        version: 1,
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        vpcs: lath_feed::Items::from([(vpc.id.clone(), Arc::new(vpc))]),
        service_networks: lath_feed::Items::from([(
            network.clone(),
            Arc::new(ServiceNetwork {
                arn: format!("arn:aws:vpc-lattice:us-east-1:000000000000:servicenetwork/{network}"),
                id: network,
                name: "bench".to_owned(),
                auth: Auth::None,
                services: services.iter().map(|service| service.id.clone()).collect(),
                access_logs: Vec::new(),
                workloads_only: false,
            }),
        )]),
        services: services
            .into_iter()
            .map(|s| (s.id.clone(), Arc::new(s)))
            .collect(),
        target_groups: [group, grpc]
            .into_iter()
            .map(|group| (group.id.clone(), Arc::new(group)))
            .collect(),
        lattice_certificate: Some(Arc::new(certificate)),
        ..Snapshot::default()
    }
}

fn vpc(id: &VpcId, network: &ServiceNetworkId) -> Vpc {
    Vpc {
        id: id.clone(),
        owner: "000000000000".to_owned(),
        cidrs: Vec::new(),
        dns_support: true,
        dns_hostnames: true,
        dhcp_options: None,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: BTreeMap::new(),
        lattice: Some(LatticeAssociation {
            id: ServiceNetworkVpcAssociationId::random(),
            service_network: network.clone(),
            security_groups: BTreeSet::new(),
        }),
        nat_gateways: Default::default(),
        endpoints: Default::default(),
        network_acls: Default::default(),
        peerings: Default::default(),
    }
}

/// For both hosts, its own root.
fn certificate() -> Certificate {
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["svc.local".to_owned(), "localhost".to_owned()];
    let made = rcgen::CertificateParams::new(names).and_then(|it| it.self_signed(&key));
    Certificate {
        chain: made.expect("a certificate").pem(),
        key: Hidden(key.serialize_pem()),
    }
}

fn service(
    host: &str,
    group: &TargetGroupId,
    grpc: &TargetGroupId,
    certificate: &Certificate,
) -> Service {
    let id = ServiceId::random();
    let listener = |protocol, port: String, group: &TargetGroupId| Listener {
        id: ListenerId::random(),
        arn: String::new(),
        protocol,
        port: port.parse().unwrap_or(9001),
        rules: Vec::new(),
        default_rule: RuleId::random(),
        default_action: Action::Forward(vec![WeightedTargetGroup {
            target_group: group.clone(),
            weight: 100,
        }]),
        matched: Vec::new(),
        traffic: Default::default(),
        mutual_tls: None,
        gateway: None,
    };
    let listeners = [
        listener(ListenerProtocol::Http, option("--h1", "9001"), group),
        listener(ListenerProtocol::Http, option("--h2", "9002"), group),
        listener(ListenerProtocol::Https, option("--tls", "9003"), group),
        listener(ListenerProtocol::Http, option("--grpc", "9005"), grpc),
    ];
    Service {
        arn: format!("arn:aws:vpc-lattice:us-east-1:000000000000:service/{id}"),
        name: "bench".to_owned(),
        domain_name: format!("bench-{id}"),
        custom_domain_name: Some(host.to_owned()),
        certificate: Some(certificate.clone()),
        address: [127, 0, 0, 1].into(),
        auth: Auth::None,
        idle_timeout: Duration::from_secs(60),
        listeners: listeners
            .map(|listener| (listener.id.clone(), listener))
            .into(),
        routes: Vec::new(),
        access_logs: Vec::new(),
        id,
    }
}

fn target_group(name: &str, otherwise: &str, version: ProtocolVersion) -> TargetGroup {
    let target: SocketAddr = option(name, otherwise).parse().expect("an address");
    let id = TargetGroupId::random();
    TargetGroup {
        arn: format!("arn:aws:vpc-lattice:us-east-1:000000000000:targetgroup/{id}"),
        id,
        name: "bench".to_owned(),
        vpc: VpcId::random(),
        protocol: TargetProtocol::Http,
        protocol_version: Some(version),
        health_check: None,
        balancing: None,
        tls: None,
        in_use: true,
        targets: BTreeMap::from([(
            TargetKey {
                id: target.ip().to_string(),
                port: target.port(),
            },
            Target {
                address: Some(target.ip()),
                draining_since: None,
            },
        )]),
        region: None,
    }
}
