//! Listeners as entrances to other services: which service and rule a request is for, by the Gateway API's precedence
//! (<https://gateway-api.sigs.k8s.io/reference/spec/>).

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_feed::{GatewayRoute, Listener};
use lath_model::id::ListenerId;
use lath_model::lattice::ListenerProtocol;
use lath_route::{Head, Merged};
use rustls::ServerConfig;

use super::{Entry, ListenerState};
use crate::tls::Offered;

/// The longest name there is.
pub(crate) const LONGEST_HOST: usize = 255;

/// A gateway's listener in a service network.
#[derive(Debug)]
pub(crate) struct GatewayState {
    /// The gateway's own service and its listener, which have what no service that is attached takes.
    pub(crate) entry: Arc<Entry>,
    pub(crate) listener: usize,
    pub(crate) protocol: ListenerProtocol,
    /// Whether it carries TCP, of which nothing is read.
    pub(crate) opaque: bool,
    /// Which of the Gateway's listeners takes a host.
    by_host: ByHost<usize>,
    parts: Vec<Part>,
    offered: Option<Arc<Offered>>,
}

/// One of the Gateway's listeners.
#[derive(Debug)]
struct Part {
    name: String,
    tables: ByHost<Arc<Table>>,
}

/// The services that are attached for one host, and their rules.
#[derive(Debug)]
struct Table {
    sources: Vec<Source>,
    rules: Merged,
}

#[derive(Debug, Clone)]
struct Source {
    entry: Arc<Entry>,
    /// The place of the service's own listener.
    listener: usize,
    order: String,
}

/// Where a request or a connection goes: the service, its listener's place, and its rule's, where it has rules.
pub(crate) type Found<'a> = (&'a Arc<Entry>, usize, Option<usize>);

impl Source {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entry, &other.entry)
            && (self.listener, &self.order) == (other.listener, &other.order)
    }
}

impl Table {
    /// Of these services, or the one before where it was of the same.
    fn of(mut sources: Vec<Source>, before: Option<&Arc<Self>>) -> Arc<Self> {
        sources.sort_by(|one, other| {
            let id = |it: &Source| it.entry.source.id.clone();
            one.order
                .cmp(&other.order)
                .then_with(|| id(one).cmp(&id(other)))
        });
        if let Some(before) = before
            && before.sources.len() == sources.len()
            && before
                .sources
                .iter()
                .zip(&sources)
                .all(|(one, other)| one.is(other))
        {
            return Arc::clone(before);
        }
        let routers = sources.iter().map(|it| {
            let listener = &it.entry.listeners[it.listener];
            (it.order.as_str(), &listener.router)
        });
        let rules = Merged::of(routers);
        Arc::new(Self { sources, rules })
    }
}

/// Things by host: one for some hosts, for those below others, and for all the rest.
#[derive(Debug)]
struct ByHost<T> {
    exact: HashMap<Box<[u8]>, T>,
    /// By what follows the asterisk.
    below: HashMap<Box<[u8]>, T>,
    all: Option<T>,
}

impl<T> Default for ByHost<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            below: HashMap::new(),
            all: None,
        }
    }
}

impl<T> ByHost<T> {
    fn insert(&mut self, host: Option<&str>, it: T) {
        match host.map(|host| (host, host.strip_prefix('*'))) {
            None => self.all = Some(it),
            Some((_, Some(suffix))) => drop(self.below.insert(suffix.as_bytes().into(), it)),
            Some((host, None)) => drop(self.exact.insert(host.as_bytes().into(), it)),
        }
    }

    fn at(&self, host: Option<&str>) -> Option<&T> {
        match host.map(|host| (host, host.strip_prefix('*'))) {
            None => self.all.as_ref(),
            Some((_, Some(suffix))) => self.below.get(suffix.as_bytes()),
            Some((host, None)) => self.exact.get(host.as_bytes()),
        }
    }

    /// What is for this host, in small letters: the most specific one first.
    fn for_host<'a, 'b>(&'a self, host: &'b [u8]) -> impl Iterator<Item = &'a T> + use<'a, 'b, T> {
        let is_some = !self.below.is_empty();
        let dots = memchr::memchr_iter(b'.', host).filter(move |at| is_some && *at > 0);
        let below = dots.filter_map(|at| self.below.get(&host[at..]));
        self.exact
            .get(host)
            .into_iter()
            .chain(below)
            .chain(&self.all)
    }
}

/// A host in small letters; `None`: it is longer than names are.
pub(crate) fn lower<'a>(host: &[u8], room: &'a mut [u8; LONGEST_HOST]) -> Option<&'a [u8]> {
    let lower = room.get_mut(..host.len())?;
    lower.copy_from_slice(host);
    lower.make_ascii_lowercase();
    Some(lower)
}

impl GatewayState {
    /// The rule that a request for this host, in small letters, is for.
    pub(crate) fn choose(&self, host: &[u8], head: &impl Head) -> Option<Found<'_>> {
        let part = &self.parts[self.part(host)?];
        let mut tables = part.tables.for_host(host);
        tables.find_map(|table| {
            let (source, rule) = table.rules.choose(head)?;
            let source = &table.sources[source];
            Some((&source.entry, source.listener, Some(rule)))
        })
    }

    /// The service that TLS for this name is passed on to; of TCP there is no name.
    pub(crate) fn passed(&self, name: &[u8]) -> Option<Found<'_>> {
        let part = &self.parts[self.part(name)?];
        let source = part.tables.for_host(name).next()?.sources.first()?;
        Some((&source.entry, source.listener, None))
    }

    /// Which of the Gateway's listeners takes a host, in small letters: the most specific one, and no other.
    pub(crate) fn part(&self, host: &[u8]) -> Option<usize> {
        self.by_host.for_host(host).next().copied()
    }

    /// What a client is offered that asks for this name.
    pub(crate) fn config(&self, name: Option<&[u8]>) -> Option<&Arc<ServerConfig>> {
        let part = name.and_then(|name| self.part(name)).unwrap_or(0);
        self.offered.as_ref()?.config(part, name)
    }
}

/// The gateways of a network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gateways {
    pub(crate) by_listener: HashMap<ListenerId, Arc<GatewayState>>,
    /// By the gateway's address and the listener's port.
    pub(crate) by_place: HashMap<(Ipv4Addr, u16), Arc<GatewayState>>,
}

impl Gateways {
    /// Those among the services of a network. What did not change is taken from `before`.
    pub(crate) fn of(
        entries: &[Arc<Entry>],
        offered: &HashMap<ListenerId, Arc<Offered>>,
        before: Option<&Self>,
    ) -> Self {
        let mut gateways = Self::default();
        let is_one = |listener: &Listener| listener.gateway.is_some();
        let has_some = |it: &&Arc<Entry>| it.source.listeners.values().any(is_one);
        let mut owners = entries.iter().filter(has_some).peekable();
        if owners.peek().is_none() {
            return gateways;
        }
        let mut attached: HashMap<&ListenerId, Vec<(&GatewayRoute, &Arc<Entry>)>> = HashMap::new();
        for entry in entries {
            for route in &entry.source.routes {
                attached
                    .entry(&route.listener)
                    .or_default()
                    .push((route, entry));
            }
        }
        for entry in owners {
            for (place, listener) in entry.listeners.iter().enumerate() {
                let source = entry.source.listeners.get(&listener.id);
                let Some(source) = source.filter(|it| is_one(it)) else {
                    continue;
                };
                let known = before.and_then(|it| it.by_listener.get(&listener.id));
                let routes = attached.get(&listener.id).map_or(&[][..], Vec::as_slice);
                let mut made = gateway((entry, place), source, routes, known.map(|it| &**it));
                made.offered = offered.get(&listener.id).cloned();
                let made = Arc::new(made);
                let at = (entry.source.address, listener.port);
                gateways.by_place.insert(at, Arc::clone(&made));
                gateways.by_listener.insert(listener.id.clone(), made);
            }
        }
        gateways
    }
}

fn gateway(
    (entry, place): (&Arc<Entry>, usize),
    listener: &Listener,
    routes: &[(&GatewayRoute, &Arc<Entry>)],
    before: Option<&GatewayState>,
) -> GatewayState {
    let own = listener.gateway.iter().flat_map(|it| &it.listeners);
    let mut by_host = ByHost::default();
    let mut parts = Vec::new();
    for (index, it) in own.enumerate() {
        by_host.insert(it.hostname.as_deref(), index);
        let mut hosts: BTreeMap<Option<&str>, Vec<Source>> = BTreeMap::new();
        for (route, entry) in routes.iter().filter(|(route, _)| route.name == it.name) {
            let fits = |own: &ListenerState| {
                (own.port, own.protocol) == (listener.port, listener.protocol)
            };
            let Some(own) = entry.listeners.iter().position(fits) else {
                continue;
            };
            let source = Source {
                entry: Arc::clone(entry),
                listener: own,
                order: route.order.clone(),
            };
            let given = route.hosts.iter().map(|host| Some(host.as_str()));
            let all = route.hosts.is_empty().then_some(it.hostname.as_deref());
            for host in given.chain(all) {
                hosts.entry(host).or_default().push(source.clone());
            }
        }
        let known = before.and_then(|before| before.parts.iter().find(|part| part.name == it.name));
        let mut tables = ByHost::default();
        for (host, sources) in hosts {
            let known = known.and_then(|part| part.tables.at(host));
            tables.insert(host, Table::of(sources, known));
        }
        parts.push(Part {
            name: it.name.clone(),
            tables,
        });
    }
    GatewayState {
        entry: Arc::clone(entry),
        listener: place,
        protocol: listener.protocol,
        opaque: listener.gateway.as_ref().is_some_and(|it| it.opaque),
        by_host,
        parts,
        offered: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_host_comes_first() {
        let mut hosts = ByHost::default();
        let given = [
            None,
            Some("*.com"),
            Some("*.a.com"),
            Some("a.com"),
            Some("b.a.com"),
        ];
        for (place, host) in given.into_iter().enumerate() {
            hosts.insert(host, place);
            assert_eq!(hosts.at(host), Some(&place));
        }
        for (host, want) in [
            ("b.a.com", &[4, 2, 1, 0][..]),
            ("c.b.a.com", &[2, 1, 0]),
            ("a.com", &[3, 1, 0]),
            ("com", &[0]),
            (".com", &[0]),
            ("xa.com", &[1, 0]),
            ("169.254.171.2", &[0]),
        ] {
            let found: Vec<usize> = hosts.for_host(host.as_bytes()).copied().collect();
            assert_eq!(found, want, "{host}");
        }
    }
}
