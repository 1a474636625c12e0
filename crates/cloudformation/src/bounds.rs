//! What the model of cloudformation 2010-05-15 says of the values of requests. Written by `cargo xtask constraints`.

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
    ("CancelUpdateStack", 1),
    ("ContinueUpdateRollback", 3),
    ("CreateChangeSet", 8),
    ("CreateStack", 25),
    ("DeleteChangeSet", 28),
    ("DeleteStack", 30),
    ("DescribeChangeSet", 31),
    ("DescribeStackEvents", 32),
    ("DescribeStacks", 32),
    ("ExecuteChangeSet", 33),
    ("GetTemplate", 34),
    ("GetTemplateSummary", 35),
    ("ListChangeSets", 37),
    ("ListExports", 32),
    ("ListImports", 32),
    ("ListStackResources", 32),
    ("ListStacks", 32),
    ("UpdateStack", 38),
    ("UpdateTerminationProtection", 39),
    ("ValidateTemplate", 40),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Free,
    Members(&[("ClientRequestToken", 2)]),
    Text(1, 128, 1),
    Members(&[("StackName", 4), ("RoleARN", 5), ("ResourcesToSkip", 6), ("ClientRequestToken", 2)]),
    Text(1, HIGH, 2),
    Text(20, 2048, 0),
    List(LOW, HIGH, 7),
    Text(LOW, HIGH, 3),
    Members(&[("StackName", 4), ("TemplateBody", 9), ("TemplateURL", 10), ("ResourceTypes", 11), ("RoleARN", 5), ("RollbackConfiguration", 13), ("NotificationARNs", 14), ("Tags", 16), ("ChangeSetName", 19), ("ClientToken", 18), ("Description", 20), ("ResourcesToImport", 21)]),
    Text(1, HIGH, 0),
    Text(1, 5120, 0),
    List(LOW, HIGH, 12),
    Text(1, 256, 0),
    Members(&[("RollbackTriggers", 14), ("MonitoringTimeInMinutes", 15)]),
    List(LOW, 5, 0),
    Number(0, 180),
    List(LOW, 50, 17),
    Members(&[("Key", 18), ("Value", 12)]),
    Text(1, 128, 0),
    Text(1, 128, 4),
    Text(1, 1024, 0),
    List(LOW, 200, 22),
    Members(&[("ResourceType", 12), ("ResourceIdentifier", 23)]),
    Map(1, 256, 24, 24),
    Text(1, 2048, 0),
    Members(&[("TemplateBody", 9), ("TemplateURL", 10), ("RollbackConfiguration", 13), ("TimeoutInMinutes", 26), ("NotificationARNs", 14), ("ResourceTypes", 11), ("RoleARN", 5), ("StackPolicyBody", 27), ("StackPolicyURL", 10), ("Tags", 16), ("ClientRequestToken", 2)]),
    Number(1, HIGH),
    Text(1, 16384, 0),
    Members(&[("ChangeSetName", 29), ("StackName", 4)]),
    Text(1, 1600, 5),
    Members(&[("RoleARN", 5), ("ClientRequestToken", 2)]),
    Members(&[("ChangeSetName", 29), ("StackName", 4), ("NextToken", 20)]),
    Members(&[("NextToken", 20)]),
    Members(&[("ChangeSetName", 29), ("StackName", 4), ("ClientRequestToken", 2)]),
    Members(&[("ChangeSetName", 29)]),
    Members(&[("TemplateBody", 9), ("TemplateURL", 10), ("StackName", 4), ("StackSetName", 36)]),
    Text(LOW, HIGH, 6),
    Members(&[("StackName", 4), ("NextToken", 20)]),
    Members(&[("TemplateBody", 9), ("TemplateURL", 10), ("StackPolicyDuringUpdateBody", 27), ("StackPolicyDuringUpdateURL", 10), ("ResourceTypes", 11), ("RoleARN", 5), ("RollbackConfiguration", 13), ("StackPolicyBody", 27), ("StackPolicyURL", 10), ("NotificationARNs", 14), ("Tags", 16), ("ClientRequestToken", 2)]),
    Members(&[("StackName", 4)]),
    Members(&[("TemplateBody", 9), ("TemplateURL", 10)]),
];

#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "",
    "[a-zA-Z0-9][-a-zA-Z0-9]*",
    r"([a-zA-Z][-a-zA-Z0-9]*)|(arn:\b(aws|aws-us-gov|aws-cn)\b:[-a-zA-Z0-9:/._+]*)",
    r"[a-zA-Z0-9]+|[a-zA-Z][-a-zA-Z0-9]*\.[a-zA-Z0-9]+",
    "[a-zA-Z][-a-zA-Z0-9]*",
    "[a-zA-Z][-a-zA-Z0-9]*|arn:[-a-zA-Z0-9:/]*",
    "[a-zA-Z][-a-zA-Z0-9]*(?::[a-zA-Z0-9]{8}-[a-zA-Z0-9]{4}-[a-zA-Z0-9]{4}-[a-zA-Z0-9]{4}-[a-zA-Z0-9]{12})?",
];
