//! A small world: one VPC, one service network, one service with one listener.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::*;
use lath_health::{HealthView, TargetState};
use lath_model::id::*;
use lath_model::lattice::*;

/// The service's own name.
pub(crate) const HOST: &str = "shop.example.com";

pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) health: HealthView,
    pub(crate) vpc: VpcId,
    pub(crate) network: ServiceNetworkId,
    pub(crate) service: ServiceId,
    pub(crate) listener: ListenerId,
    /// Where the service is reached.
    pub(crate) at: SocketAddr,
}

impl World {
    /// A service whose listener answers 404.
    pub(crate) fn new() -> Self {
        let (address, port) = super::place();
        let (vpc, network, service) = (
            VpcId::random(),
            ServiceNetworkId::random(),
            ServiceId::random(),
        );
        let listener = ListenerId::random();
        let mut world = Self {
            snapshot: Snapshot {
                version: 1,
                region: "us-east-1".to_owned(),
                account: "111122223333".to_owned(),
                ..Snapshot::default()
            },
            health: HealthView::default(),
            vpc: vpc.clone(),
            network: network.clone(),
            service: service.clone(),
            listener: listener.clone(),
            at: SocketAddr::new(IpAddr::V4(address), port),
        };
        world
            .snapshot
            .vpcs
            .insert(vpc.clone(), Arc::new(a_vpc(&vpc, &network)));
        let listener = Listener {
            arn: format!("arn:listener/{listener}"),
            id: listener.clone(),
            protocol: ListenerProtocol::Http,
            port,
            rules: Vec::new(),
            default_rule: RuleId::random(),
            default_action: Action::FixedResponse(404),
            matched: Vec::new(),
            traffic: Default::default(),
            mutual_tls: None,
            gateway: None,
        };
        world.snapshot.service_networks.insert(
            network.clone(),
            Arc::new(ServiceNetwork {
                arn: format!("arn:aws:vpc-lattice:us-east-1:111122223333:servicenetwork/{network}"),
                id: network,
                name: "mesh".to_owned(),
                auth: Auth::None,
                services: BTreeSet::from([service.clone()]),
                access_logs: Vec::new(),
                workloads_only: false,
            }),
        );
        world.snapshot.services.insert(
            service.clone(),
            Arc::new(Service {
                arn: format!("arn:aws:vpc-lattice:us-east-1:111122223333:service/{service}"),
                name: "shop".to_owned(),
                domain_name: format!("shop-{}.lattice.test", &service.as_str()[4..]),
                custom_domain_name: Some(HOST.to_owned()),
                certificate: None,
                routes: Vec::new(),
                address,
                auth: Auth::None,
                idle_timeout: Duration::from_secs(60),
                listeners: BTreeMap::from([(listener.id.clone(), listener)]),
                access_logs: Vec::new(),
                id: service,
            }),
        );
        world
    }

    /// A service whose listener forwards to these targets in one group.
    pub(crate) fn forwarding(targets: &[SocketAddr]) -> (Self, TargetGroupId) {
        let mut world = Self::new();
        let group = world.group(targets);
        world.default_action(Action::Forward(vec![WeightedTargetGroup {
            target_group: group.clone(),
            weight: 100,
        }]));
        (world, group)
    }

    pub(crate) fn service(&mut self) -> &mut Service {
        let service = self.snapshot.services.get_mut(&self.service).unwrap();
        Arc::make_mut(service)
    }

    pub(crate) fn service_network(&mut self) -> &mut ServiceNetwork {
        Arc::make_mut(
            self.snapshot
                .service_networks
                .get_mut(&self.network)
                .unwrap(),
        )
    }

    pub(crate) fn listener(&mut self) -> &mut Listener {
        let id = self.listener.clone();
        self.service().listeners.get_mut(&id).unwrap()
    }

    pub(crate) fn default_action(&mut self, action: Action) {
        self.listener().default_action = action;
    }

    /// Adds a rule with the next priority.
    pub(crate) fn rule(&mut self, conditions: Match, action: Action) -> RuleId {
        let id = RuleId::random();
        let rules = &mut self.listener().rules;
        let priority = rules.len() as u32 + 1;
        rules.push(Rule {
            id: id.clone(),
            priority,
            conditions,
            action,
        });
        id
    }

    /// Adds a group without health checks.
    pub(crate) fn group(&mut self, targets: &[SocketAddr]) -> TargetGroupId {
        let id = TargetGroupId::random();
        let group = TargetGroup {
            arn: format!("arn:aws:vpc-lattice:us-east-1:111122223333:targetgroup/{id}"),
            id: id.clone(),
            name: "targets".to_owned(),
            vpc: VpcId::random(),
            protocol: TargetProtocol::Http,
            protocol_version: Some(ProtocolVersion::Http1),
            health_check: None,
            balancing: None,
            tls: None,
            in_use: true,
            targets: BTreeMap::new(),
            region: None,
        };
        self.snapshot
            .target_groups
            .insert(id.clone(), Arc::new(group));
        for target in targets {
            self.register(&id, *target);
        }
        id
    }

    pub(crate) fn target_group(&mut self, id: &TargetGroupId) -> &mut TargetGroup {
        Arc::make_mut(self.snapshot.target_groups.get_mut(id).unwrap())
    }

    pub(crate) fn register(&mut self, group: &TargetGroupId, at: SocketAddr) {
        let target = Target {
            address: Some(at.ip()),
            draining_since: None,
        };
        self.target_group(group).targets.insert(key(at), target);
    }

    pub(crate) fn drain(&mut self, group: &TargetGroupId, at: SocketAddr) {
        let target = self.target_group(group).targets.get_mut(&key(at)).unwrap();
        target.draining_since = Some(Clock::system().now());
    }

    pub(crate) fn set_health(
        &mut self,
        group: &TargetGroupId,
        at: SocketAddr,
        health: TargetHealth,
    ) {
        let groups = self.health.groups.entry(group.clone()).or_default();
        let state = TargetState {
            health,
            reason: None,
            detail: None,
            since: Clock::system().now(),
        };
        Arc::make_mut(groups).insert(key(at), state);
    }
}

pub(crate) fn key(at: SocketAddr) -> TargetKey {
    TargetKey {
        id: at.ip().to_string(),
        port: at.port(),
    }
}

fn a_vpc(id: &VpcId, network: &ServiceNetworkId) -> Vpc {
    Vpc {
        id: id.clone(),
        owner: "111122223333".to_owned(),
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

pub(crate) fn health_check() -> HealthCheck {
    HealthCheck {
        protocol: TargetProtocol::Http,
        protocol_version: ProtocolVersion::Http1,
        port: None,
        path: "/health".to_owned(),
        matcher: vec![(200, 200)],
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
        healthy_threshold: 2,
        unhealthy_threshold: 3,
    }
}
