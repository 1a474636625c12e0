//! The versions that clusters may be asked for. Whatever a script names, the installed version runs, and its patch version
//! stands beside each; clients that know a list of their own (eksctl, Terraform's modules) go on.

use lath_model::Timestamp;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::shape::{wire, words};
use crate::{Eks, page};

operations! {
    for Eks as "eks";
    read DescribeClusterVersions: get "/cluster-versions" 200 -> DescribeClusterVersionsResponse = describe
        => any();
}

words! {
    /// As older clients ask for it.
    ClusterVersionStatus {
        Unsupported = "unsupported",
        StandardSupport = "standard-support",
        ExtendedSupport = "extended-support",
    }
    /// Whether AWS supports a version.
    VersionStatus {
        Unsupported = "UNSUPPORTED",
        StandardSupport = "STANDARD_SUPPORT",
        ExtendedSupport = "EXTENDED_SUPPORT",
    }
}

wire! {
    DescribeClusterVersions {
        cluster_type: Option<String>,
        max_results: Option<i32>,
        next_token: Option<String>,
        default_only: Option<bool>,
        include_all: Option<bool>,
        #[serde(default)]
        cluster_versions: Vec<String>,
        status: Option<ClusterVersionStatus>,
        version_status: Option<VersionStatus>,
    }
    ClusterVersionInformation {
        cluster_version: Option<String>,
        cluster_type: Option<String>,
        default_platform_version: Option<String>,
        default_version: Option<bool>,
        release_date: Option<Timestamp>,
        end_of_standard_support_date: Option<Timestamp>,
        status: Option<ClusterVersionStatus>,
        version_status: Option<VersionStatus>,
        kubernetes_patch_version: Option<String>,
    }
    DescribeClusterVersionsResponse {
        next_token: Option<String>,
        cluster_versions: Vec<ClusterVersionInformation>,
    }
}

/// The oldest version of EKS that a cluster may be asked for, 1.20.
const OLDEST: u32 = 20;
/// The newest one, which AWS may have before Lath's programs are newer.
const NEWEST: u32 = 39;

/// The number after `1.`.
fn minor_of(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.parse().ok()
}

/// Whether a cluster may be asked for this version.
pub(crate) fn is_accepted(version: &str) -> bool {
    minor_of(version).is_some_and(|minor| (OLDEST..=NEWEST).contains(&minor))
}

fn describe(
    app: &Eks,
    _view: &View,
    op: &DescribeClusterVersions,
) -> Result<DescribeClusterVersionsResponse, ApiError> {
    let installed = app.platform.binaries().ok();
    let all = installed.into_iter().flat_map(|installed| {
        let newest = installed.minor_version();
        let patch = installed.version.trim_start_matches('v').to_owned();
        let accepted = OLDEST..=minor_of(&newest).unwrap_or(OLDEST);
        accepted.map(move |minor| {
            let version = format!("1.{minor}");
            let is_installed = version == newest;
            ClusterVersionInformation {
                cluster_version: Some(version),
                cluster_type: Some("eks".into()),
                default_platform_version: Some("eks.1".into()),
                default_version: Some(is_installed),
                status: Some(match is_installed {
                    true => ClusterVersionStatus::StandardSupport,
                    false => ClusterVersionStatus::ExtendedSupport,
                }),
                version_status: Some(match is_installed {
                    true => VersionStatus::StandardSupport,
                    false => VersionStatus::ExtendedSupport,
                }),
                kubernetes_patch_version: Some(patch.clone()),
                ..Default::default()
            }
        })
    });
    let wanted = |it: &ClusterVersionInformation| {
        let version = it.cluster_version.clone().unwrap_or_default();
        (op.cluster_versions.is_empty() || op.cluster_versions.contains(&version))
            && (op.default_only != Some(true) || it.default_version == Some(true))
            && op.cluster_type.as_deref().is_none_or(|it| it == "eks")
            && op.status.is_none_or(|status| it.status == Some(status))
            && op
                .version_status
                .is_none_or(|status| it.version_status == Some(status))
    };
    let key = |it: &ClusterVersionInformation| it.cluster_version.clone().unwrap_or_default();
    let page = page(
        all.filter(wanted),
        key,
        op.max_results,
        op.next_token.as_deref(),
    )?;
    Ok(DescribeClusterVersionsResponse {
        next_token: page.next_token,
        cluster_versions: page.items,
    })
}
