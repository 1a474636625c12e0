//! The add-ons that there are.

use std::collections::BTreeMap;

use lath_kubernetes::services::{METRICS_ADDON, VOLUMES_ADDON};
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;

use super::configuration::Kind;
use crate::shape::*;
use crate::{Eks, fault, page};

operations! {
    for Eks as "eks";
    read DescribeAddonVersions: get "/addons/supported-versions" 200 -> DescribeAddonVersionsResponse = versions
        => any();
    read DescribeAddonConfiguration: get "/addons/configuration-schemas" 200 -> DescribeAddonConfigurationResponse = configuration
        => any();
}

/// An add-on that there is.
struct Known {
    name: &'static str,
    kind: &'static str,
    /// `aws`, or `community` for what EKS packs and others write.
    owner: &'static str,
    /// `None`: that of the installed Kubernetes.
    version: Option<&'static str>,
    /// Whether every cluster comes with it.
    initial: bool,
    /// What a user may configure.
    options: &'static [(&'static str, Kind)],
    /// The service account that may get a role.
    service_account: Option<(&'static str, &'static str)>,
}

const KNOWN: &[Known] = &[
    Known {
        name: VOLUMES_ADDON,
        kind: "storage",
        owner: "aws",
        version: Some("v1.53.0-eksbuild.1"),
        initial: false,
        options: &[("defaultStorageClass", Kind::Enabled)],
        service_account: Some((
            "ebs-csi-controller-sa",
            "service-role/AmazonEBSCSIDriverPolicy",
        )),
    },
    Known {
        name: "coredns",
        kind: "networking",
        owner: "aws",
        version: Some("v1.15.0-eksbuild.1"),
        initial: true,
        options: &[
            ("corefile", Kind::Text),
            ("nodeSelector", Kind::Labels),
            ("replicaCount", Kind::Count),
            ("resources", Kind::Resources),
            ("tolerations", Kind::Tolerations),
        ],
        service_account: None,
    },
    Known {
        name: lath_feed::POD_IDENTITY_AGENT,
        kind: "security",
        owner: "aws",
        version: Some("v1.3.10-eksbuild.2"),
        initial: false,
        options: &[],
        service_account: None,
    },
    Known {
        name: "kube-proxy",
        kind: "networking",
        owner: "aws",
        version: None,
        initial: true,
        options: &[],
        service_account: None,
    },
    Known {
        name: METRICS_ADDON,
        kind: "observability",
        owner: "community",
        version: Some("v0.8.0-eksbuild.2"),
        initial: false,
        options: &[],
        service_account: None,
    },
    Known {
        name: "vpc-cni",
        kind: "networking",
        owner: "aws",
        version: Some("v1.21.1-eksbuild.1"),
        initial: true,
        options: &[],
        service_account: Some(("aws-node", "AmazonEKS_CNI_Policy")),
    },
];

fn find(name: &str) -> Result<&'static Known, ApiError> {
    let found = KNOWN.iter().find(|it| it.name == name);
    found.ok_or_else(|| fault::invalid_parameter("Addon specified is not supported"))
}

/// Whose an add-on is: `aws`, or `community`.
pub(super) fn owner(name: &str) -> &'static str {
    let known = KNOWN.iter().find(|it| it.name == name);
    known.map_or("aws", |it| it.owner)
}

/// The version of Kubernetes that is installed, such as `v1.37.2`; none where none is.
fn kubernetes(app: &Eks) -> Option<String> {
    Some(app.platform.binaries().ok()?.version.clone())
}

impl Known {
    fn version(&self, kubernetes: Option<&str>) -> String {
        self.version.map_or_else(
            || format!("{}-eksbuild.1", kubernetes.unwrap_or("v1.0.0")),
            str::to_owned,
        )
    }

    /// What may be configured, as a JSON schema.
    fn schema(&self) -> serde_json::Value {
        let options = self.options.iter();
        let properties: serde_json::Map<String, serde_json::Value> = options
            .map(|(name, kind)| ((*name).to_owned(), kind.schema()))
            .collect();
        serde_json::json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
        })
    }
}

/// The add-ons that clusters come with.
pub(crate) fn initial(app: &Eks) -> BTreeMap<String, lath_feed::Addon> {
    let kubernetes = kubernetes(app);
    let initial = KNOWN.iter().filter(|it| it.initial);
    initial
        .map(|it| {
            let addon = lath_feed::Addon {
                version: it.version(kubernetes.as_deref()),
                configuration: None,
            };
            (it.name.to_owned(), addon)
        })
        .collect()
}

/// The version that a request asks for: there is one of each.
///
/// # Errors
/// `InvalidParameterException` for another one, or another add-on.
pub(super) fn version(app: &Eks, name: &str, given: Option<&str>) -> Result<String, ApiError> {
    let version = find(name)?.version(kubernetes(app).as_deref());
    match given {
        Some(other) if other != version => Err(fault::invalid_parameter(
            "Addon version specified is not supported",
        )),
        _ => Ok(version),
    }
}

/// Whether a user may configure an add-on so.
///
/// # Errors
/// `InvalidParameterException`.
pub(super) fn check_configuration(name: &str, text: &str) -> Result<(), ApiError> {
    let known = find(name)?;
    let invalid = |why: &str| {
        fault::invalid_parameter(format!(
            "ConfigurationValue provided in request is not supported: {why}"
        ))
    };
    if text.trim().is_empty() {
        return Ok(());
    }
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
    let parsed = parsed.map_err(|error| invalid(&error.to_string()))?;
    let Some(given) = parsed.as_object() else {
        return Err(invalid("it is no JSON object"));
    };
    for (key, value) in given {
        let option = known.options.iter().find(|(name, _)| name == key);
        let Some((_, kind)) = option else {
            let shown: String = key.chars().take(64).collect();
            return Err(invalid(&format!(
                "it has the property {shown}, which the schema lacks"
            )));
        };
        if let Err(why) = kind.check(value) {
            return Err(invalid(&format!("{key} {why}")));
        }
    }
    Ok(())
}

/// Whether an add-on has a service account of this name that may get a role.
///
/// # Errors
/// `InvalidParameterException`.
pub(super) fn check_service_account(name: &str, account: &str) -> Result<(), ApiError> {
    let known = find(name)?;
    if known.service_account.is_some_and(|(own, _)| own == account) {
        return Ok(());
    }
    Err(fault::invalid_parameter(format!(
        "Service account {} in pod identity configuration is not supported for addon {name}",
        account.chars().take(64).collect::<String>()
    )))
}

fn versions(
    app: &Eks,
    _view: &View,
    op: &DescribeAddonVersions,
) -> Result<DescribeAddonVersionsResponse, ApiError> {
    let kubernetes = kubernetes(app);
    // Whatever version a cluster is asked for, the installed one runs, with these add-ons.
    let asked = op.kubernetes_version.as_deref();
    let accepted = crate::clusters::create::check_version(asked).is_ok();
    let asked = asked.map(str::to_owned);
    let minor = asked.or_else(|| kubernetes.as_deref().map(crate::clusters::minor));
    let has = |given: &[String], own: &str| given.is_empty() || given.iter().any(|it| it == own);
    let wanted = |it: &&Known| {
        accepted
            && op.addon_name.as_deref().is_none_or(|name| name == it.name)
            && has(&op.types, it.kind)
            && has(&op.publishers, "eks")
            && has(&op.owners, it.owner)
    };
    let shown = |it: &Known| AddonInfo {
        addon_name: Some(it.name.to_owned()),
        kind: Some(it.kind.to_owned()),
        addon_versions: vec![AddonVersionInfo {
            addon_version: Some(it.version(kubernetes.as_deref())),
            architecture: vec!["amd64".into(), "arm64".into()],
            compute_types: vec!["ec2".into()],
            compatibilities: minor.iter().map(|it| compatibility(it)).collect(),
            requires_configuration: false,
            requires_iam_permissions: it.service_account.is_some(),
        }],
        publisher: Some("eks".into()),
        owner: Some(it.owner.into()),
        default_namespace: Some("kube-system".into()),
    };
    let all = KNOWN.iter().filter(wanted).map(shown);
    let key = |it: &AddonInfo| it.addon_name.clone().unwrap_or_default();
    let page = page(all, key, op.max_results, op.next_token.as_deref())?;
    Ok(DescribeAddonVersionsResponse {
        addons: page.items,
        next_token: page.next_token,
    })
}

fn compatibility(minor: &str) -> Compatibility {
    Compatibility {
        cluster_version: Some(minor.to_owned()),
        platform_versions: vec!["*".into()],
        default_version: true,
    }
}

fn configuration(
    app: &Eks,
    _view: &View,
    op: &DescribeAddonConfiguration,
) -> Result<DescribeAddonConfigurationResponse, ApiError> {
    let version = version(app, &op.addon_name, Some(&op.addon_version))?;
    let known = find(&op.addon_name)?;
    let identity = |(account, policy): (&str, &str)| AddonPodIdentityConfiguration {
        service_account: Some(account.to_owned()),
        recommended_managed_policies: vec![
            lath_model::arn::Arn::new(
                app.cell.partition(),
                "iam",
                "",
                "aws",
                format!("policy/{policy}"),
            )
            .to_string(),
        ],
    };
    Ok(DescribeAddonConfigurationResponse {
        addon_name: Some(op.addon_name.clone()),
        addon_version: Some(version),
        configuration_schema: Some(known.schema().to_string()),
        pod_identity_configuration: known.service_account.map(identity).into_iter().collect(),
    })
}
