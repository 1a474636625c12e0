//! What the model of logs 2014-03-28 says of the values of requests. Written by `cargo xtask constraints`.

use lath_wire::constraint::Rule::{Free, List, Map, Members, Number, Text};
use lath_wire::constraint::{Constraints, HIGH, LOW, Rule};

/// The table.
pub(crate) const CONSTRAINTS: Constraints = Constraints {
    operations: OPERATIONS,
    rules: RULES,
    patterns: PATTERNS,
};

#[rustfmt::skip]
const OPERATIONS: &[(&str, u16)] = &[
    ("CreateLogGroup", 1),
    ("CreateLogStream", 7),
    ("DeleteLogGroup", 9),
    ("DeleteLogStream", 7),
    ("DeleteRetentionPolicy", 9),
    ("DescribeLogGroups", 10),
    ("DescribeLogStreams", 18),
    ("FilterLogEvents", 19),
    ("GetLogEvents", 24),
    ("ListTagsForResource", 25),
    ("ListTagsLogGroup", 9),
    ("PutLogEvents", 27),
    ("PutLogGroupDeletionProtection", 36),
    ("PutRetentionPolicy", 9),
    ("TagLogGroup", 37),
    ("TagResource", 38),
    ("UntagLogGroup", 39),
    ("UntagResource", 41),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Free,
    Members(&[("logGroupName", 2), ("kmsKeyId", 3), ("tags", 4)]),
    Text(1, HIGH, 1),
    Text(LOW, 256, 0),
    Map(LOW, 50, 5, 6),
    Text(1, 128, 2),
    Text(LOW, 256, 3),
    Members(&[("logGroupName", 2), ("logStreamName", 8)]),
    Text(1, HIGH, 4),
    Members(&[("logGroupName", 2)]),
    Members(&[("accountIdentifiers", 11), ("logGroupNamePrefix", 2), ("logGroupNamePattern", 13), ("nextToken", 14), ("limit", 15), ("logGroupIdentifiers", 16)]),
    List(0, 20, 12),
    Text(12, 12, 5),
    Text(0, 512, 6),
    Text(1, HIGH, 0),
    Number(1, 50),
    List(1, 50, 17),
    Text(1, 2048, 7),
    Members(&[("logGroupName", 2), ("logGroupIdentifier", 17), ("logStreamNamePrefix", 8), ("nextToken", 14), ("limit", 15)]),
    Members(&[("logGroupName", 2), ("logGroupIdentifier", 17), ("logStreamNames", 20), ("logStreamNamePrefix", 8), ("startTime", 21), ("endTime", 21), ("filterPattern", 22), ("nextToken", 14), ("limit", 23)]),
    List(1, 100, 8),
    Number(0, HIGH),
    Text(0, 1024, 0),
    Number(1, 10000),
    Members(&[("logGroupName", 2), ("logGroupIdentifier", 17), ("logStreamName", 8), ("startTime", 21), ("endTime", 21), ("nextToken", 14), ("limit", 23)]),
    Members(&[("resourceArn", 26)]),
    Text(1, 1011, 8),
    Members(&[("logGroupName", 2), ("logStreamName", 8), ("logEvents", 28), ("sequenceToken", 14), ("entity", 30)]),
    List(1, 10000, 29),
    Members(&[("timestamp", 21), ("message", 14)]),
    Members(&[("keyAttributes", 31), ("attributes", 34)]),
    Map(2, 4, 32, 33),
    Text(1, 32, 0),
    Text(1, 512, 0),
    Map(0, 10, 35, 33),
    Text(1, 256, 0),
    Members(&[("logGroupIdentifier", 17)]),
    Members(&[("logGroupName", 2), ("tags", 4)]),
    Members(&[("resourceArn", 26), ("tags", 4)]),
    Members(&[("logGroupName", 2), ("tags", 40)]),
    List(1, HIGH, 5),
    Members(&[("resourceArn", 26), ("tagKeys", 42)]),
    List(0, 50, 5),
];

#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "",
    r"[\.\-_/#A-Za-z0-9]+",
    r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]+)$",
    r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$",
    "[^:*]*",
    r"^\d{12}$",
    r"[\.\-_/#A-Za-z0-9]*",
    r"[\w#+=/:,.@-]*",
    r"[\w+=/:,.@-]*",
];
