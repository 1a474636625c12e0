//! What the API documents of values beside its model, whose bounds are checked before.

use std::collections::BTreeMap;

use lath_service::{Bounds, Checked};
use lath_wire::Problems;

use crate::shape::*;
use crate::syntax;

const MOST_TAGS: usize = 50;
/// How many labels, and how many taints, a node group may have
/// (<https://docs.aws.amazon.com/eks/latest/userguide/service-quotas.html>).
pub(crate) const MOST_LABELS: usize = 50;
pub(crate) const MOST_TAINTS: usize = 50;

/// A name of a cluster, node group or add-on: AWS's own words (<https://github.com/surajincloud/kubectl-eks/issues/72>).
pub(crate) fn name(p: &mut Problems, member: &str, value: &str) {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let starts_well = value.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts_well || !value.bytes().all(inner) {
        p.add(
            member,
            format!(
                "The parameter {member} contains invalid characters. It should conform to the regular expression \"^[0-9A-Za-z][A-Za-z0-9-_]*\"In other words, it should start with a number or letter, and can contain numbers, letters, dashes, and underscores."
            ),
        );
    }
    length(p, member, value, 1, 100);
}

/// A text of so many characters.
pub(crate) fn length(p: &mut Problems, member: &str, value: &str, least: i64, most: i64) {
    let length = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
    within(p, member, length, Bounds::length(least, most));
}

fn within(p: &mut Problems, member: &str, number: i64, bounds: Bounds) {
    if let Some(rule) = bounds.broken_by(number) {
        p.add(
            member,
            format!("Value at '{member}' failed to satisfy constraint: {rule}"),
        );
    }
}

/// Tags to set.
pub(crate) fn tags(p: &mut Problems, tags: &BTreeMap<String, String>) {
    if tags.len() > MOST_TAGS {
        p.add("tags", too_many_tags());
    }
    for key in tags.keys().take(2 * MOST_TAGS) {
        if key.to_ascii_lowercase().starts_with("aws:") && !lath_wire::may_set_system_tags() {
            p.add("tags", "Tag keys must not begin with aws:");
        }
    }
}

pub(crate) fn too_many_tags() -> String {
    format!("A resource can have at most {MOST_TAGS} tags.")
}

/// Whether a number of tags is within the limit.
pub(crate) fn tags_fit(tags: &BTreeMap<String, String>) -> bool {
    tags.len() <= MOST_TAGS
}

/// Taints to set: their keys and values are as those of labels.
fn taints(p: &mut Problems, taints: &[Taint]) {
    if taints.len() > MOST_TAINTS {
        p.add("taints", too_many_taints());
    }
    for (index, taint) in taints.iter().take(MOST_TAINTS).enumerate() {
        let key = taint.key.as_deref().unwrap_or_default();
        if key.is_empty() {
            p.add("taints", "Taint key must not be null or empty.");
        } else {
            label_key(p, "taints.key", key);
        }
        let value = taint.value.as_deref().unwrap_or_default();
        label_value(p, "taints.value", value);
        if taint.effect.is_none() {
            p.add("taints", "Taint effect must not be null.");
        }
        let same = |it: &Taint| it.key == taint.key && it.effect == taint.effect;
        if taints.iter().take(index).any(same) {
            p.add("taints", "Taints must differ in their key or effect.");
        }
    }
}

fn labels(p: &mut Problems, labels: &BTreeMap<String, String>) {
    if labels.len() > MOST_LABELS {
        p.add("labels", too_many_labels());
    }
    for (key, value) in labels.iter().take(MOST_LABELS) {
        label_key(p, "labels.key", key);
        label_value(p, "labels.value", value);
    }
}

pub(crate) fn too_many_taints() -> String {
    format!("A node group can have at most {MOST_TAINTS} taints.")
}

pub(crate) fn too_many_labels() -> String {
    format!("A node group can have at most {MOST_LABELS} labels.")
}

fn label_key(p: &mut Problems, member: &str, key: &str) {
    if !key.is_empty() && !syntax::is_label_key(key) {
        p.add(
            member,
            format!(
                "Value at '{member}' must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, with an optional DNS subdomain prefix and '/'."
            ),
        );
    }
}

fn label_value(p: &mut Problems, member: &str, value: &str) {
    if !syntax::is_label_value(value) {
        p.add(
            member,
            format!(
                "Value at '{member}' must be empty or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character."
            ),
        );
    }
}

/// Requests that name a cluster, and things in it whose names have the same form.
macro_rules! named {
    ($($op:ident { $($member:ident $wire:literal),* } ;)*) => {$(
        impl Checked for $op {
            fn check(&self, p: &mut Problems) {
                $(name(p, $wire, &self.$member);)*
            }
        }
    )*};
}

named! {
    DescribeCluster { name "name" };
    DeleteCluster { name "name" };
    DeregisterCluster { name "name" };
    DescribeNodegroup { cluster_name "clusterName", nodegroup_name "nodegroupName" };
    DeleteNodegroup { cluster_name "clusterName", nodegroup_name "nodegroupName" };
    ListNodegroups { cluster_name "clusterName" };
    DescribeAddon { cluster_name "clusterName", addon_name "addonName" };
    DeleteAddon { cluster_name "clusterName", addon_name "addonName" };
    UpdateAddon { cluster_name "clusterName", addon_name "addonName" };
    ListAddons { cluster_name "clusterName" };
    DescribeUpdate { name "name" };
    ListUpdates { name "name" };
    DescribeAccessEntry { cluster_name "clusterName" };
    DeleteAccessEntry { cluster_name "clusterName" };
    UpdateAccessEntry { cluster_name "clusterName" };
    ListAccessEntries { cluster_name "clusterName" };
    AssociateAccessPolicy { cluster_name "clusterName" };
    DisassociateAccessPolicy { cluster_name "clusterName" };
    ListAssociatedAccessPolicies { cluster_name "clusterName" };
    DescribePodIdentityAssociation { cluster_name "clusterName" };
    DeletePodIdentityAssociation { cluster_name "clusterName" };
    UpdatePodIdentityAssociation { cluster_name "clusterName" };
    ListPodIdentityAssociations { cluster_name "clusterName" };
    DescribeIdentityProviderConfig { cluster_name "clusterName" };
    DisassociateIdentityProviderConfig { cluster_name "clusterName" };
    ListIdentityProviderConfigs { cluster_name "clusterName" };
    UpdateClusterConfig { name "name" };
    UpdateClusterVersion { name "name" };
    UpdateNodegroupVersion { cluster_name "clusterName", nodegroup_name "nodegroupName" };
    AssociateEncryptionConfig { cluster_name "clusterName" };
}

impl Checked for ListClusters {
    fn check(&self, p: &mut Problems) {
        if self.include.iter().any(|it| it != "all") {
            p.add("include", "The only value of include is all.");
        }
    }
}

impl Checked for CreateCluster {
    fn check(&self, p: &mut Problems) {
        name(p, "name", &self.name);
        tags(p, &self.tags);
    }
}

impl Checked for RegisterCluster {
    fn check(&self, p: &mut Problems) {
        name(p, "name", &self.name);
        tags(p, &self.tags);
    }
}

impl Checked for CreateNodegroup {
    fn check(&self, p: &mut Problems) {
        name(p, "clusterName", &self.cluster_name);
        name(p, "nodegroupName", &self.nodegroup_name);
        length(p, "nodegroupName", &self.nodegroup_name, 1, 63);
        tags(p, &self.tags);
        labels(p, &self.labels);
        taints(p, &self.taints);
        if let Some(size) = self.disk_size {
            // The model has no bounds of it.
            within(
                p,
                "diskSize",
                size.into(),
                Bounds::value(1, i32::MAX.into()),
            );
        }
        update_config(p, self.update_config.as_ref());
    }
}

fn update_config(p: &mut Problems, config: Option<&NodegroupUpdateConfig>) {
    let Some(config) = config else { return };
    if let Some(count) = config.max_unavailable {
        // The model has no most.
        let member = "updateConfig.maxUnavailable";
        within(p, member, count.into(), Bounds::value(1, 100));
    }
    if config.max_unavailable.is_some() && config.max_unavailable_percentage.is_some() {
        p.add(
            "updateConfig",
            "Only one of maxUnavailable and maxUnavailablePercentage can be specified.",
        );
    }
}

impl Checked for UpdateNodegroupConfig {
    fn check(&self, p: &mut Problems) {
        name(p, "clusterName", &self.cluster_name);
        name(p, "nodegroupName", &self.nodegroup_name);
        update_config(p, self.update_config.as_ref());
        if let Some(payload) = &self.labels {
            labels(p, &payload.add_or_update_labels);
        }
        if let Some(payload) = &self.taints {
            taints(p, &payload.add_or_update_taints);
        }
    }
}

impl Checked for CreateAddon {
    fn check(&self, p: &mut Problems) {
        name(p, "clusterName", &self.cluster_name);
        name(p, "addonName", &self.addon_name);
        tags(p, &self.tags);
    }
}

impl Checked for CreateAccessEntry {
    fn check(&self, p: &mut Problems) {
        name(p, "clusterName", &self.cluster_name);
        tags(p, &self.tags);
    }
}

impl Checked for CreatePodIdentityAssociation {
    fn check(&self, p: &mut Problems) {
        name(p, "clusterName", &self.cluster_name);
        tags(p, &self.tags);
        label_name(p, "namespace", &self.namespace);
        if self.service_account.is_empty() || self.service_account.len() > 253 {
            p.add(
                "serviceAccount",
                "The serviceAccount parameter is not a valid name of a service account.",
            );
        }
    }
}

/// A name as Kubernetes has it for namespaces (RFC 1123).
fn label_name(p: &mut Problems, member: &str, value: &str) {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = (1..=63).contains(&value.len())
        && value.bytes().all(inner)
        && !value.starts_with('-')
        && !value.ends_with('-');
    if !good {
        p.add(
            member,
            format!(
                "The parameter {member} must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character."
            ),
        );
    }
}

impl Checked for TagResource {
    fn check(&self, p: &mut Problems) {
        tags(p, &self.tags);
    }
}
