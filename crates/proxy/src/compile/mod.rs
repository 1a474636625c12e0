//! From a snapshot and the health view to the compiled state. Runs off the hot path; what did not change
//! is taken over from the previous state.

mod groups;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use http::StatusCode;
use lath_feed::{AccessLogDestination, Listener, Service, ServiceNetwork, Snapshot};
use lath_health::HealthView;
use lath_model::id::{
    ListenerId, RuleId, ServiceId, ServiceNetworkId, TargetGroupId, VpcEndpointId,
};
use lath_model::lattice::{Action, ListenerProtocol, WeightedTargetGroup};
use lath_model::traffic::{self, RateLimit, TrafficPolicy};
use lath_model::{Owner, Partition};
use lath_route::{Router, Weighted};

use self::groups::groups;
use crate::fields::Field;
use crate::gate::Gate;
use crate::shown::GatewayCertificate;
use crate::slot::{GroupSlot, ServiceSlot, Turns};
use crate::state::*;
use crate::tls::{self, Mutual, Offer, Offered};
use crate::traffic::{Answer, Filters, Limits, Traffic};

/// Compiles `snapshot` into the state that follows `previous`.
pub(crate) fn compile(
    snapshot: &Snapshot,
    health: &HealthView,
    previous: &State,
    lost: &BTreeSet<String>,
    threads: usize,
) -> State {
    let groups = groups(snapshot, health, previous, lost, threads);
    let services = services(snapshot, previous, threads);
    let offers = offers(snapshot, previous);
    let certificate = snapshot.lattice_certificate.as_deref();
    let generated = tls::make(certificate, previous.generated.as_ref());
    let mutual = mutual(snapshot, previous, &offers, generated.as_ref());
    let offered = offered(snapshot, previous, &mutual);
    let known = Known {
        offered: &offered,
        snapshot,
        previous,
        groups: &groups,
        services: &services,
        offers: &offers,
        mutual: &mutual,
        generated,
        threads,
    };
    let networks: HashMap<_, _> = snapshot
        .service_networks
        .values()
        .map(|network| {
            let compiled = compile_network(&known, network);
            (network.id.clone(), Arc::new(compiled))
        })
        .collect();
    let vpcs: HashMap<_, _> = snapshot
        .vpcs
        .values()
        .map(|vpc| {
            let network = vpc
                .lattice
                .as_ref()
                .and_then(|l| networks.get(&l.service_network));
            (
                vpc.id.clone(),
                Arc::new(compile_vpc(snapshot, vpc, network.cloned())),
            )
        })
        .collect();
    let endpoints = endpoints(snapshot, &networks);
    State {
        generation: previous.generation + 1,
        vpcs,
        endpoints,
        generated: known.generated,
        mutual,
        offered,
        offers,
        groups,
        services,
        resources: resources(snapshot, previous, threads),
    }
}

/// What networks have of resources, and endpoints.
fn resources(
    snapshot: &Snapshot,
    previous: &State,
    threads: usize,
) -> HashMap<ResourceKey, Arc<ResourceState>> {
    let associations = snapshot.resource_associations.values().map(|it| {
        let key = ResourceKey::Association(it.id.clone());
        (key, &it.resource, Some(it))
    });
    let endpoints = snapshot
        .vpcs
        .values()
        .flat_map(|vpc| vpc.endpoints.values());
    let at_endpoints = endpoints.flat_map(|endpoint| {
        endpoint.resources.iter().map(|(id, at)| {
            let key = ResourceKey::Endpoint(endpoint.id.clone(), id.clone());
            let association = at.association.as_ref();
            let association = association.and_then(|id| snapshot.resource_associations.get(id));
            (key, id, association)
        })
    });
    let made = associations
        .chain(at_endpoints)
        .filter_map(|(key, id, association)| {
            let resource = snapshot.resources.get(id)?;
            let gateway = snapshot.resource_gateways.get(&resource.gateway);
            let before = previous.resources.get(&key);
            if let Some(before) = before.filter(|known| known.is_of(association, resource, gateway))
            {
                return Some((key, Arc::clone(before)));
            }
            let turns = before.map(|known| Arc::clone(&known.turns));
            let state = ResourceState {
                association: association.cloned(),
                resource: Arc::clone(resource),
                gateway: gateway.cloned(),
                turns: turns.unwrap_or_else(|| Arc::new(Turns::new(threads))),
            };
            Some((key, Arc::new(state)))
        });
    made.collect()
}

/// The VPCs as seen through their endpoints: the endpoint's network, whose services have further names there.
fn endpoints(
    snapshot: &Snapshot,
    networks: &HashMap<ServiceNetworkId, Arc<NetworkState>>,
) -> HashMap<VpcEndpointId, Arc<VpcState>> {
    let of = |vpc: &Arc<lath_feed::Vpc>| {
        let vpc = Arc::clone(vpc);
        let endpoints: Vec<_> = vpc.endpoints.values().cloned().collect();
        endpoints.into_iter().map(move |endpoint| {
            let network = endpoint.service_network.as_ref();
            let network = network.and_then(|id| networks.get(id));
            let network = network.map(|network| Arc::new(network.named(&endpoint.names)));
            let state = compile_vpc(snapshot, &vpc, network);
            (endpoint.id, Arc::new(state))
        })
    };
    snapshot.vpcs.values().flat_map(of).collect()
}

impl NetworkState {
    /// The same network, where services have these names too.
    fn named(&self, names: &BTreeMap<ServiceId, String>) -> Self {
        let mut named = self.clone();
        for entry in &self.entries {
            if let Some(name) = names.get(&entry.source.id) {
                named.hosts.insert(host_key(name), Arc::clone(entry));
            }
        }
        named
    }
}

/// A name as look-ups by host want it.
fn host_key(name: &str) -> Box<[u8]> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.into_bytes().into_boxed_slice()
}

fn compile_vpc(
    snapshot: &Snapshot,
    vpc: &lath_feed::Vpc,
    network: Option<Arc<NetworkState>>,
) -> VpcState {
    let owner = Owner {
        partition: Partition::of_region(&snapshot.region),
        account: &vpc.owner,
    };
    let arn = owner.arn_in(&snapshot.region, "ec2", format!("vpc/{}", vpc.id));
    VpcState {
        id: vpc.id.clone(),
        network_header: Field::lattice_network(&format!("SourceVpcArn={arn}")),
        vpc_header: Field::source_vpc(vpc.id.as_str()),
        owner: vpc.owner.clone(),
        arn,
        network,
    }
}

/// What networks are compiled of.
struct Known<'a> {
    snapshot: &'a Snapshot,
    previous: &'a State,
    groups: &'a HashMap<TargetGroupId, Arc<GroupSlot>>,
    services: &'a HashMap<ServiceId, Arc<ServiceSlot>>,
    offers: &'a HashMap<ServiceId, Arc<Offer>>,
    mutual: &'a HashMap<ListenerId, Arc<Mutual>>,
    offered: &'a HashMap<ListenerId, Arc<Offered>>,
    generated: Option<Arc<Offer>>,
    threads: usize,
}

fn compile_network(known: &Known<'_>, network: &Arc<ServiceNetwork>) -> NetworkState {
    let mut networks = known
        .previous
        .vpcs
        .values()
        .chain(known.previous.endpoints.values())
        .filter_map(|vpc| vpc.network.as_ref());
    let last = networks.find(|known| known.source.id == network.id);
    // What its entries are made of; which services it has is no part of that.
    let before = last.filter(|last| is_like(&last.source, network));
    let compiled: HashMap<_, _> = before
        .iter()
        .flat_map(|last| &last.entries)
        .map(|entry| (&entry.source.id, entry))
        .collect();
    let gate = Gate::of(&network.auth, &network.arn);
    let mut hosts = HashMap::new();
    let mut entries = Vec::new();
    for id in &network.services {
        let found = (known.snapshot.services.get(id), known.services.get(id));
        let (Some(service), Some(slot)) = found else {
            continue;
        };
        let entry = compiled
            .get(id)
            .filter(|entry| entry.still_holds(service, known))
            .map(|entry| Arc::clone(entry))
            .unwrap_or_else(|| Arc::new(compile_entry(known, service, network, &gate, slot)));
        for name in service
            .custom_domain_name
            .iter()
            .chain([&service.domain_name])
        {
            hosts.insert(host_key(name), Arc::clone(&entry));
        }
        entries.push(entry);
    }
    let mut spoken: HashMap<u16, Spoken> = HashMap::new();
    for listener in entries.iter().flat_map(|entry| &entry.listeners) {
        let spoken = spoken.entry(listener.port).or_default();
        match listener.protocol {
            ListenerProtocol::Http => spoken.plain = true,
            ListenerProtocol::Https | ListenerProtocol::TlsPassthrough => spoken.tls = true,
        }
    }
    let gateways = last.map(|last| &last.gateways);
    let gateways = Gateways::of(&entries, known.offered, gateways);
    NetworkState {
        gateways,
        source: Arc::clone(network),
        destinations: destinations(&network.access_logs),
        hosts,
        entries,
        spoken,
        generated: known.generated.clone(),
    }
}

/// Whether networks differ in nothing but their services.
fn is_like(one: &Arc<ServiceNetwork>, other: &Arc<ServiceNetwork>) -> bool {
    let parts = |it: &ServiceNetwork| {
        let ServiceNetwork {
            id,
            arn,
            name,
            auth,
            services: _,
            access_logs,
            workloads_only,
        } = it.clone();
        (id, arn, name, auth, access_logs, workloads_only)
    };
    Arc::ptr_eq(one, other) || parts(one) == parts(other)
}

impl Entry {
    /// Whether this was compiled from the same service and the same groups.
    fn still_holds(&self, service: &Arc<Service>, known: &Known<'_>) -> bool {
        let outcomes = self.listeners.iter().flat_map(|listener| {
            listener
                .rules
                .iter()
                .map(|(_, outcome)| outcome)
                .chain([&listener.default.1])
        });
        let is_same = |choice: &Choice| match (&choice.group, known.groups.get(&choice.id)) {
            (Some(known), Some(now)) => Arc::ptr_eq(known, now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let mut choices = outcomes.flat_map(Outcome::groups);
        // The certificate for generated names may be another one.
        let mut asking = self
            .listeners
            .iter()
            .filter_map(|it| Some((&it.id, it.mutual.as_ref()?)));
        let asks_so = |(id, mutual): (&ListenerId, &Arc<Mutual>)| {
            known
                .mutual
                .get(id)
                .is_some_and(|now| Arc::ptr_eq(now, mutual))
        };
        Arc::ptr_eq(&self.source, service) && choices.all(is_same) && asking.all(asks_so)
    }
}

fn compile_entry(
    known: &Known<'_>,
    service: &Arc<Service>,
    network: &ServiceNetwork,
    gate: &Gate,
    slot: &Arc<ServiceSlot>,
) -> Entry {
    let make = Make {
        service,
        slot,
        network,
        groups: known.groups,
        mutual: known.mutual,
        threads: known.threads,
    };
    Entry {
        source: Arc::clone(service),
        slot: Arc::clone(slot),
        workloads_only: network.workloads_only,
        network_gate: gate.clone(),
        service_gate: Gate::of(&service.auth, &service.arn),
        destinations: destinations(network.access_logs.iter().chain(&service.access_logs)),
        idle_timeout: service.idle_timeout,
        custom: service.custom_domain_name.as_deref().map(host_key),
        offer: known.offers.get(&service.id).cloned(),
        listeners: service
            .listeners
            .values()
            .map(|listener| make.listener(listener))
            .collect(),
    }
}

fn destinations<'a>(logs: impl IntoIterator<Item = &'a AccessLogDestination>) -> Vec<String> {
    let mut destinations: Vec<String> = Vec::new();
    for log in logs {
        if !destinations.contains(&log.destination_arn) {
            destinations.push(log.destination_arn.clone());
        }
    }
    destinations
}

struct Make<'a> {
    service: &'a Service,
    slot: &'a ServiceSlot,
    network: &'a ServiceNetwork,
    mutual: &'a HashMap<ListenerId, Arc<Mutual>>,
    groups: &'a HashMap<TargetGroupId, Arc<GroupSlot>>,
    threads: usize,
}

impl Make<'_> {
    fn listener(&self, listener: &Listener) -> ListenerState {
        let plain = listener.rules.iter().map(|rule| (rule, None));
        let matched = listener.matched.iter().map(|it| (&it.rule, Some(&it.more)));
        let rules: Vec<_> = plain.chain(matched).collect();
        let conditions = rules
            .iter()
            .map(|(rule, more)| (rule.priority, &rule.conditions, *more));
        ListenerState {
            id: listener.id.clone(),
            protocol: listener.protocol,
            port: listener.port,
            port_header: Field::forwarded_port(listener.port),
            proto_header: Field::forwarded_proto(match listener.protocol {
                ListenerProtocol::Http => "http",
                ListenerProtocol::Https | ListenerProtocol::TlsPassthrough => "https",
            }),
            mutual: self.mutual.get(&listener.id).cloned(),
            shown: listener
                .gateway
                .as_ref()
                .and_then(|it| GatewayCertificate::of(it.client_certificate.as_ref()?))
                .map(Arc::new),
            router: Router::extended(conditions),
            rules: rules
                .iter()
                .map(|(rule, _)| {
                    let policy = listener.traffic.get(&rule.id);
                    let outcome = self.outcome(&rule.id, &rule.action, policy);
                    (rule.id.clone(), outcome)
                })
                .collect(),
            default: (
                listener.default_rule.clone(),
                self.outcome(
                    &listener.default_rule,
                    &listener.default_action,
                    listener.traffic.get(&listener.default_rule),
                ),
            ),
        }
    }

    /// A policy that cannot be obeyed is not left out: its rule answers 500.
    fn outcome(&self, rule: &RuleId, action: &Action, policy: Option<&TrafficPolicy>) -> Outcome {
        let Some(policy) = policy else {
            return self.plain(action, None);
        };
        let status = match action {
            Action::FixedResponse(status) => StatusCode::from_u16(*status).ok(),
            Action::Forward(_) => None,
        };
        let made = match (&policy.redirect, action) {
            (Some(_), _) | (None, Action::FixedResponse(_)) => {
                let answer = Answer::of(policy, status, self.limits(rule, policy));
                answer.map(|answer| Outcome::Answer(Box::new(answer)))
            }
            (None, Action::Forward(_)) => {
                let limits = self.limits(rule, policy);
                let traffic = Traffic::of(policy, rule, limits, self.threads);
                traffic.map(|it| self.plain(action, Some((policy, Arc::new(it)))))
            }
        };
        made.unwrap_or_else(|| {
            tracing::error!(service.id = %self.service.id, "a rule's traffic policy cannot be obeyed");
            Outcome::Fixed(StatusCode::INTERNAL_SERVER_ERROR)
        })
    }

    /// A rule's rate limits. Those with a name are the service's.
    fn limits(&self, rule: &RuleId, policy: &TrafficPolicy) -> Limits {
        let limits = policy.limits.iter().enumerate();
        let one = |(index, limit): (usize, &RateLimit)| {
            let name = match &limit.name {
                Some(name) => name.clone(),
                None => format!("{rule}/{index}"),
            };
            self.slot.limiter(name, limit)
        };
        // What could not have been written here is not made.
        match policy.check() {
            Ok(()) => limits.map(one).collect(),
            Err(_) => Limits::default(),
        }
    }

    fn plain(&self, action: &Action, with: Option<(&TrafficPolicy, Arc<Traffic>)>) -> Outcome {
        match action {
            Action::FixedResponse(status) => {
                Outcome::Fixed(StatusCode::from_u16(*status).unwrap_or(StatusCode::NOT_FOUND))
            }
            Action::Forward(groups) => {
                let policy = with.as_ref().map(|(policy, _)| *policy);
                let mirrors = self.mirrors(policy.map_or(&[], |it| &it.mirrors));
                let failure = policy.and_then(|it| it.failure);
                let weights = groups.iter().map(|group| group.weight);
                let weights: Vec<u32> = weights.chain(failure.map(|it| it.weight)).collect();
                let weighted = Weighted::new(&weights);
                let period = weighted.as_ref().map_or(1, Weighted::period);
                Outcome::Forward {
                    weighted,
                    turns: Turns::spread(self.threads, period),
                    choices: groups.iter().map(|it| self.filtered(policy, it)).collect(),
                    failure: failure.map(|it| {
                        let status = StatusCode::from_u16(it.status);
                        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
                    }),
                    traffic: with.map(|(_, traffic)| traffic),
                    mirrors,
                }
            }
        }
    }

    fn mirrors(&self, mirrors: &[traffic::Mirror]) -> Vec<Mirror> {
        let mirrors = mirrors.iter().map(|it| {
            let choice = self.choice(&it.target_group, 0);
            Mirror::new(choice, it.percent, self.threads)
        });
        mirrors.collect()
    }

    /// One of an action's groups, with what is done with requests to it. The policy was found to be one that can be obeyed.
    fn filtered(&self, policy: Option<&TrafficPolicy>, group: &WeightedTargetGroup) -> Choice {
        let id = &group.target_group;
        let choice = self.choice(id, group.weight);
        let filters = policy.and_then(|it| it.groups.iter().find(|it| it.target_group == *id));
        match filters {
            None => choice,
            Some(filters) => Choice {
                filters: Filters::of(filters).map(Arc::new),
                mirrors: self.mirrors(&filters.mirrors),
                ..choice
            },
        }
    }

    fn choice(&self, id: &TargetGroupId, weight: u32) -> Choice {
        let group = self.groups.get(id).cloned();
        let group_arn = group.as_ref().map_or("", |group| group.arn.as_str());
        let header = Field::lattice_target(&format!(
            "ServiceArn={}; ServiceNetworkArn={}; TargetGroupArn={group_arn}",
            self.service.arn, self.network.arn
        ));
        Choice {
            id: id.clone(),
            group,
            weight,
            header,
            filters: None,
            mirrors: Vec::new(),
        }
    }
}

fn services(
    snapshot: &Snapshot,
    previous: &State,
    threads: usize,
) -> HashMap<ServiceId, Arc<ServiceSlot>> {
    snapshot
        .services
        .keys()
        .map(|id| {
            let slot = previous
                .services
                .get(id)
                .cloned()
                .unwrap_or_else(|| Arc::new(ServiceSlot::new(id.clone(), threads)));
            (id.clone(), slot)
        })
        .collect()
}

/// What HTTPS listeners offer by the users' own names.
fn offers(snapshot: &Snapshot, previous: &State) -> HashMap<ServiceId, Arc<Offer>> {
    let made = snapshot.services.values().filter_map(|service| {
        let before = previous.offers.get(&service.id);
        let offer = tls::make(service.certificate.as_ref(), before)?;
        Some((service.id.clone(), offer))
    });
    made.collect()
}

/// What listeners offer that ask clients for certificates.
fn mutual(
    snapshot: &Snapshot,
    previous: &State,
    offers: &HashMap<ServiceId, Arc<Offer>>,
    generated: Option<&Arc<Offer>>,
) -> HashMap<ListenerId, Arc<Mutual>> {
    let listeners = snapshot.services.values().flat_map(|service| {
        let offer = offers.get(&service.id);
        let listeners = service.listeners.values();
        listeners.map(move |listener| (listener, offer))
    });
    let made = listeners.filter_map(|(listener, offer)| {
        let source = listener.mutual_tls.as_ref()?;
        let before = previous.mutual.get(&listener.id);
        let made = Mutual::make(source, offer, generated, before);
        Some((listener.id.clone(), made))
    });
    made.collect()
}

/// What gateways' listeners offer.
fn offered(
    snapshot: &Snapshot,
    previous: &State,
    mutual: &HashMap<ListenerId, Arc<Mutual>>,
) -> HashMap<ListenerId, Arc<Offered>> {
    let services = snapshot.services.values();
    let listeners = services.flat_map(|service| service.listeners.values());
    let gateways = listeners.filter_map(|listener| {
        let gateway = listener.gateway.as_ref();
        let gateway = gateway.filter(|_| listener.protocol == ListenerProtocol::Https)?;
        let before = previous.offered.get(&listener.id);
        let made = Offered::make(gateway, mutual.get(&listener.id), before);
        Some((listener.id.clone(), Arc::new(made)))
    });
    gateways.collect()
}
