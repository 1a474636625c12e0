//! Kinds that a cluster has and that this controller does nothing for: the log names each once, so that users do not wait for an effect.

use kube::Client;

use crate::kinds::{self, AWS_GROUP, GATEWAY_GROUP, PolicyKind, RouteKind};

/// The groups whose kinds somebody may expect something of.
const GROUPS: [&str; 3] = [GATEWAY_GROUP, "gateway.networking.x-k8s.io", AWS_GROUP];

/// The plural names of what is served.
fn served() -> Vec<String> {
    let forms = [
        kinds::gateway_class(),
        kinds::gateway(),
        kinds::listener_set(),
        kinds::backend_tls_policy(),
        kinds::reference_grant(),
        kinds::service_export(),
        kinds::service_import(),
        kinds::service_network(),
        kinds::target_group_policy(),
    ];
    let policies = PolicyKind::ALL.map(PolicyKind::resource);
    let forms = forms.into_iter().chain(policies).map(|it| it.plural);
    let routes = RouteKind::ALL.map(|it| it.plural().to_owned());
    forms.chain(routes).collect()
}

/// The kinds of these groups that a cluster has and that are not served, as `Kind (group)`.
pub(crate) async fn kinds(client: &Client) -> Result<Vec<String>, kube::Error> {
    let served = served();
    let mut found = Vec::new();
    let groups = client.list_api_groups().await?.groups.into_iter();
    for group in groups.filter(|it| GROUPS.contains(&it.name.as_str())) {
        for version in group.versions {
            let list = client.list_api_group_resources(&version.group_version);
            for it in list.await?.resources {
                let kind = format!("{} ({})", it.kind, group.name);
                // A name with a slash is a part of a kind, such as its status.
                if !it.name.contains('/') && !served.contains(&it.name) && !found.contains(&kind) {
                    found.push(kind);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Says which they are.
pub(crate) async fn report(client: Client) {
    match kinds(&client).await {
        Ok(kinds) if kinds.is_empty() => {}
        Ok(kinds) => tracing::warn!(
            kinds = kinds.join(", "),
            "the cluster has kinds that this controller does nothing for; their objects get no status"
        ),
        Err(error) => tracing::debug!(%error, "the API server does not say what it serves"),
    }
}
