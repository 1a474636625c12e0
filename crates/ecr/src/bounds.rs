//! What the model of ecr 2015-09-21 says of the values of requests. Written by `cargo xtask constraints`.

use lath_wire::constraint::Rule::{Bytes, Free, List, Members, Number, Text};
use lath_wire::constraint::{Constraints, HIGH, LOW, Rule};

/// The table.
pub(crate) const CONSTRAINTS: Constraints = Constraints {
    operations: OPERATIONS,
    rules: RULES,
    patterns: PATTERNS,
};

#[rustfmt::skip]
const OPERATIONS: &[(&str, u16)] = &[
    ("BatchCheckLayerAvailability", 1),
    ("BatchDeleteImage", 6),
    ("BatchGetImage", 10),
    ("CompleteLayerUpload", 12),
    ("CreateRepository", 16),
    ("DeleteRepository", 22),
    ("DeleteRepositoryPolicy", 22),
    ("DescribeImages", 23),
    ("DescribeRepositories", 25),
    ("GetAuthorizationToken", 27),
    ("GetDownloadUrlForLayer", 29),
    ("GetRepositoryPolicy", 22),
    ("InitiateLayerUpload", 22),
    ("ListImages", 30),
    ("PutImage", 31),
    ("PutImageTagMutability", 33),
    ("SetRepositoryPolicy", 34),
    ("UploadLayerPart", 36),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Free,
    Members(&[("registryId", 2), ("repositoryName", 3), ("layerDigests", 4)]),
    Text(LOW, HIGH, 1),
    Text(2, 256, 2),
    List(1, 100, 5),
    Text(0, 1000, 0),
    Members(&[("registryId", 2), ("repositoryName", 3), ("imageIds", 7)]),
    List(1, 100, 8),
    Members(&[("imageTag", 9)]),
    Text(1, 300, 0),
    Members(&[("registryId", 2), ("repositoryName", 3), ("imageIds", 7), ("acceptedMediaTypes", 11)]),
    List(1, 100, 0),
    Members(&[("registryId", 2), ("repositoryName", 3), ("uploadId", 13), ("layerDigests", 14)]),
    Text(LOW, HIGH, 3),
    List(1, 100, 15),
    Text(LOW, HIGH, 4),
    Members(&[("registryId", 2), ("repositoryName", 3), ("imageTagMutabilityExclusionFilters", 17), ("encryptionConfiguration", 20)]),
    List(1, 5, 18),
    Members(&[("filter", 19)]),
    Text(1, 128, 5),
    Members(&[("kmsKey", 21)]),
    Text(1, 2048, 0),
    Members(&[("registryId", 2), ("repositoryName", 3)]),
    Members(&[("registryId", 2), ("repositoryName", 3), ("imageIds", 7), ("maxResults", 24)]),
    Number(1, 1000),
    Members(&[("registryId", 2), ("repositoryNames", 26), ("maxResults", 24)]),
    List(1, 100, 3),
    Members(&[("registryIds", 28)]),
    List(1, 10, 2),
    Members(&[("registryId", 2), ("repositoryName", 3), ("layerDigest", 15)]),
    Members(&[("registryId", 2), ("repositoryName", 3), ("maxResults", 24)]),
    Members(&[("registryId", 2), ("repositoryName", 3), ("imageManifest", 32), ("imageTag", 9)]),
    Text(1, 4194304, 0),
    Members(&[("registryId", 2), ("repositoryName", 3), ("imageTagMutabilityExclusionFilters", 17)]),
    Members(&[("registryId", 2), ("repositoryName", 3), ("policyText", 35)]),
    Text(0, 10240, 0),
    Members(&[("registryId", 2), ("repositoryName", 3), ("uploadId", 13), ("partFirstByte", 37), ("partLastByte", 37), ("layerPartBlob", 38)]),
    Number(0, HIGH),
    Bytes(0, 20971520),
];

#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "",
    "[0-9]{12}",
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*",
    "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+",
    "^[0-9a-zA-Z._*-]{1,128}$",
];
