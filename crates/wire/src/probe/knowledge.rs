//! What the runs have shown so far.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;

use crate::Shape;
use crate::shape::Member;

/// A place in a type: member and variant names, [`LIST`] and [`MAP`].
pub(super) type Path = Vec<&'static str>;

pub(super) const LIST: &str = "[]";
pub(super) const MAP: &str = "{}";

/// Values that newtypes may like, tried in order.
const TEXTS: &[&str] = &[
    "text",
    "1",
    "",
    "arn:aws:service:us-east-1:123456789012:thing/one",
    "10.0.0.0/16",
    "10.0.0.1",
    "us-east-1",
    "us-east-1a",
    "2020-01-01T00:00:00Z",
    "true",
    "{}",
];

const NUMBERS: &[i64] = &[1, 0, 80, 100, 200, 1024];

#[derive(Debug, Clone)]
enum Kind {
    Leaf(Shape),
    List,
    Map,
    Struct {
        name: &'static str,
        members: Vec<&'static str>,
    },
    Enum {
        variants: &'static [&'static str],
        contents: Vec<Option<Content>>,
    },
    Recursive(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Bare,
    Filled,
}

#[derive(Debug, Default)]
struct Known {
    kind: Option<Kind>,
    optional: bool,
    required: bool,
    candidate: usize,
    /// The member refuses every candidate: it is not fed.
    left_out: bool,
    /// The list, map or option stays empty: what it holds refuses every candidate, or is itself.
    empty: bool,
    /// A second name of another member.
    alias: bool,
    turn: usize,
}

#[derive(Debug, Default)]
pub(super) struct Knowledge {
    places: RefCell<HashMap<Path, Known>>,
    news: Cell<bool>,
    last_leaf: RefCell<Option<Path>>,
    omitted: RefCell<Option<Path>>,
}

/// Why a run ended early.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) missing: Option<&'static str>,
    pub(super) duplicate: bool,
    /// Something was learnt from it already.
    pub(super) handled: bool,
    pub(super) within: Option<Path>,
}

impl Stopped {
    pub(super) fn plain() -> Self {
        Self {
            missing: None,
            duplicate: false,
            handled: false,
            within: None,
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the made-up value was refused")
    }
}

impl std::error::Error for Stopped {}

impl serde::de::Error for Stopped {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::plain()
    }
    fn missing_field(field: &'static str) -> Self {
        Self {
            missing: Some(field),
            ..Self::plain()
        }
    }
    fn duplicate_field(_: &'static str) -> Self {
        Self {
            duplicate: true,
            ..Self::plain()
        }
    }
}

fn id_candidates() -> impl Iterator<Item = String> {
    const PREFIXES: &[&str] = &[
        "vpc",
        "subnet",
        "rtb",
        "rtbassoc",
        "igw",
        "sg",
        "sgr",
        "pl",
        "i",
        "r",
        "eni",
        "eni-attach",
        "ami",
        "key",
        "eipalloc",
        "eipassoc",
        "vol",
        "dopt",
        "acl",
        "sn",
        "svc",
        "listener",
        "rule",
        "tg",
        "snva",
        "snsa",
        "als",
    ];
    PREFIXES
        .iter()
        .map(|prefix| format!("{prefix}-0123456789abcdef0"))
}

impl Knowledge {
    fn at<T>(&self, path: &Path, work: impl FnOnce(&mut Known) -> T) -> T {
        work(self.places.borrow_mut().entry(path.clone()).or_default())
    }

    fn note(&self, path: &Path, kind: impl FnOnce() -> Kind) {
        let fresh = self.at(path, |known| {
            let fresh = known.kind.is_none();
            if fresh {
                known.kind = Some(kind());
            }
            fresh
        });
        if fresh {
            self.news.set(true);
        }
    }

    pub(super) fn take_news(&self) -> bool {
        self.news.replace(false)
    }

    // === what a run sees ===

    pub(super) fn saw_leaf(&self, path: &Path, shape: Shape) {
        self.note(path, || Kind::Leaf(shape));
        *self.last_leaf.borrow_mut() = Some(path.clone());
    }

    pub(super) fn saw_option(&self, path: &Path) {
        self.at(path, |known| known.optional = true);
    }

    pub(super) fn saw_list(&self, path: &Path) {
        self.note(path, || Kind::List);
    }

    pub(super) fn saw_map(&self, path: &Path) {
        self.note(path, || Kind::Map);
    }

    pub(super) fn saw_struct(
        &self,
        path: &Path,
        name: &'static str,
        members: &'static [&'static str],
    ) {
        self.note(path, || Kind::Struct {
            name,
            members: members.to_vec(),
        });
    }

    pub(super) fn saw_recursion(&self, path: &Path, name: &'static str) {
        self.note(path, || Kind::Recursive(name));
    }

    pub(super) fn saw_enum(&self, path: &Path, variants: &'static [&'static str]) {
        self.note(path, || Kind::Enum {
            variants,
            contents: vec![None; variants.len()],
        });
    }

    pub(super) fn saw_content(&self, path: &Path, variant: &'static str, content: Content) {
        let fresh = self.at(path, |known| match &mut known.kind {
            Some(Kind::Enum { variants, contents }) => {
                let at = variants.iter().position(|name| *name == variant);
                at.is_some_and(|at| contents[at].replace(content).is_none())
            }
            _ => false,
        });
        if fresh {
            self.news.set(true);
        }
    }

    pub(super) fn saw_alias(&self, path: &Path) {
        self.news.set(true);
        self.at(path, |known| {
            known.alias = true;
            known.left_out = true;
        });
    }

    // === what a run is fed ===

    pub(super) fn text(&self, path: &Path) -> String {
        let candidate = self.at(path, |known| known.candidate);
        let all = TEXTS.iter().map(|text| (*text).to_owned());
        all.chain(id_candidates())
            .nth(candidate)
            .unwrap_or_default()
    }

    pub(super) fn number(&self, path: &Path) -> i64 {
        let candidate = self.at(path, |known| known.candidate);
        NUMBERS.get(candidate).copied().unwrap_or(1)
    }

    pub(super) fn fills(&self, path: &Path) -> bool {
        !self.at(path, |known| known.empty)
    }

    pub(super) fn feeds(&self, path: &Path) -> bool {
        let omitted = self.omitted.borrow().as_ref() == Some(path);
        !omitted && !self.at(path, |known| known.left_out)
    }

    /// The variant to choose this time: the one on the way to the omitted member, else each in turn.
    pub(super) fn variant(
        &self,
        path: &Path,
        variants: &'static [&'static str],
    ) -> Option<&'static str> {
        let omitted = self.omitted.borrow();
        let towards = omitted
            .as_ref()
            .filter(|omitted| omitted.starts_with(path))
            .and_then(|omitted| omitted.get(path.len()));
        if let Some(name) = towards {
            return Some(name);
        }
        let turn = self.at(path, |known| {
            known.turn += 1;
            known.turn - 1
        });
        variants.get(turn.checked_rem(variants.len())?).copied()
    }

    // === what is learnt from a refusal ===

    /// A member refused its value: try another one, or leave it out.
    pub(super) fn refused(&self, member: &Path) {
        self.news.set(true);
        let leaf = self.last_leaf.borrow().clone();
        let leaf = leaf.filter(|leaf| leaf.starts_with(member));
        let another = leaf.is_some_and(|leaf| {
            self.at(&leaf, |known| {
                let most = match known.kind {
                    Some(Kind::Leaf(Shape::String)) => TEXTS.len() + id_candidates().count(),
                    Some(Kind::Leaf(Shape::Integer)) => NUMBERS.len(),
                    _ => 0,
                };
                known.candidate += 1;
                known.candidate < most
            })
        });
        if !another {
            self.give_up(member);
        }
    }

    /// A member cannot be had: it stays empty where it can, else it is not fed.
    pub(super) fn give_up(&self, member: &Path) {
        self.news.set(true);
        self.at(member, |known| {
            let holds = known.optional || matches!(known.kind, Some(Kind::List | Kind::Map));
            if holds && !known.empty {
                known.empty = true;
            } else {
                known.left_out = true;
            }
        });
    }

    pub(super) fn stay_empty(&self, path: &Path) {
        self.news.set(true);
        self.at(path, |known| known.empty = true);
    }

    // === what is asked afterwards ===

    pub(super) fn has_unseen_variants(&self) -> bool {
        let unseen = |known: &Known| match &known.kind {
            Some(Kind::Enum { contents, .. }) => contents.iter().any(Option::is_none),
            _ => false,
        };
        self.places.borrow().values().any(unseen)
    }

    /// The members that may be required.
    pub(super) fn perhaps_required(&self) -> Vec<Path> {
        let places = self.places.borrow();
        let mut paths = Vec::new();
        for (path, known) in places.iter() {
            let Some(Kind::Struct { members, .. }) = &known.kind else {
                continue;
            };
            for name in members {
                let mut member = path.clone();
                member.push(name);
                let optional = places.get(&member).is_some_and(|m| m.optional || m.alias);
                if !optional {
                    paths.push(member);
                }
            }
        }
        paths.sort();
        paths
    }

    pub(super) fn leave_out(&self, path: Option<&Path>) {
        *self.omitted.borrow_mut() = path.cloned();
    }

    pub(super) fn leaves_out_within(&self, path: &Path) -> bool {
        let omitted = self.omitted.borrow();
        omitted
            .as_ref()
            .is_some_and(|omitted| omitted.starts_with(path))
    }

    /// Whether a run without the member has settled if it is required.
    pub(super) fn judge(&self, path: &Path, outcome: Option<Stopped>) -> bool {
        let Some(stopped) = outcome else {
            return true;
        };
        let required = stopped.missing.is_some()
            && stopped.missing == path.last().copied()
            && stopped.within.as_deref() == path.get(..path.len() - 1);
        if required {
            self.at(path, |known| known.required = true);
        }
        required
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape_at(&mut Vec::new())
    }

    fn shape_at(&self, path: &mut Path) -> Shape {
        let kind = self
            .places
            .borrow()
            .get(path)
            .and_then(|known| known.kind.clone());
        match kind {
            None => Shape::Any,
            Some(Kind::Leaf(shape)) => shape,
            Some(Kind::Recursive(name)) => Shape::Recursive(name),
            Some(Kind::List) => Shape::List(Box::new(self.inner(path, LIST))),
            Some(Kind::Map) => Shape::Map(Box::new(self.inner(path, MAP))),
            Some(Kind::Struct { name, members }) => Shape::Struct {
                name,
                members: self.members(path, &members),
            },
            Some(Kind::Enum { variants, contents }) => self.enumeration(path, variants, &contents),
        }
    }

    fn inner(&self, path: &mut Path, name: &'static str) -> Shape {
        path.push(name);
        let shape = self.shape_at(path);
        path.pop();
        shape
    }

    fn members(&self, path: &mut Path, names: &[&'static str]) -> Vec<Member> {
        let mut members = Vec::new();
        for name in names {
            path.push(name);
            let (alias, required) = self
                .places
                .borrow()
                .get(path)
                .map_or((false, false), |known| (known.alias, known.required));
            if !alias {
                members.push(Member {
                    name,
                    required,
                    shape: self.shape_at(path),
                });
            }
            path.pop();
        }
        members
    }

    fn enumeration(
        &self,
        path: &mut Path,
        variants: &'static [&'static str],
        contents: &[Option<Content>],
    ) -> Shape {
        let (mut values, mut filled) = (Vec::new(), Vec::new());
        for (name, content) in variants.iter().zip(contents) {
            match content {
                Some(Content::Filled) => filled.push(*name),
                _ => values.push(*name),
            }
        }
        Shape::Enum {
            values,
            members: self.members(path, &filled),
        }
    }
}
