//! What the model of eks 2017-11-01 says of the values of requests. Written by `cargo xtask constraints`.

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
    ("AssociateEncryptionConfig", 1),
    ("AssociateIdentityProviderConfig", 3),
    ("CreateAccessEntry", 11),
    ("CreateAddon", 12),
    ("CreateCluster", 16),
    ("CreateFargateProfile", 11),
    ("CreateNodegroup", 18),
    ("CreatePodIdentityAssociation", 11),
    ("DeleteAddon", 32),
    ("DescribeAddon", 32),
    ("DescribeAddonVersions", 33),
    ("DescribeClusterVersions", 33),
    ("ListAccessEntries", 33),
    ("ListAccessPolicies", 33),
    ("ListAddons", 34),
    ("ListAssociatedAccessPolicies", 33),
    ("ListCapabilities", 33),
    ("ListClusters", 33),
    ("ListEksAnywhereSubscriptions", 33),
    ("ListFargateProfiles", 33),
    ("ListIdentityProviderConfigs", 33),
    ("ListInsights", 33),
    ("ListNodegroups", 33),
    ("ListPodIdentityAssociations", 33),
    ("ListUpdates", 33),
    ("RegisterCluster", 35),
    ("TagResource", 11),
    ("UntagResource", 36),
    ("UpdateAddon", 38),
    ("UpdateClusterConfig", 39),
    ("UpdateNodegroupConfig", 40),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Free,
    Members(&[("encryptionConfig", 2)]),
    List(LOW, 1, 0),
    Members(&[("oidc", 4), ("tags", 8)]),
    Members(&[("requiredClaims", 5)]),
    Map(LOW, HIGH, 6, 7),
    Text(1, 63, 0),
    Text(1, 253, 0),
    Map(LOW, 50, 9, 10),
    Text(1, 128, 0),
    Text(LOW, 256, 0),
    Members(&[("tags", 8)]),
    Members(&[("name", 13), ("serviceAccountRoleArn", 14), ("tags", 8), ("namespaceConfig", 15)]),
    Text(1, 100, 0),
    Text(1, 255, 0),
    Members(&[("namespace", 6)]),
    Members(&[("name", 13), ("tags", 8), ("encryptionConfig", 2), ("remoteNetworkConfig", 17)]),
    Members(&[("remoteNodeNetworks", 2), ("remotePodNetworks", 2)]),
    Members(&[("scalingConfig", 19), ("labels", 22), ("taints", 23), ("tags", 8), ("updateConfig", 26), ("nodeRepairConfig", 28), ("warmPoolConfig", 31)]),
    Members(&[("minSize", 20), ("maxSize", 21), ("desiredSize", 20)]),
    Number(0, HIGH),
    Number(1, HIGH),
    Map(LOW, HIGH, 6, 6),
    List(LOW, HIGH, 24),
    Members(&[("key", 6), ("value", 25)]),
    Text(0, 63, 0),
    Members(&[("maxUnavailable", 21), ("maxUnavailablePercentage", 27)]),
    Number(1, 100),
    Members(&[("maxUnhealthyNodeThresholdCount", 21), ("maxUnhealthyNodeThresholdPercentage", 27), ("maxParallelNodesRepairedCount", 21), ("maxParallelNodesRepairedPercentage", 27), ("nodeRepairConfigOverrides", 29)]),
    List(LOW, HIGH, 30),
    Members(&[("minRepairWaitTimeMins", 21)]),
    Members(&[("minSize", 20)]),
    Members(&[("name", 13)]),
    Members(&[("maxResults", 27)]),
    Members(&[("name", 13), ("maxResults", 27)]),
    Members(&[("name", 13), ("tags", 8)]),
    Members(&[("tagKeys", 37)]),
    List(1, 50, 9),
    Members(&[("name", 13), ("serviceAccountRoleArn", 14)]),
    Members(&[("remoteNetworkConfig", 17)]),
    Members(&[("labels", 41), ("taints", 42), ("scalingConfig", 19), ("updateConfig", 26), ("nodeRepairConfig", 28), ("warmPoolConfig", 31)]),
    Members(&[("addOrUpdateLabels", 22)]),
    Members(&[("addOrUpdateTaints", 23), ("removeTaints", 23)]),
];

#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "",
];
