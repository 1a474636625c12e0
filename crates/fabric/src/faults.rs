//! Faults for drills: packets that are dropped for a while in one network namespace.
//!
//! Each fault is an element, with a timeout, of a set in a table of its own. The kernel ends it, so no
//! process has to live until then. The fabric's diffs never touch the table; it goes with its namespace.
//!
//! ```no_run
//! use std::time::Duration;
//! use lath_fabric::{Fault, Faults, Netns, wan};
//!
//! # fn example(run_dir: &std::path::Path, place: &lath_feed::RegionPlace) -> std::io::Result<()> {
//! let wan = Netns::open(&run_dir.join("netns").join(wan::SPACE))?;
//! Faults::in_namespace(wan).for_duration(&Fault::Link(wan::link(place)), Duration::from_secs(10))?;
//! # Ok(()) }
//! ```

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::netlink::{Netlink, code};
use crate::netns::Netns;
use crate::nft::{
    self, Chain, ChainKind, Change, Hook, Key, KeyType, Part, Rule, Set, Table, Value, Verdict,
};

/// The name of the table.
pub const TABLE: &str = "lath_faults";
/// The longest that a fault may last.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

const LINKS: &str = "links";
const ADDRESSES: &str = "addresses";
const PAIRS: &str = "pairs";
/// Before connection tracking and every other table.
const FIRST: i32 = -400;
/// After source translation.
const LAST: i32 = 400;
/// How often a change is tried again that met another's, or an end.
const ATTEMPTS: usize = 5;

/// What is broken. IPv4 only: nothing else is carried between namespaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing comes in or goes out by this link.
    Link(String),
    /// Nothing comes from or goes to this address, as it is before any translation.
    Address(Ipv4Addr),
    /// Nothing is forwarded between these two links, either way.
    Between(String, String),
}

/// The faults of one namespace. All calls block for about a millisecond.
#[derive(Debug, Clone)]
pub struct Faults {
    netns: Netns,
}

impl Faults {
    /// In a namespace over which this process has privilege: any for root, and otherwise those that were
    /// made in its user namespace.
    pub fn in_namespace(netns: Netns) -> Self {
        Self { netns }
    }

    /// Breaks something from now on for this long (1 ms to [`LONGEST`]). What is broken already gets this
    /// time in place of what was left.
    ///
    /// # Errors
    /// `InvalidInput` for other durations and for names that no link can have, or what the kernel said.
    pub fn for_duration(&self, fault: &Fault, duration: Duration) -> io::Result<()> {
        check(fault, duration)?;
        self.change(fault, Some(duration))
    }

    /// Ends one fault; one that is not there is no error.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn end(&self, fault: &Fault) -> io::Result<()> {
        self.change(fault, None)
    }

    /// Ends all faults here and leaves nothing.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn clear(&self) -> io::Result<()> {
        self.netns.run(|| {
            let outcome = Netlink::netfilter()?.transact(nft::batch(TABLE, &[Change::DeleteTable]));
            match outcome {
                Err(e) if code(&e) == Some(libc::ENOENT) => Ok(()),
                other => other,
            }
        })
    }

    /// What is broken, and for how much longer.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn list(&self) -> io::Result<Vec<(Fault, Duration)>> {
        let sets = self
            .netns
            .run(|| nft::remaining(&mut Netlink::netfilter()?, TABLE))?;
        let keys = sets.into_values().flatten();
        let mut all: Vec<_> = keys
            .filter_map(|(key, left)| Some((fault(key)?, left)))
            .collect();
        all.sort();
        // A pair stands in both directions.
        all.dedup_by(|later, first| later.0 == first.0);
        Ok(all)
    }

    fn change(&self, fault: &Fault, duration: Option<Duration>) -> io::Result<()> {
        let mut last = Ok(());
        for _ in 0..ATTEMPTS {
            last = self.netns.run(|| try_change(fault, duration));
            match &last {
                // An element ended, or another process made the table, between looking and doing.
                Err(e) if matches!(code(e), Some(libc::ENOENT | libc::EEXIST)) => {}
                _ => break,
            }
        }
        last
    }
}

fn check(fault: &Fault, duration: Duration) -> io::Result<()> {
    let fits = |name: &String| {
        (1..=crate::name::LINK_MAX).contains(&name.len()) && !name.contains(['/', '\0', ' '])
    };
    let named = match fault {
        Fault::Link(name) => fits(name),
        Fault::Between(one, other) => fits(one) && fits(other),
        Fault::Address(_) => true,
    };
    if named && (Duration::from_millis(1)..=LONGEST).contains(&duration) {
        return Ok(());
    }
    let words = format!("no fault: {fault:?} for {duration:?}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, words))
}

/// On a thread in the namespace.
fn try_change(fault: &Fault, duration: Option<Duration>) -> io::Result<()> {
    let mut netlink = Netlink::netfilter()?;
    let known = nft::read(&mut netlink, TABLE)?;
    let mut changes = match (&known, duration) {
        (Some(_), _) => Vec::new(),
        (None, Some(_)) => nft::changes(None, Some(&table())),
        (None, None) => return Ok(()),
    };
    let (set, keys) = elements(fault);
    let there = known.as_ref().and_then(|table| table.sets.get(set));
    let old: Vec<_> = keys
        .iter()
        .filter(|key| there.is_some_and(|set| set.elements.contains_key(*key)))
        .map(|key| (key.clone(), Value::None))
        .collect();
    if !old.is_empty() {
        changes.push(Change::DeleteElements(set.into(), old));
    }
    if let Some(duration) = duration {
        let timed = keys.into_iter().map(|key| (key, duration)).collect();
        changes.push(Change::AddTimed(set.into(), timed));
    }
    if changes.is_empty() {
        return Ok(());
    }
    netlink.transact(nft::batch(TABLE, &changes))
}

fn elements(fault: &Fault) -> (&'static str, Vec<Key>) {
    match fault {
        Fault::Link(name) => (LINKS, vec![Key::Link(name.clone())]),
        Fault::Address(address) => (ADDRESSES, vec![Key::Address(*address)]),
        Fault::Between(one, other) => {
            let pair = |a: &String, b: &String| Key::Links(a.clone(), b.clone());
            let mut keys = vec![pair(one, other), pair(other, one)];
            keys.dedup();
            (PAIRS, keys)
        }
    }
}

fn fault(key: Key) -> Option<Fault> {
    Some(match key {
        Key::Link(name) => Fault::Link(name),
        Key::Address(address) => Fault::Address(address),
        Key::Links(one, other) if one <= other => Fault::Between(one, other),
        Key::Links(one, other) => Fault::Between(other, one),
        _ => return None,
    })
}

fn table() -> Table {
    let timed = |key| Set {
        timed: true,
        ..Set::new(key)
    };
    let rule = |part| Rule::new([part, Part::Verdict(Verdict::Drop)]);
    let address = || {
        [
            rule(Part::SourceIn(ADDRESSES.into())),
            rule(Part::DestinationIn(ADDRESSES.into())),
        ]
    };
    let mut before = vec![rule(Part::IifIn(LINKS.into()))];
    before.extend(address());
    let mut after = vec![rule(Part::OifIn(LINKS.into()))];
    after.extend(address());
    let between = vec![rule(Part::LinksIn(PAIRS.into()))];
    let chain = |hook, priority, rules| Chain::base(ChainKind::Filter, hook, priority, true, rules);
    let mut table = Table::new(TABLE);
    // Every drill changes it, and the next one too.
    table.owned = false;
    table.sets.extend([
        (LINKS.to_owned(), timed(KeyType::Link)),
        (ADDRESSES.to_owned(), timed(KeyType::Address)),
        (PAIRS.to_owned(), timed(KeyType::Links)),
    ]);
    table.chains.extend([
        ("before".to_owned(), chain(Hook::Prerouting, FIRST, before)),
        ("between".to_owned(), chain(Hook::Forward, FIRST, between)),
        ("after".to_owned(), chain(Hook::Postrouting, LAST, after)),
    ]);
    table
}
