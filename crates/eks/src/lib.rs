//! EKS, as far as it is true today: there are no clusters, and nothing that is in one.
//!
//! What lists clusters answers an empty list; what names one, or something in one, answers AWS's
//! `ResourceNotFoundException`, so that scripts which clean up come to their end. What would create
//! something is not registered: the protocol's error for an unknown operation is the truth.

use std::sync::Arc;

use lath_authz::ResourceType;
use lath_model::Partition;
use lath_model::arn::Owner;
use lath_store::View;
use lath_wire::{
    ApiError, Caller, Handle, Operation, Problems, Protocol, Route, Service, ServiceInfo,
};
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

/// The operations.
pub fn service(app: &Arc<Eks>) -> Service {
    Service::new(INFO)
        .on::<ListClusters>(app)
        .on::<DescribeCluster>(app)
        .on::<DeleteCluster>(app)
        .on::<ListNodegroups>(app)
        .on::<DescribeNodegroup>(app)
        .on::<DeleteNodegroup>(app)
        .on::<ListAddons>(app)
        .on::<DescribeAddon>(app)
        .on::<DeleteAddon>(app)
        .on::<ListPodIdentityAssociations>(app)
        .on::<DeletePodIdentityAssociation>(app)
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

impl lath_authz::Authorized for ListClusters {
    const SERVICE: &'static str = "eks";

    fn access() -> lath_authz::Access<Self> {
        lath_authz::Access::new().any()
    }
}

impl Operation for ListClusters {
    const NAME: &'static str = "ListClusters";
    const ROUTE: Option<Route> = Some(Route::get("/clusters", 200));
    type Output = ListClustersResponse;

    fn validate(&self, problems: &mut Problems) {
        check_page(self.max_results, problems);
    }
}

impl Handle<ListClusters> for Eks {
    async fn handle(
        &self,
        _caller: &Caller,
        op: ListClusters,
    ) -> Result<ListClustersResponse, ApiError> {
        match op.next_token {
            // No list of ours had a second page.
            Some(_) => Err(ApiError::new(
                "InvalidParameterException",
                400,
                "The nextToken is not valid.",
            )),
            None => Ok(ListClustersResponse::default()),
        }
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

/// Operations on a cluster, or on what is in one:
/// `Operation method path on TYPE { cluster / what is in it, other members }`.
macro_rules! in_a_cluster {
    ($($op:ident $method:ident $path:literal on $of_type:ident {
        $cluster:ident $wire:literal $(/ $own:ident)? $(, $member:ident: $type:ty)*
    })*) => {
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

            impl lath_authz::Authorized for $op {
                const SERVICE: &'static str = "eks";

                fn access() -> lath_authz::Access<Self> {
                    lath_authz::Access::<Self>::new().on(&$of_type, |op, _| {
                        [op.$cluster.as_str() $(, op.$own.as_str())?].join("/")
                    })
                }
            }

            impl Operation for $op {
                const NAME: &'static str = stringify!($op);
                const ROUTE: Option<Route> = Some(Route::$method($path, 200));
                type Output = Never;
            }

            impl Handle<$op> for Eks {
                async fn handle(&self, _caller: &Caller, op: $op) -> Result<Never, ApiError> {
                    Err(no_cluster(&op.$cluster))
                }
            }
        )*
    };
}

in_a_cluster! {
    DescribeCluster get "/clusters/{name}" on CLUSTER { name "name" }
    DeleteCluster delete "/clusters/{name}" on CLUSTER { name "name" }
    ListNodegroups get "/clusters/{name}/node-groups" on CLUSTER {
        cluster_name "name", max_results: Option<i32>, next_token: Option<String>
    }
    DescribeNodegroup get "/clusters/{name}/node-groups/{nodegroupName}" on NODEGROUP {
        cluster_name "name" / nodegroup_name
    }
    DeleteNodegroup delete "/clusters/{name}/node-groups/{nodegroupName}" on NODEGROUP {
        cluster_name "name" / nodegroup_name
    }
    ListAddons get "/clusters/{name}/addons" on CLUSTER {
        cluster_name "name", max_results: Option<i32>, next_token: Option<String>
    }
    DescribeAddon get "/clusters/{name}/addons/{addonName}" on ADDON {
        cluster_name "name" / addon_name
    }
    DeleteAddon delete "/clusters/{name}/addons/{addonName}" on ADDON {
        cluster_name "name" / addon_name, preserve: Option<bool>
    }
    ListPodIdentityAssociations get "/clusters/{name}/pod-identity-associations" on CLUSTER {
        cluster_name "name", namespace: Option<String>, service_account: Option<String>,
        max_results: Option<i32>, next_token: Option<String>
    }
    DeletePodIdentityAssociation delete "/clusters/{name}/pod-identity-associations/{associationId}" on POD_IDENTITY_ASSOCIATION {
        cluster_name "name" / association_id
    }
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
