//! What the model of sts 2011-06-15 says of the values of requests. Written by `cargo xtask constraints`.

use lath_wire::constraint::Rule::{Free, List, Members, Number, Secret, Text};
use lath_wire::constraint::{Constraints, HIGH, LOW, Rule};

/// The table.
pub(crate) const CONSTRAINTS: Constraints = Constraints {
    operations: OPERATIONS,
    rules: RULES,
    patterns: PATTERNS,
};

#[rustfmt::skip]
const OPERATIONS: &[(&str, u16)] = &[
    ("AssumeRole", 1),
    ("AssumeRoleWithWebIdentity", 19),
    ("DecodeAuthorizationMessage", 22),
    ("GetAccessKeyInfo", 24),
    ("GetSessionToken", 26),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Free,
    Members(&[("RoleArn", 2), ("RoleSessionName", 3), ("PolicyArns", 4), ("Policy", 6), ("DurationSeconds", 7), ("Tags", 8), ("TransitiveTagKeys", 12), ("ExternalId", 13), ("SerialNumber", 14), ("TokenCode", 15), ("SourceIdentity", 3), ("ProvidedContexts", 16)]),
    Text(20, 2048, 1),
    Text(2, 64, 2),
    List(LOW, HIGH, 5),
    Members(&[("arn", 2)]),
    Text(1, HIGH, 3),
    Number(900, 43200),
    List(LOW, 50, 9),
    Members(&[("Key", 10), ("Value", 11)]),
    Text(1, 128, 4),
    Text(0, 256, 5),
    List(LOW, 50, 10),
    Text(2, 1224, 6),
    Text(9, 256, 7),
    Text(6, 6, 8),
    List(1, 5, 17),
    Members(&[("ProviderArn", 2), ("ContextAssertion", 18)]),
    Text(4, 2048, 0),
    Members(&[("RoleArn", 2), ("RoleSessionName", 3), ("WebIdentityToken", 20), ("ProviderId", 18), ("PolicyArns", 4), ("Policy", 21), ("DurationSeconds", 7)]),
    Secret(4, 20000, 0),
    Text(1, 2048, 3),
    Members(&[("EncodedMessage", 23)]),
    Text(1, 10240, 0),
    Members(&[("AccessKeyId", 25)]),
    Text(16, 128, 9),
    Members(&[("DurationSeconds", 27), ("SerialNumber", 14), ("TokenCode", 15)]),
    Number(900, 129600),
];

#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "",
    r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]+",
    r"[\w+=,.@-]*",
    r"[\u0009\u000A\u000D\u0020-\u00FF]+",
    r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+",
    r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*",
    r"[\w+=,.@:\/-]*",
    r"[\w+=/:,.@-]*",
    r"[\d]*",
    r"[\w]*",
];
