//! The kernel that this process runs on.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::kernel::Kernel;
use crate::kernel::remembered::Remembered;
use crate::netlink::{Netlink, code};
use crate::netns::{Namespaces, Netns};
use crate::nft;
use crate::operation::Operation;
use crate::plan::{Link, LinkKind, Namespace, NamespaceRef, RouteKey, RouteTo};
use crate::rtnetlink as rt;
use crate::watch::{Disturbed, Watch};

/// The most links, addresses, routes or rules that are read in a namespace whose root is not this process's: reading
/// takes time and memory from all others. A Kubernetes node has a few hundred of each.
const MOST_OF_OTHERS: usize = 8192;

/// Works on the thread that calls it, which it moves between namespaces: keep it on a thread of its own.
pub(crate) struct LinuxKernel {
    namespaces: Namespaces,
    owner: String,
    table: String,
    remembered: Remembered,
    /// Where the thread is, with a socket there. Given up after each apply: a socket keeps its namespace
    /// alive.
    session: Option<(NamespaceRef, Netlink)>,
    /// Whether the kernel knows tables that only one socket can change.
    owns: bool,
    /// The sockets that own tables, for as long as those are to be.
    owners: BTreeMap<NamespaceRef, Netlink>,
    watch: Watch,
}

impl LinuxKernel {
    /// `table` is the name of the host's nf_tables table; routers have one called `lath`.
    pub(crate) fn new(
        namespaces: Namespaces,
        owner: String,
        table: String,
        remembered: Remembered,
        watch: Watch,
    ) -> Self {
        Self {
            namespaces,
            owner,
            table,
            remembered,
            session: None,
            owns: crate::doctor::owned_tables().is_ok(),
            owners: BTreeMap::new(),
            watch,
        }
    }

    /// Gives up what would keep namespaces alive, and what is not needed until the next work.
    pub(crate) fn rest(&mut self) {
        self.session = None;
        self.owners.values_mut().for_each(Netlink::rest);
    }

    /// Hears from now on what others change in what there is.
    pub(crate) fn listen(&mut self) -> io::Result<()> {
        self.session = None;
        if self.namespaces.reaches_host() {
            self.watch_over(&NamespaceRef::Host)?;
        }
        for name in self.namespaces.names() {
            self.watch_over(&NamespaceRef::Named(name))?;
        }
        Ok(())
    }

    /// Takes a namespace that others made; whether it is another one than was known by that name.
    pub(crate) fn hand_over(&mut self, name: &str, netns: Netns) -> io::Result<bool> {
        let place = NamespaceRef::Named(name.to_owned());
        if self
            .namespaces
            .get(&place)
            .is_ok_and(|known| known.is(&netns))
        {
            return Ok(false);
        }
        self.check_handed_over(name, &netns)?;
        self.session = None;
        self.owners.remove(&place);
        self.watch.remove(&place);
        self.namespaces.put(name, netns)?;
        self.watch_over(&place)?;
        Ok(true)
    }

    /// The caller loses the network in the namespace: an apply rewrites links, routes and settings there.
    fn check_handed_over(&self, name: &str, netns: &Netns) -> io::Result<()> {
        let refused = |words: String| io::Error::new(io::ErrorKind::PermissionDenied, words);
        if let Some(holder) = self.namespaces.holder(netns, name) {
            let words = format!("the network handed over for {name} is that of {holder}");
            return Err(refused(words));
        }
        if !netns.is_owned_below() {
            let words = format!(
                "the network handed over for {name} does not belong to a user namespace of its own"
            );
            return Err(refused(words));
        }
        if !netns.may_be_entered() {
            return Err(refused(format!("the network of {name} is out of reach")));
        }
        Ok(())
    }

    fn watch_over(&mut self, place: &NamespaceRef) -> io::Result<()> {
        let netns = self.namespaces.get(place)?;
        if netns.is_owned_below() {
            // Its root could send any number of notifications.
            return Ok(());
        }
        netns.enter()?;
        self.watch.add(place, &self.owner, self.table_in(place))
    }

    /// Gives the host's sysctls that `plan` does not want their former values back.
    pub(crate) fn restore(&mut self, plan: &Namespace) -> io::Result<()> {
        let gone = self.remembered.except(plan);
        if gone.is_empty() {
            return Ok(());
        }
        self.session = None;
        self.enter(&NamespaceRef::Host)?;
        for (path, value) in gone {
            match write_sysctl(&path, &value) {
                // The link is gone, and its settings with it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
            self.remembered.forget(&path)?;
        }
        Ok(())
    }

    /// Moves the thread to a place and takes out a socket there; it is put back for the next operation.
    fn enter(&mut self, place: &NamespaceRef) -> io::Result<Netlink> {
        if let Some((_, netlink)) = self.session.take_if(|(at, _)| at == place) {
            return Ok(netlink);
        }
        let netns = self.namespaces.get(place)?;
        netns.enter()?;
        let netlink = Netlink::route()?;
        if netns.is_owned_below() {
            return Ok(netlink.with_dumps_of_at_most(MOST_OF_OTHERS));
        }
        Ok(netlink)
    }

    fn stay(&mut self, place: &NamespaceRef, netlink: Netlink) {
        self.know(&netlink);
        self.session = Some((place.clone(), netlink));
    }

    fn know(&self, netlink: &Netlink) {
        if let Ok(port) = netlink.port() {
            self.watch.is_mine(port);
        }
    }

    /// What others have disturbed since the last time.
    pub(crate) fn disturbed(&self) -> Disturbed {
        self.watch.take()
    }

    fn table_in(&self, place: &NamespaceRef) -> &str {
        match place {
            NamespaceRef::Host => &self.table,
            NamespaceRef::Named(_) => crate::TABLE,
        }
    }

    fn add_link(&self, netlink: &mut Netlink, name: &str, link: &Link) -> io::Result<()> {
        match &link.kind {
            LinkKind::Veth { peer_place, peer } => {
                let place = self.namespaces.get(peer_place)?;
                rt::add_veth(netlink, name, peer, place.as_fd())?;
                set_link(netlink, name, link)
            }
            _ => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("link {name} is not there"),
            )),
        }
    }
}

/// Another Lath on the same host gives its routes and addresses the same number.
fn only_on_our_links(found: &mut Namespace) {
    let links = &found.links;
    found
        .addresses
        .retain(|address| links.contains_key(&address.dev));
    found.routes.retain(|_, to| match to {
        RouteTo::Dev { dev, .. } => links.contains_key(dev),
        _ => false,
    });
    found.rules.clear();
}

impl Kernel for LinuxKernel {
    fn reaches_host(&self) -> bool {
        self.namespaces.reaches_host()
    }

    fn namespaces(&mut self) -> io::Result<BTreeSet<String>> {
        Ok(self.namespaces.names())
    }

    fn create_namespace(&mut self, name: &str) -> io::Result<()> {
        self.session = None;
        self.namespaces.create(name)?;
        self.watch_over(&NamespaceRef::Named(name.to_owned()))
    }

    fn delete_namespace(&mut self, name: &str) -> io::Result<()> {
        let place = NamespaceRef::Named(name.to_owned());
        self.session = None;
        self.owners.remove(&place);
        self.watch.remove(&place);
        self.namespaces.delete(name)
    }

    fn observe(&mut self, place: &NamespaceRef, wanted: &Namespace) -> io::Result<Namespace> {
        let mut netlink = self.enter(place)?;
        let names = rt::links(&mut netlink)?;
        let mut found = Namespace {
            addresses: rt::addresses(&mut netlink, &names)?,
            routes: rt::routes(&mut netlink, &names)?,
            rules: rt::rules(&mut netlink)?,
            ..Namespace::default()
        };
        for path in wanted.sysctls.keys() {
            if let Some(value) = read_sysctl(path) {
                found.sysctls.insert(path.clone(), value);
            }
        }
        found.links = names
            .into_values()
            .filter(|(name, link)| {
                wanted.links.contains_key(name) || rt::is_ours(link, &self.owner)
            })
            .collect();
        if *place == NamespaceRef::Host || wanted.shared {
            only_on_our_links(&mut found);
        }
        // Instances have no table; asking would load the module into every one of them.
        if wanted.table.is_some() || *place == NamespaceRef::Host {
            found.table = self.table(place, wanted.table.as_ref())?;
        }
        self.stay(place, netlink);
        Ok(found)
    }

    fn perform(&mut self, place: &NamespaceRef, operation: &Operation) -> io::Result<()> {
        let mut netlink = self.enter(place)?;
        let outcome = self.obey(place, &mut netlink, operation);
        self.stay(place, netlink);
        outcome
    }
}

impl LinuxKernel {
    /// On a thread that is in the place.
    fn obey(
        &mut self,
        place: &NamespaceRef,
        netlink: &mut Netlink,
        operation: &Operation,
    ) -> io::Result<()> {
        match operation {
            Operation::SetSysctl(path, value) => {
                if *place == NamespaceRef::Host {
                    self.remembered.note(path, read_sysctl(path))?;
                }
                write_sysctl(path, value)
            }
            Operation::Firewall(table, changes) => self.change_firewall(place, table, changes),
            Operation::AddLink(name, link) => self.add_link(netlink, name, link),
            Operation::SetLink(name, link) => set_link(netlink, name, link),
            Operation::DeleteLink(name) => match index_of(name) {
                Ok(index) => absent_is_fine(rt::delete_link(netlink, index)),
                Err(e) => absent_is_fine(Err(e)),
            },
            Operation::AddAddress(address) => {
                rt::add_address(netlink, index_of(&address.dev)?, address.net)
            }
            Operation::DeleteAddress(address) => match index_of(&address.dev) {
                Ok(index) => absent_is_fine(rt::delete_address(netlink, index, address.net)),
                Err(e) => absent_is_fine(Err(e)),
            },
            Operation::SetRoute(key, to) => {
                let index = match to {
                    RouteTo::Dev { dev, .. } => Some(index_of(dev)?),
                    _ => None,
                };
                if *place == NamespaceRef::Host {
                    self.spare_others(netlink, key)?;
                }
                rt::set_route(netlink, key, to, index)
            }
            Operation::DeleteRoute(key) => absent_is_fine(rt::delete_route(netlink, key)),
            Operation::AddRule(rule) => rt::add_rule(netlink, rule),
            Operation::DeleteRule(rule) => absent_is_fine(rt::delete_rule(netlink, rule)),
        }
    }
}

/// What a socket takes at once without privilege over the host, on a host that changed nothing.
const SMALL_SEND: usize = 64 * 1024;

fn change(netlink: &mut Netlink, table: &str, changes: &[nft::Change]) -> io::Result<()> {
    match netlink.transact(nft::batch(table, changes)) {
        Err(e) if code(&e) == Some(libc::EMSGSIZE) => nft::batches(table, changes, SMALL_SEND)
            .into_iter()
            .try_for_each(|batch| netlink.transact(batch)),
        other => other,
    }
}

/// As the kernel can do it that knows no owned tables.
fn without_owner(changes: &[nft::Change]) -> Vec<nft::Change> {
    let plain = |change: &nft::Change| match change {
        nft::Change::AddTable { .. } => nft::Change::AddTable { owned: false },
        other => other.clone(),
    };
    changes.iter().map(plain).collect()
}

impl LinuxKernel {
    /// In the host's network a route of another Lath is not ours to replace.
    fn spare_others(&self, netlink: &mut Netlink, key: &RouteKey) -> io::Result<()> {
        let names = rt::links(netlink)?;
        let taken = rt::routes(netlink, &names)?.remove(key);
        let Some(RouteTo::Dev { dev, .. }) = taken else {
            return Ok(());
        };
        let link = names.values().find(|(name, _)| *name == dev);
        if link.is_none_or(|(_, link)| rt::is_ours(link, &self.owner)) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "{} leads to another Lath on this host by its link {dev}",
                key.to
            ),
        ))
    }
}

/// Tables, on a thread that is in the place.
impl LinuxKernel {
    fn change_firewall(
        &mut self,
        place: &NamespaceRef,
        table: &str,
        changes: &[nft::Change],
    ) -> io::Result<()> {
        if !self.owns {
            return change(&mut Netlink::netfilter()?, table, &without_owner(changes));
        }
        let netlink = match self.owners.entry(place.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(Netlink::netfilter()?),
        };
        let outcome = change(netlink, table, changes);
        if let Ok(port) = netlink.port() {
            self.watch.is_mine(port);
        }
        if matches!(changes.last(), Some(nft::Change::DeleteTable)) {
            self.owners.remove(place);
        }
        outcome
    }

    /// The table as it is, with its ownership taken over from a predecessor that has ended.
    fn table(
        &mut self,
        place: &NamespaceRef,
        wanted: Option<&nft::Table>,
    ) -> io::Result<Option<nft::Table>> {
        let name = self.table_in(place).to_owned();
        let mut netlink = Netlink::netfilter()?;
        if self.owns {
            self.take_over(place, &name, &mut netlink)?;
        }
        let mut found = nft::read(&mut netlink, &name)?;
        if let (false, Some(found)) = (self.owns, &mut found) {
            found.owned = wanted.is_none_or(|wanted| wanted.owned);
        }
        Ok(found)
    }

    fn take_over(
        &mut self,
        place: &NamespaceRef,
        name: &str,
        netlink: &mut Netlink,
    ) -> io::Result<()> {
        match nft::holder(netlink, name)? {
            Some(nft::Holder::Nobody) => {
                let mut owner = Netlink::netfilter()?;
                owner.transact(nft::taken_over(name))?;
                self.know(&owner);
                self.owners.insert(place.clone(), owner);
                Ok(())
            }
            Some(nft::Holder::Port(port)) if !self.holds(place, port) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "the table {name} belongs to another process (netlink port {port}): is another \
                     Lath with this data directory running?"
                ),
            )),
            _ => Ok(()),
        }
    }

    fn holds(&self, place: &NamespaceRef, port: u32) -> bool {
        let owner = self.owners.get(place);
        owner.is_some_and(|owner| owner.port().is_ok_and(|own| own == port))
    }
}

fn set_link(netlink: &mut Netlink, name: &str, link: &Link) -> io::Result<()> {
    rt::set_link(netlink, index_of(name)?, link)
}

/// A link's index in the namespace that the thread is in.
fn index_of(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}

/// What should go may have gone with something else, such as routes with their link.
fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    const ABSENT: [i32; 4] = [libc::ENOENT, libc::ESRCH, libc::ENODEV, libc::EADDRNOTAVAIL];
    match outcome {
        Err(e) if code(&e).is_some_and(|code| ABSENT.contains(&code)) => Ok(()),
        other => other,
    }
}

/// `/proc/thread-self/net` and `/proc/sys/net` show the namespace of the thread that opens them.
fn read_sysctl(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/proc/sys/net").join(path)).ok()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn write_sysctl(path: &str, value: &str) -> io::Result<()> {
    match std::fs::write(Path::new("/proc/sys/net").join(path), value) {
        // A kernel without IPv6 has nothing to switch off.
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.starts_with("ipv6/") => Ok(()),
        other => other,
    }
}
