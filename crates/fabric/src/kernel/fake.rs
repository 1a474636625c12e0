//! A kernel in memory: tables of tests read what `apply` made of it as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use crate::kernel::Kernel;
use crate::nft::{Chain, Change, Table};
use crate::operation::Operation;
use crate::plan::{Link, LinkKind, Namespace, NamespaceRef};

/// Obeys operations as Linux does, as far as the fabric can tell: a link's addresses and routes go with
/// it, a veth's ends go together, and a transaction that cannot be done changes nothing.
#[derive(Debug, Clone, Default)]
pub struct FakeKernel {
    /// What is in each namespace.
    pub places: BTreeMap<String, Namespace>,
    /// Everything that was done, as `PLACE: OPERATION`.
    pub log: Vec<String>,
    /// Operations whose text contains one of these fail.
    pub refuses: Vec<String>,
    /// How many more changes succeed; `None`: all.
    pub budget: Option<usize>,
}

impl FakeKernel {
    /// A host and nothing else.
    pub fn new() -> Self {
        let places = BTreeMap::from([("host".to_owned(), Namespace::default())]);
        Self {
            places,
            ..Self::default()
        }
    }

    fn place(&mut self, place: &NamespaceRef) -> io::Result<&mut Namespace> {
        self.places
            .get_mut(&place.to_string())
            .ok_or_else(|| not_found(&place.to_string()))
    }

    fn spend(&mut self) -> io::Result<()> {
        match &mut self.budget {
            Some(0) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn add_link(&mut self, place: &NamespaceRef, name: &str, link: &Link) -> io::Result<()> {
        let LinkKind::Veth { peer_place, peer } = &link.kind else {
            return Err(not_found(name));
        };
        let end = Link {
            kind: LinkKind::Peer,
            mac: None,
            mtu: None,
            alias: None,
            up: false,
        };
        self.place(peer_place)?.links.insert(peer.clone(), end);
        self.place(place)?
            .links
            .insert(name.to_owned(), link.clone());
        Ok(())
    }

    fn delete_link(&mut self, place: &NamespaceRef, name: &str) -> io::Result<()> {
        let namespace = self.place(place)?;
        let Some(link) = namespace.links.remove(name) else {
            return Ok(());
        };
        forget_link(namespace, name);
        if let LinkKind::Veth { peer_place, peer } = link.kind
            && let Ok(other) = self.place(&peer_place)
        {
            other.links.remove(&peer);
            forget_link(other, &peer);
        }
        Ok(())
    }
}

fn forget_link(namespace: &mut Namespace, name: &str) {
    namespace.addresses.retain(|address| address.dev != name);
    namespace
        .routes
        .retain(|_, to| !matches!(to, crate::plan::RouteTo::Dev { dev, .. } if dev == name));
}

fn not_found(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{what} is not there"))
}

impl Kernel for FakeKernel {
    fn namespaces(&mut self) -> io::Result<BTreeSet<String>> {
        Ok(self
            .places
            .keys()
            .filter(|name| *name != "host")
            .cloned()
            .collect())
    }

    fn create_namespace(&mut self, name: &str) -> io::Result<()> {
        self.spend()?;
        self.log.push(format!("create {name}"));
        let mut namespace = Namespace::with_loopback();
        namespace.links.values_mut().for_each(|lo| lo.up = false);
        self.places.entry(name.to_owned()).or_insert(namespace);
        Ok(())
    }

    fn delete_namespace(&mut self, name: &str) -> io::Result<()> {
        self.spend()?;
        self.log.push(format!("delete {name}"));
        let links: Vec<String> = self
            .places
            .get(name)
            .map(|n| n.links.keys().cloned().collect())
            .unwrap_or_default();
        for link in links {
            self.delete_link(&NamespaceRef::Named(name.to_owned()), &link)?;
        }
        self.places.remove(name);
        Ok(())
    }

    fn observe(&mut self, place: &NamespaceRef, wanted: &Namespace) -> io::Result<Namespace> {
        let mut found = self.place(place)?.clone();
        found
            .sysctls
            .retain(|path, _| wanted.sysctls.contains_key(path));
        Ok(found)
    }

    fn perform(&mut self, place: &NamespaceRef, operation: &Operation) -> io::Result<()> {
        let text = operation.to_string();
        if self.refuses.iter().any(|refused| text.contains(refused)) {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        self.spend()?;
        self.log.push(format!("{place}: {text}"));
        match operation {
            Operation::AddLink(name, link) => return self.add_link(place, name, link),
            Operation::DeleteLink(name) => return self.delete_link(place, name),
            _ => {}
        }
        let namespace = self.place(place)?;
        match operation.clone() {
            Operation::SetSysctl(path, value) => drop(namespace.sysctls.insert(path, value)),
            Operation::Firewall(table, changes) => {
                namespace.table = transact(namespace.table.take(), &table, &changes);
            }
            Operation::SetLink(name, link) => drop(namespace.links.insert(name, link)),
            Operation::AddAddress(address) => drop(namespace.addresses.insert(address)),
            Operation::DeleteAddress(address) => drop(namespace.addresses.remove(&address)),
            Operation::SetRoute(key, to) => drop(namespace.routes.insert(key, to)),
            Operation::DeleteRoute(key) => drop(namespace.routes.remove(&key)),
            Operation::AddRule(rule) => drop(namespace.rules.insert(rule)),
            Operation::DeleteRule(rule) => drop(namespace.rules.remove(&rule)),
            Operation::AddLink(..) | Operation::DeleteLink(_) => {}
        }
        Ok(())
    }
}

fn transact(mut table: Option<Table>, name: &str, changes: &[Change]) -> Option<Table> {
    for change in changes {
        match change {
            Change::AddTable { owned } => {
                table = Some(Table {
                    owned: *owned,
                    ..Table::new(name)
                })
            }
            Change::DeleteTable => table = None,
            other => change_table(table.as_mut()?, other),
        }
    }
    table
}

fn change_table(table: &mut Table, change: &Change) {
    match change.clone() {
        Change::AddTable { .. } | Change::DeleteTable => {}
        Change::AddSet(name, set) => drop(table.sets.insert(name, set)),
        Change::AddTimeout(timeout) => drop(table.timeouts.insert(timeout)),
        Change::DeleteTimeout(timeout) => drop(table.timeouts.remove(&timeout)),
        Change::DeleteSet(name) => drop(table.sets.remove(&name)),
        Change::AddChain(name, base) => {
            table.chains.insert(
                name,
                Chain {
                    base,
                    rules: Vec::new(),
                },
            );
        }
        Change::DeleteChain(name) => drop(table.chains.remove(&name)),
        Change::FlushChain(name) => {
            table.chains.entry(name).or_default().rules.clear();
        }
        Change::AddRule(name, rule) => table.chains.entry(name).or_default().rules.push(rule),
        Change::FlushSet(name) => {
            if let Some(set) = table.sets.get_mut(&name) {
                set.elements.clear();
            }
        }
        Change::DeleteElements(name, gone) => {
            if let Some(set) = table.sets.get_mut(&name) {
                gone.iter()
                    .for_each(|(key, _)| drop(set.elements.remove(key)));
            }
        }
        Change::AddTimed(name, new) => {
            if let Some(set) = table.sets.get_mut(&name) {
                new.into_iter().for_each(|(key, _)| set.insert(key));
            }
        }
        Change::AddElements(name, new) => {
            if let Some(set) = table.sets.get_mut(&name) {
                set.elements.extend(new);
            }
        }
    }
}

impl fmt::Display for FakeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, namespace) in &self.places {
            writeln!(f, "[{name}]\n{namespace}")?;
        }
        Ok(())
    }
}
