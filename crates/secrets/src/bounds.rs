//! What the model of secretsmanager 2017-10-17 says of the values of requests. Written by `cargo xtask constraints`.

use lath_wire::constraint::Rule::{Free, Members, Number, Text};
use lath_wire::constraint::{Constraints, Rule};

/// The table.
pub(crate) const CONSTRAINTS: Constraints = Constraints {
    operations: OPERATIONS,
    rules: RULES,
    patterns: PATTERNS,
};

#[rustfmt::skip]
const OPERATIONS: &[(&str, u16)] = &[
    ("GetRandomPassword", 1),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Free,
    Members(&[("PasswordLength", 2), ("ExcludeCharacters", 3)]),
    Number(1, 4096),
    Text(0, 4096, 0),
];

#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "",
];
