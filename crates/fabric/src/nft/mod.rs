//! nf_tables as data: tables, sets, maps, chains and rules, and their netlink form.
//!
//! Sets and maps are compared element by element and rules by their text, which is stored with each
//! rule as its comment, so that `nft list ruleset` explains itself and a diff needs no decompiler.

mod change;
mod encode;
mod kernel;
mod rule;
mod set;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use change::{Change, changes, widened};
pub(crate) use encode::{batch, batches, taken_over};
pub(crate) use kernel::{Holder, holder, read, remaining, table_of};
pub use rule::{CtState, Part, Rule, Verdict};
pub use set::{Element, Key, KeyType, Set, Value, ValueType, disjoint};

/// A table of family `ip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name: the owner's mark.
    pub name: String,
    /// Sets and maps by name.
    pub sets: BTreeMap<String, Set>,
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// What rules may give connections.
    pub timeouts: BTreeSet<Timeout>,
    /// Whether only the process that made it can change or remove it: `nft flush ruleset` passes it by. It
    /// stays when that process ends, and its successor takes it over. Where the kernel knows no such tables
    /// (before 6.9) a wanted one counts as owned.
    pub owned: bool,
}

/// When an idle connection of a protocol ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout {
    /// TCP (6) or UDP (17).
    pub protocol: u8,
    /// Without a packet.
    pub seconds: u32,
}

/// A chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where the kernel enters it; `None`: only by a jump.
    pub base: Option<Base>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// A base chain's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Filter or NAT.
    pub kind: ChainKind,
    /// The hook.
    pub hook: Hook,
    /// Lower ones are entered first.
    pub priority: i32,
    /// Whether what no rule decided is accepted.
    pub accept: bool,
}

/// A base chain's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// `filter`.
    Filter,
    /// `nat`.
    Nat,
}

/// A netfilter hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// Bound for the router itself.
    Input,
    /// Passing through.
    Forward,
    /// From the router itself.
    Output,
    /// After routing.
    Postrouting,
}

impl Table {
    /// An empty table that no other process can change.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sets: BTreeMap::new(),
            chains: BTreeMap::new(),
            timeouts: BTreeSet::new(),
            owned: true,
        }
    }
}

impl Timeout {
    /// Its name in a table, which says all of it.
    pub fn name(&self) -> String {
        format!("idle_{}_{}", self.protocol, self.seconds)
    }

    fn parse(name: &str) -> Option<Self> {
        let (protocol, seconds) = name.strip_prefix("idle_")?.split_once('_')?;
        Some(Self {
            protocol: protocol.parse().ok()?,
            seconds: seconds.parse().ok()?,
        })
    }
}

impl Chain {
    /// A chain that is entered by jumps.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { base: None, rules }
    }

    /// A chain that the kernel enters.
    pub fn base(
        kind: ChainKind,
        hook: Hook,
        priority: i32,
        accept: bool,
        rules: Vec<Rule>,
    ) -> Self {
        Self {
            base: Some(Base {
                kind,
                hook,
                priority,
                accept,
            }),
            rules,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {}", self.name)?;
        for (name, set) in &self.sets {
            writeln!(f, "  set {name} {set}")?;
            for (key, value) in &set.elements {
                writeln!(f, "    {key}{value}")?;
            }
        }
        for timeout in &self.timeouts {
            writeln!(f, "  timeout {}", timeout.name())?;
        }
        for (name, chain) in &self.chains {
            writeln!(f, "  chain {name}{chain}")?;
            for rule in &chain.rules {
                writeln!(f, "    {rule}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.base.map_or(Ok(()), |base| {
            let kind = if base.kind == ChainKind::Nat {
                "nat"
            } else {
                "filter"
            };
            let hook = format!("{:?}", base.hook).to_lowercase();
            let policy = if base.accept { "accept" } else { "drop" };
            write!(f, " {kind} {hook} {} policy {policy}", base.priority)
        })
    }
}
