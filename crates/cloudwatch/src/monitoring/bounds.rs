//! What the model of cloudwatch 2010-08-01 says of the values of requests. Written by `cargo xtask constraints`.

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
    ("GetMetricData", 1),
    ("GetMetricStatistics", 13),
    ("ListMetrics", 16),
    ("PutDashboard", 18),
    ("PutMetricData", 23),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Free,
    Members(&[("MetricDataQueries", 2)]),
    List(LOW, HIGH, 3),
    Members(&[("Id", 4), ("MetricStat", 5), ("Expression", 12), ("Period", 11), ("AccountId", 4)]),
    Text(1, 255, 0),
    Members(&[("Metric", 6), ("Period", 11)]),
    Members(&[("Namespace", 7), ("MetricName", 4), ("Dimensions", 8)]),
    Text(1, 255, 1),
    List(LOW, 30, 9),
    Members(&[("Name", 4), ("Value", 10)]),
    Text(1, 1024, 0),
    Number(1, HIGH),
    Text(1, 2048, 0),
    Members(&[("Namespace", 7), ("MetricName", 4), ("Dimensions", 8), ("Period", 11), ("Statistics", 14), ("ExtendedStatistics", 15)]),
    List(LOW, 5, 0),
    List(LOW, 10, 0),
    Members(&[("Namespace", 7), ("MetricName", 4), ("Dimensions", 17), ("OwningAccount", 4)]),
    List(LOW, 10, 9),
    Members(&[("Tags", 19)]),
    List(LOW, HIGH, 20),
    Members(&[("Key", 21), ("Value", 22)]),
    Text(1, 128, 0),
    Text(0, 256, 0),
    Members(&[("Namespace", 7), ("MetricData", 24), ("EntityMetricData", 26)]),
    List(LOW, HIGH, 25),
    Members(&[("MetricName", 4), ("Dimensions", 8), ("StorageResolution", 11)]),
    List(LOW, HIGH, 27),
    Members(&[("Entity", 28), ("MetricData", 24)]),
    Members(&[("KeyAttributes", 29), ("Attributes", 31)]),
    Map(2, 4, 30, 12),
    Text(1, 32, 0),
    Map(0, 10, 32, 12),
    Text(1, 256, 0),
];

#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "",
    "[^:].*",
];
