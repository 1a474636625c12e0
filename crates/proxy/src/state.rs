//! The compiled state: what the hot path reads, and nothing else.

pub(crate) mod gateway;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use lath_feed::{Resource, ResourceAssociation, ResourceGateway, Service, ServiceNetwork};
use lath_model::id::{
    ListenerId, ResourceConfigurationId, RuleId, ServiceId, ServiceNetworkResourceAssociationId,
    TargetGroupId, VpcEndpointId, VpcId,
};
use lath_model::lattice::ListenerProtocol;
use lath_route::{Router, Weighted};

use crate::fields::Field;
use crate::gate::Gate;
use crate::shown::GatewayCertificate;
use crate::slot::{GroupSlot, ServiceSlot, Turns};
use crate::tls::{Mutual, Offer, Offered, Way};
use crate::traffic::{Answer, Filters, Traffic};

pub(crate) use gateway::{GatewayState, Gateways};

/// Everything at one moment. Replaced as a whole, shared where nothing changed.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Grows with each replacement.
    pub(crate) generation: u64,
    pub(crate) vpcs: HashMap<VpcId, Arc<VpcState>>,
    /// The VPCs as requests see them that come through an endpoint.
    pub(crate) endpoints: HashMap<VpcEndpointId, Arc<VpcState>>,
    pub(crate) groups: HashMap<TargetGroupId, Arc<GroupSlot>>,
    pub(crate) services: HashMap<ServiceId, Arc<ServiceSlot>>,
    pub(crate) resources: HashMap<ResourceKey, Arc<ResourceState>>,
    /// What HTTPS listeners offer by the users' own names of services, and by generated names.
    pub(crate) offers: HashMap<ServiceId, Arc<Offer>>,
    pub(crate) generated: Option<Arc<Offer>>,
    /// What those listeners offer that ask clients for certificates.
    pub(crate) mutual: HashMap<ListenerId, Arc<Mutual>>,
    /// What gateways' listeners offer.
    pub(crate) offered: HashMap<ListenerId, Arc<Offered>>,
}

/// A VPC, as the place that requests come from.
#[derive(Debug)]
pub(crate) struct VpcState {
    pub(crate) id: VpcId,
    pub(crate) arn: String,
    /// Whose account it is in.
    pub(crate) owner: String,
    /// `x-amzn-lattice-network`.
    pub(crate) network_header: Field,
    /// `x-amzn-source-vpc`.
    pub(crate) vpc_header: Field,
    /// The service network that is reached from it.
    pub(crate) network: Option<Arc<NetworkState>>,
}

/// A service network: which services it has, by host name.
#[derive(Debug, Clone)]
pub(crate) struct NetworkState {
    pub(crate) source: Arc<ServiceNetwork>,
    /// Where its access logs go.
    pub(crate) destinations: Vec<String>,
    pub(crate) hosts: HashMap<Box<[u8]>, Arc<Entry>>,
    pub(crate) entries: Vec<Arc<Entry>>,
    /// What is spoken on a port of some service.
    pub(crate) spoken: HashMap<u16, Spoken>,
    /// What HTTPS listeners offer by generated names.
    pub(crate) generated: Option<Arc<Offer>>,
    /// Listeners that are entrances to other services of the network.
    pub(crate) gateways: Gateways,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// HTTP in the clear.
    pub(crate) plain: bool,
    /// TLS, wherever it ends.
    pub(crate) tls: bool,
}

impl NetworkState {
    /// The gateway's listener that takes what comes to this place for a host, which is in small letters. Where services share
    /// the gateway's address, they have what names them.
    pub(crate) fn gateway(
        &self,
        at: SocketAddr,
        host: Option<&[u8]>,
    ) -> Option<&Arc<GatewayState>> {
        let IpAddr::V4(address) = at.ip() else {
            return None;
        };
        let gateway = self.gateways.by_place.get(&(address, at.port()))?;
        let named = host.and_then(|host| self.hosts.get(host));
        let is_other = |it: &Arc<Entry>| {
            it.source.address == address && it.source.id != gateway.entry.source.id
        };
        (!named.is_some_and(is_other)).then_some(gateway)
    }

    /// Whether a Gateway passes TLS on at this place: the Gateway API wants connections closed there that no route takes, without an alert
    /// (TLS is between the client and a target).
    pub(crate) fn is_silent(&self, at: SocketAddr) -> bool {
        let gateway = self.gateway(at, None);
        gateway.is_some_and(|it| it.protocol == ListenerProtocol::TlsPassthrough)
    }

    /// Where a client gets that asks for this name at this place.
    pub(crate) fn way(&self, server_name: Option<&str>, at: SocketAddr) -> Option<Way> {
        let name = server_name.map(str::as_bytes);
        if let Some(gateway) = self.gateway(at, name) {
            match gateway.protocol {
                ListenerProtocol::Https => {
                    if let Some(config) = gateway.config(name) {
                        return Some(Way::Ended(Arc::clone(config)));
                    }
                }
                ListenerProtocol::TlsPassthrough => {
                    return gateway.passed(name?).map(|_| Way::Passed);
                }
                ListenerProtocol::Http => {}
            }
        }
        let (server_name, port) = (server_name?, at.port());
        let entry = self.hosts.get(server_name.as_bytes())?;
        let mut listeners = entry.listeners.iter();
        let listener =
            listeners.find(|it| it.port == port && it.protocol != ListenerProtocol::Http)?;
        let own = entry.custom.as_deref() == Some(server_name.as_bytes());
        match listener.protocol {
            ListenerProtocol::TlsPassthrough => own.then_some(Way::Passed),
            ListenerProtocol::Http | ListenerProtocol::Https => {
                let config = match &listener.mutual {
                    Some(mutual) => mutual.config(own)?,
                    None => {
                        let offer = if own { &entry.offer } else { &self.generated };
                        &offer.as_ref()?.config
                    }
                };
                Some(Way::Ended(Arc::clone(config)))
            }
        }
    }
}

/// A service in a service network.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) source: Arc<Service>,
    pub(crate) slot: Arc<ServiceSlot>,
    /// Whether the network takes identified workloads only.
    pub(crate) workloads_only: bool,
    /// Who may call through the network, and who the service; asked in this order.
    pub(crate) network_gate: Gate,
    pub(crate) service_gate: Gate,
    /// Where access logs go: the network's destinations and the service's.
    pub(crate) destinations: Vec<String>,
    pub(crate) idle_timeout: Duration,
    /// The user's own name for it, and what HTTPS listeners offer by it.
    pub(crate) custom: Option<Box<[u8]>>,
    pub(crate) offer: Option<Arc<Offer>>,
    pub(crate) listeners: Vec<ListenerState>,
}

/// A listener's rules.
#[derive(Debug)]
pub(crate) struct ListenerState {
    pub(crate) id: ListenerId,
    pub(crate) protocol: ListenerProtocol,
    pub(crate) port: u16,
    /// `x-forwarded-port`.
    pub(crate) port_header: Field,
    /// `x-forwarded-proto`.
    pub(crate) proto_header: Field,
    /// How clients are asked for certificates; seldom they are.
    pub(crate) mutual: Option<Arc<Mutual>>,
    /// What targets are shown that ask who calls, of requests that come in by this listener as a gateway.
    pub(crate) shown: Option<Arc<GatewayCertificate>>,
    pub(crate) router: Router,
    /// By the router's positions.
    pub(crate) rules: Vec<(RuleId, Outcome)>,
    pub(crate) default: (RuleId, Outcome),
}

/// What a rule leads to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Fixed(StatusCode),
    /// A redirect, or a fixed response with headers of its own.
    Answer(Box<Answer>),
    Forward {
        /// `None` when every weight is zero.
        weighted: Option<Weighted>,
        turns: Turns,
        choices: Vec<Choice>,
        /// What is answered where the weights choose none of them, which then have one more.
        failure: Option<StatusCode>,
        /// What else becomes of requests and responses; seldom anything.
        traffic: Option<Arc<Traffic>>,
        mirrors: Vec<Mirror>,
    },
}

impl Outcome {
    /// The groups that it may send requests to, or copies of them.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Choice> {
        let (choices, mirrors) = match self {
            Self::Forward {
                choices, mirrors, ..
            } => (choices.as_slice(), mirrors.as_slice()),
            Self::Fixed(_) | Self::Answer(_) => (&[][..], &[][..]),
        };
        let of_groups = choices.iter().flat_map(|it| &it.mirrors);
        let mirrors = mirrors.iter().chain(of_groups).map(|it| &it.choice);
        choices.iter().chain(mirrors)
    }
}

/// A group that gets copies of requests.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) choice: Choice,
    /// Of a hundred requests.
    percent: u64,
    turns: Turns,
}

impl Mirror {
    pub(crate) fn new(choice: Choice, percent: u8, threads: usize) -> Self {
        Self {
            choice,
            percent: percent.into(),
            turns: Turns::new(threads),
        }
    }

    /// Whether the next request of this thread is copied.
    pub(crate) fn takes_turn(&self, thread: usize) -> bool {
        let turn = self.turns.next(thread) % 100;
        turn * self.percent % 100 < self.percent
    }
}

/// A group that a rule may choose.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) id: TargetGroupId,
    /// `None` when the snapshot has no such group.
    pub(crate) group: Option<Arc<GroupSlot>>,
    pub(crate) weight: u32,
    /// `x-amzn-lattice-target`.
    pub(crate) header: Field,
    /// What is done with what goes to it; seldom anything.
    pub(crate) filters: Option<Arc<Filters>>,
    /// Which groups get copies of that.
    pub(crate) mirrors: Vec<Mirror>,
}

impl Choice {
    /// Whether its group has a target that is said to work.
    pub(crate) fn is_able(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.is_able())
    }
}

/// Which of the able choices takes this turn, by weight; when only choices of weight zero are able, the first
/// of them. `passed` are left out.
pub(crate) fn stand_in(choices: &[Choice], passed: &[usize], turn: u64) -> Option<usize> {
    let able = choices.iter().enumerate();
    let able: Vec<(usize, u64)> = able
        .filter(|(index, choice)| !passed.contains(index) && choice.is_able())
        .map(|(index, choice)| (index, u64::from(choice.weight)))
        .collect();
    let total: u64 = able.iter().map(|(_, weight)| weight).sum();
    if total == 0 {
        return able.first().map(|(index, _)| *index);
    }
    let mut left = turn % total;
    for (index, weight) in able {
        if left < weight {
            return Some(index);
        }
        left -= weight;
    }
    None
}

impl VpcState {
    /// A VPC that the snapshot does not know any more: nothing is found in it.
    pub(crate) fn without_network(id: &VpcId) -> Self {
        Self {
            id: id.clone(),
            arn: String::new(),
            owner: String::new(),
            network_header: Field::lattice_network(""),
            vpc_header: Field::source_vpc(""),
            network: None,
        }
    }
}

/// By what a resource is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ResourceKey {
    /// A service network's association with it, at the address of that.
    Association(ServiceNetworkResourceAssociationId),
    /// A VPC endpoint, at addresses of the endpoint's.
    Endpoint(VpcEndpointId, ResourceConfigurationId),
}

/// A resource in a service network, as it is at one moment.
#[derive(Debug)]
pub(crate) struct ResourceState {
    /// By which a service network has it; `None` at an endpoint of type Resource.
    pub(crate) association: Option<Arc<ResourceAssociation>>,
    pub(crate) resource: Arc<Resource>,
    /// `None` while there is none.
    pub(crate) gateway: Option<Arc<ResourceGateway>>,
    /// Which of the gateway's addresses is next.
    pub(crate) turns: Arc<Turns>,
}

impl ResourceState {
    /// Whether it was made of the same.
    pub(crate) fn is_of(
        &self,
        association: Option<&Arc<ResourceAssociation>>,
        resource: &Arc<Resource>,
        gateway: Option<&Arc<ResourceGateway>>,
    ) -> bool {
        is_same(self.association.as_ref(), association)
            && Arc::ptr_eq(&self.resource, resource)
            && is_same(self.gateway.as_ref(), gateway)
    }
}

fn is_same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}
