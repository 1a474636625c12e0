//! DescribeClusterVersions: the version that is installed is the one that there is.

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

fn describe(
    app: &Eks,
    _view: &View,
    op: &DescribeClusterVersions,
) -> Result<DescribeClusterVersionsResponse, ApiError> {
    let installed = app.platform.binaries().ok();
    let one = installed.map(|it| ClusterVersionInformation {
        cluster_version: Some(it.minor_version()),
        cluster_type: Some("eks".into()),
        default_platform_version: Some("eks.1".into()),
        default_version: Some(true),
        status: Some(ClusterVersionStatus::StandardSupport),
        version_status: Some(VersionStatus::StandardSupport),
        kubernetes_patch_version: Some(it.version.trim_start_matches('v').to_owned()),
        ..Default::default()
    });
    let wanted = |it: &ClusterVersionInformation| {
        let version = it.cluster_version.clone().unwrap_or_default();
        (op.cluster_versions.is_empty() || op.cluster_versions.contains(&version))
            && op.cluster_type.as_deref().is_none_or(|it| it == "eks")
            && op.status.is_none_or(|status| it.status == Some(status))
            && op
                .version_status
                .is_none_or(|status| it.version_status == Some(status))
    };
    let key = |it: &ClusterVersionInformation| it.cluster_version.clone().unwrap_or_default();
    let all = one.into_iter().filter(wanted);
    let page = page(all, key, op.max_results, op.next_token.as_deref())?;
    Ok(DescribeClusterVersionsResponse {
        next_token: page.next_token,
        cluster_versions: page.items,
    })
}
