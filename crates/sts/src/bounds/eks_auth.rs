//! What the model of eks-auth 2023-11-26 says of the values of requests. Written by `cargo xtask constraints`.

use lath_wire::constraint::Rule::{Free, Members, Secret, Text};
use lath_wire::constraint::{Constraints, HIGH, Rule};

/// The table.
pub(crate) const CONSTRAINTS: Constraints = Constraints {
    operations: OPERATIONS,
    rules: RULES,
    patterns: PATTERNS,
};

#[rustfmt::skip]
const OPERATIONS: &[(&str, u16)] = &[
    ("AssumeRoleForPodIdentity", 1),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Free,
    Members(&[("clusterName", 2), ("token", 3)]),
    Text(1, 100, 1),
    Secret(1, HIGH, 2),
];

#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "",
    r"[0-9A-Za-z][A-Za-z0-9\-_]*",
    r"[A-Za-z0-9-_=]+\.[A-Za-z0-9-_=]+\.[A-Za-z0-9-_=]+",
];
