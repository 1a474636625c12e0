//! EKS, as far as it is true today: there are no clusters, and nothing that is in one.
//!
//! What lists clusters answers an empty list; what names one, or something in one, answers AWS's
//! `ResourceNotFoundException`, so that scripts which clean up come to their end. What would create
//! something is not registered: the protocol's error for an unknown operation is the truth.

use std::sync::Arc;

use lath_authz::ResourceType;
use lath_model::Partition;
use lath_model::arn::Owner;
use lath_service::{App, Checked, operations};
use lath_store::View;
use lath_wire::{ApiError, Caller, Problems, Protocol, Service, ServiceInfo};
use serde::{Deserialize, Serialize};

/// The service of one region.
#[derive(Debug, Clone, Copy, Default)]
pub struct Eks;

impl<Op: lath_authz::Authorized> lath_wire::Permissions<Op> for Eks {
    /// The front door serves a region's own signatures only, so that the caller's region tells the partition.
    fn permissions(
        &self,
        caller: &Caller,
        op: &Op,
    ) -> Result<Vec<lath_wire::Permission>, lath_wire::TooMuch> {
        let owner = Owner {
            partition: Partition::of_region(&caller.region),
            account: &caller.account,
        };
        lath_authz::bounded_permissions(&View::default(), owner, caller, op)
    }

    fn stated() -> Vec<lath_wire::Stated> {
        lath_authz::stated::<Op>()
    }
}

/// What identifies EKS on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "eks",
    model: "eks",
    version: "2017-11-01",
    xmlns: "",
    target_prefix: "",
    protocols: &[Protocol::RestJson],
};

impl App for Eks {
    fn view(&self) -> Arc<View> {
        Arc::default()
    }
}

/// The operations.
pub fn service(app: &Arc<Eks>) -> Service {
    register(Service::new(INFO), app)
}

operations! {
    for Eks as "eks";
    read ListClusters: get "/clusters" 200 -> ListClustersResponse = list_clusters, checked
        => any();
    read DescribeCluster: get "/clusters/{name}" 200 -> Never = absent
        => on(&CLUSTER, |op, _| op.path());
    read DeleteCluster: delete "/clusters/{name}" 200 -> Never = absent
        => on(&CLUSTER, |op, _| op.path());
    read ListNodegroups: get "/clusters/{name}/node-groups" 200 -> Never = absent
        => on(&CLUSTER, |op, _| op.path());
    read DescribeNodegroup: get "/clusters/{name}/node-groups/{nodegroupName}" 200 -> Never = absent
        => on(&NODEGROUP, |op, _| op.path());
    read DeleteNodegroup: delete "/clusters/{name}/node-groups/{nodegroupName}" 200 -> Never = absent
        => on(&NODEGROUP, |op, _| op.path());
    read ListAddons: get "/clusters/{name}/addons" 200 -> Never = absent
        => on(&CLUSTER, |op, _| op.path());
    read DescribeAddon: get "/clusters/{name}/addons/{addonName}" 200 -> Never = absent
        => on(&ADDON, |op, _| op.path());
    read DeleteAddon: delete "/clusters/{name}/addons/{addonName}" 200 -> Never = absent
        => on(&ADDON, |op, _| op.path());
    read ListPodIdentityAssociations: get "/clusters/{name}/pod-identity-associations" 200 -> Never = absent
        => on(&CLUSTER, |op, _| op.path());
    read DeletePodIdentityAssociation: delete "/clusters/{name}/pod-identity-associations/{associationId}" 200 -> Never = absent
        => on(&POD_IDENTITY_ASSOCIATION, |op, _| op.path());
}

fn no_cluster(name: &str) -> ApiError {
    ApiError::new(
        "ResourceNotFoundException",
        404,
        format!("No cluster found for name: {name}."),
    )
}

/// `maxResults` is from 1 to 100.
fn check_page(max_results: Option<i32>, problems: &mut Problems) {
    if max_results.is_some_and(|it| !(1..=100).contains(&it)) {
        problems.add("maxResults", "must be between 1 and 100");
    }
}

/// Lists the clusters of the region.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListClusters {
    max_results: Option<i32>,
    next_token: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "there are no clusters of any kind")]
    include: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ListClustersResponse {
    clusters: Vec<String>,
}

impl Checked for ListClusters {
    fn check(&self, problems: &mut Problems) {
        check_page(self.max_results, problems);
    }
}

fn list_clusters(_: &Eks, _: &View, op: &ListClusters) -> Result<ListClustersResponse, ApiError> {
    match op.next_token {
        // No list in these tests had a second page.
        Some(_) => Err(ApiError::new(
            "InvalidParameterException",
            400,
            "The nextToken is not valid.",
        )),
        None => Ok(ListClustersResponse::default()),
    }
}

/// An answer that is never given.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Never {}

macro_rules! types {
    ($($name:ident $text:literal $end:literal;)*) => {$(
        /// By the names of the cluster and of what is in it. The ids at the end of ARNs are the service's own.
        const $name: ResourceType = ResourceType {
            name: $text,
            arn: |at, name| at.arn("eks", &format!(concat!($text, "/{}", $end), name)),
            keys: &[],
            facts: |_, _| Vec::new(),
        };
    )*};
}

types! {
    CLUSTER "cluster" "";
    NODEGROUP "nodegroup" "/*";
    ADDON "addon" "/*";
    POD_IDENTITY_ASSOCIATION "podidentityassociation" "";
}

/// A request on a cluster, or on what is in one.
trait InCluster {
    /// The cluster's name.
    fn cluster(&self) -> &str;
    /// The names of the cluster and of what is in it.
    fn path(&self) -> String;
}

/// There is no cluster, and so nothing in one.
fn absent(_: &Eks, _: &View, op: &impl InCluster) -> Result<Never, ApiError> {
    Err(no_cluster(op.cluster()))
}

/// `Request { cluster / what is in it, other members }`.
macro_rules! in_a_cluster {
    ($($op:ident { $cluster:ident $wire:literal $(/ $own:ident)? $(, $member:ident: $type:ty)* })*) => {
        $(
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "camelCase")]
            struct $op {
                #[serde(rename = $wire)]
                $cluster: String,
                $($own: String,)?
                $(
                    #[expect(dead_code, reason = "there is no cluster to look in")]
                    $member: $type,
                )*
            }

            impl InCluster for $op {
                fn cluster(&self) -> &str {
                    &self.$cluster
                }

                fn path(&self) -> String {
                    [self.$cluster.as_str() $(, self.$own.as_str())?].join("/")
                }
            }
        )*
    };
}

in_a_cluster! {
    DescribeCluster { name "name" }
    DeleteCluster { name "name" }
    ListNodegroups { cluster_name "name", max_results: Option<i32>, next_token: Option<String> }
    DescribeNodegroup { cluster_name "name" / nodegroup_name }
    DeleteNodegroup { cluster_name "name" / nodegroup_name }
    ListAddons { cluster_name "name", max_results: Option<i32>, next_token: Option<String> }
    DescribeAddon { cluster_name "name" / addon_name }
    DeleteAddon { cluster_name "name" / addon_name, preserve: Option<bool> }
    ListPodIdentityAssociations {
        cluster_name "name", namespace: Option<String>, service_account: Option<String>,
        max_results: Option<i32>, next_token: Option<String>
    }
    DeletePodIdentityAssociation { cluster_name "name" / association_id }
}

#[cfg(test)]
mod tests {
    use super::*;

    use bytes::Bytes;
    use http::Request;
    use lath_wire::Principal;

    fn caller() -> Caller {
        Caller {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            service: "eks".into(),
            principal: Principal {
                arn: "arn:aws:iam::123456789012:root".into(),
                user_id: "123456789012".into(),
            },
            access_key_id: "AKIATEST".into(),
            request_id: "00000000-0000-0000-0000-000000000000".into(),
            source_ip: None,
        }
    }

    #[tokio::test]
    async fn there_are_no_clusters() {
        let service = service(&Arc::new(Eks));
        for (method, path, status, want) in [
            ("GET", "/clusters", 200, r#""clusters":[]"#),
            ("GET", "/clusters?maxResults=0", 400, "maxResults"),
            ("GET", "/clusters/x", 404, "No cluster found for name: x."),
            (
                "DELETE",
                "/clusters/x",
                404,
                "No cluster found for name: x.",
            ),
            ("GET", "/clusters/x/node-groups", 404, "name: x."),
            ("GET", "/clusters/x/node-groups/n", 404, "name: x."),
            ("DELETE", "/clusters/x/node-groups/n", 404, "name: x."),
            ("GET", "/clusters/x/addons", 404, "name: x."),
            ("GET", "/clusters/x/addons/a", 404, "name: x."),
            ("DELETE", "/clusters/x/addons/a", 404, "name: x."),
            (
                "GET",
                "/clusters/x/pod-identity-associations",
                404,
                "name: x.",
            ),
            (
                "DELETE",
                "/clusters/x/pod-identity-associations/a",
                404,
                "name: x.",
            ),
        ] {
            let request = Request::builder().method(method).uri(path);
            let request = request.body(Bytes::new()).unwrap();
            let answer = service.respond(&request, &caller()).await;
            let body = String::from_utf8(answer.body().to_vec()).unwrap();
            assert_eq!(answer.status(), status, "{method} {path}: {body}");
            assert!(body.contains(want), "{method} {path}: {body}");
        }
    }
}
