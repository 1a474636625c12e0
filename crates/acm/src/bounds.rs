//! What the model of acm 2015-12-08 says of the values of requests. Written by `cargo xtask constraints`.

use lath_wire::constraint::Rule::{Bytes, Free, List, Members, Number, Text};
use lath_wire::constraint::{Constraints, HIGH, Rule};

/// The table.
pub(crate) const CONSTRAINTS: Constraints = Constraints {
    operations: OPERATIONS,
    rules: RULES,
    patterns: PATTERNS,
};

#[rustfmt::skip]
const OPERATIONS: &[(&str, u16)] = &[
    ("AddTagsToCertificate", 1),
    ("DeleteCertificate", 7),
    ("DescribeCertificate", 7),
    ("ExportCertificate", 8),
    ("GetCertificate", 7),
    ("ImportCertificate", 10),
    ("ListCertificates", 14),
    ("ListTagsForCertificate", 7),
    ("PutAccountConfiguration", 17),
    ("RemoveTagsFromCertificate", 1),
    ("RenewCertificate", 7),
    ("RequestCertificate", 21),
    ("ResendValidationEmail", 27),
    ("RevokeCertificate", 7),
    ("UpdateCertificateOptions", 7),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Free,
    Members(&[("CertificateArn", 2), ("Tags", 3)]),
    Text(20, 2048, 1),
    List(1, 50, 4),
    Members(&[("Key", 5), ("Value", 6)]),
    Text(1, 128, 2),
    Text(0, 256, 2),
    Members(&[("CertificateArn", 2)]),
    Members(&[("CertificateArn", 2), ("Passphrase", 9)]),
    Bytes(4, 128),
    Members(&[("CertificateArn", 2), ("Certificate", 11), ("PrivateKey", 12), ("CertificateChain", 13), ("Tags", 3)]),
    Bytes(1, 32768),
    Bytes(1, 5120),
    Bytes(1, 2097152),
    Members(&[("NextToken", 15), ("MaxItems", 16)]),
    Text(1, 10000, 3),
    Number(1, 1000),
    Members(&[("ExpiryEvents", 18), ("IdempotencyToken", 20)]),
    Members(&[("DaysBeforeExpiry", 19)]),
    Number(1, HIGH),
    Text(1, 32, 4),
    Members(&[("DomainName", 22), ("SubjectAlternativeNames", 23), ("IdempotencyToken", 20), ("DomainValidationOptions", 24), ("CertificateAuthorityArn", 26), ("Tags", 3)]),
    Text(1, 253, 0),
    List(1, 100, 22),
    List(1, 100, 25),
    Members(&[("DomainName", 22), ("ValidationDomain", 22)]),
    Text(20, 2048, 5),
    Members(&[("CertificateArn", 2), ("Domain", 22), ("ValidationDomain", 22)]),
];

#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "",
    r"arn:[\w+=/,.@-]+:acm:[\w+=/,.@-]*:[0-9]+:[\w+=,.@-]+(/[\w+=,.@-]+)*",
    r"[\p{L}\p{Z}\p{N}_.:\/=+\-@]*",
    r"[\u0009\u000A\u000D\u0020-\u00FF]*",
    r"\w+",
    r"arn:[\w+=/,.@-]+:acm-pca:[\w+=/,.@-]*:[0-9]+:[\w+=,.@-]+(/[\w+=,.@-]+)*",
];
