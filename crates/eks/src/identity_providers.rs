//! Identity provider configs: an OpenID Connect issuer whose tokens the API server takes from users
//! (<https://docs.aws.amazon.com/eks/latest/userguide/authenticate-oidc-identity-provider.html>).

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::{Cell, Mode};
use lath_service::{Checked, operations};
use lath_store::{Record as _, Tx, View};
use lath_wire::{ApiError, Problems};

use crate::check::{name, tags};
use crate::clusters::update::check_idle;
use crate::fault::About as _;
use crate::record::{IdentityProvider, UpdateOf};
use crate::resource_types::{CLUSTER, IDENTITY_PROVIDER, pairs};
use crate::shape::*;
use crate::updates::{self, param};
use crate::{Eks, clusters, fault, page};

/// The only type.
const OIDC: &str = "oidc";
/// What Kubernetes' own names begin with.
const RESERVED: &str = "system:";
/// A tag that names the ConfigMap of `kube-system` with the authorities that vouch for the issuer.
const AUTHORITIES: &str = "lath:issuer-authorities";
/// What all extensions begin with.
const EXTENSIONS: &str = "lath:";

operations! {
    for Eks as "eks";
    change AssociateIdentityProviderConfig: post "/clusters/{name}/identity-provider-configs/associate" 200
        -> AssociateIdentityProviderConfigResponse = associate, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone())
            .tagged(|op, _| pairs(&op.tags))
            .with("eks:clientId", |op, _| Some(op.oidc.client_id.clone()))
            .with("eks:issuerUrl", |op, _| Some(op.oidc.issuer_url.clone()));
    read ListIdentityProviderConfigs: get "/clusters/{name}/identity-provider-configs" 200
        -> ListIdentityProviderConfigsResponse = list, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone());
    read DescribeIdentityProviderConfig: post "/clusters/{name}/identity-provider-configs/describe" 200
        -> DescribeIdentityProviderConfigResponse = describe, checked
        => on(&IDENTITY_PROVIDER, |op, _| path(&op.cluster_name, &op.identity_provider_config));
    change DisassociateIdentityProviderConfig: post "/clusters/{name}/identity-provider-configs/disassociate" 200
        -> OneUpdate = disassociate, checked
        => on(&IDENTITY_PROVIDER, |op, _| path(&op.cluster_name, &op.identity_provider_config));
}

fn path(cluster: &str, config: &IdentityProviderConfig) -> String {
    format!("{cluster}/{}/{}", config.kind, config.name)
}

impl Checked for AssociateIdentityProviderConfig {
    fn check(&self, p: &mut Problems) {
        name(p, "clusterName", &self.cluster_name);
        tags(p, &self.tags);
        let oidc = &self.oidc;
        let member = "oidc.identityProviderConfigName";
        name(p, member, &oidc.identity_provider_config_name);
        if !is_issuer(&oidc.issuer_url) {
            p.add(
                "oidc.issuerUrl",
                "The issuerUrl must begin with https:// and name a host; it can have a path, and neither a query nor a fragment.",
            );
        }
        let prefixes = [
            ("oidc.usernamePrefix", &oidc.username_prefix),
            ("oidc.groupsPrefix", &oidc.groups_prefix),
        ];
        for (member, prefix) in prefixes {
            let prefix = prefix.as_deref().unwrap_or_default();
            if prefix.contains(RESERVED) {
                p.add(member, format!("The prefix can't contain {RESERVED}"));
            }
        }
    }
}

/// Whether it is a URL that the API server takes for an issuer.
fn is_issuer(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else {
        return false;
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let of_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    let of_path = |b: u8| of_host(b) || matches!(b, b'/' | b'_' | b'~');
    url.len() <= 255
        && !host.is_empty()
        && host.bytes().all(of_host)
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|it| it != 0)
        && path.bytes().all(of_path)
}

fn find(
    view: &View,
    cluster: &str,
    config: &IdentityProviderConfig,
) -> Result<Arc<IdentityProvider>, ApiError> {
    fault::check_cluster(view, cluster)?;
    let known = view.get::<IdentityProvider>(&path(cluster, config));
    known.ok_or_else(|| {
        let shown: String = config.name.chars().take(100).collect();
        fault::not_found(format!(
            "No identity provider config found with name: {shown}."
        ))
        .about_cluster(cluster)
    })
}

pub(crate) fn arn(cell: &Cell, it: &IdentityProvider) -> String {
    let (cluster, name, uuid) = (&it.cluster, &it.settings.name, &it.uuid);
    cell.arn(
        "eks",
        format!("identityproviderconfig/{cluster}/{OIDC}/{name}/{uuid}"),
    )
}

/// The ConfigMap that a tag names.
fn authorities(cell: &Cell, tags: &BTreeMap<String, String>) -> Result<Option<String>, ApiError> {
    for (key, value) in tags.iter().filter(|(key, _)| key.starts_with(EXTENSIONS)) {
        let shown: String = key.chars().take(128).collect();
        if cell.mode != Mode::Extended {
            return Err(fault::invalid_parameter(format!(
                "The tag {shown} is an extension to AWS: start Lath with --extended to use it."
            )));
        }
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_name = !value.is_empty() && value.bytes().all(inner);
        if key != AUTHORITIES || !is_name {
            return Err(fault::invalid_parameter(format!(
                "The only extension for identity provider configs is {AUTHORITIES}, the name of a ConfigMap."
            )));
        }
    }
    Ok(tags.get(AUTHORITIES).cloned())
}

fn associate(
    app: &Eks,
    tx: &mut Tx,
    mut op: AssociateIdentityProviderConfig,
) -> Result<AssociateIdentityProviderConfigResponse, ApiError> {
    const OPERATION: &str = "AssociateIdentityProviderConfig";
    let client_token = op.client_request_token.take();
    let cluster = clusters::find(tx.view(), &op.cluster_name)?;
    let (id, token) = (updates::new_id(), client_token.as_deref());
    let known = updates::claim(tx, OPERATION, token, &op, &op.cluster_name, &id)?;
    if let Some(known) = known {
        return Ok(AssociateIdentityProviderConfigResponse {
            update: known.update,
            tags: op.tags,
        });
    }
    let prefix = format!("{}/", op.cluster_name);
    if let Some(other) = tx.view().range::<IdentityProvider>(&prefix).next() {
        let text = format!(
            "Cluster {} has an identity provider config already: {}",
            op.cluster_name, other.settings.name
        );
        return Err(fault::in_use(text).about_cluster(&op.cluster_name));
    }
    check_idle(tx, &cluster)?;
    let oidc = op.oidc;
    if oidc.issuer_url == clusters::issuer(&app.cell, &cluster) {
        return Err(fault::invalid_parameter(
            "The issuer of the cluster's own service account tokens can't be its identity provider.",
        ));
    }
    let shown = serde_json::json!([{"type": OIDC, "name": oidc.identity_provider_config_name}]);
    let settings = lath_feed::IdentityProvider {
        name: oidc.identity_provider_config_name,
        issuer_url: oidc.issuer_url,
        client_id: oidc.client_id,
        username_claim: oidc.username_claim,
        username_prefix: oidc.username_prefix,
        groups_claim: oidc.groups_claim,
        groups_prefix: oidc.groups_prefix,
        required_claims: oidc.required_claims,
        authorities: authorities(&app.cell, &op.tags)?,
    };
    let status_after = tx.view().revision();
    tx.put(IdentityProvider {
        cluster: op.cluster_name.clone(),
        uuid: uuid::Uuid::new_v4().to_string(),
        settings,
        status: IdentityProviderStatus::Creating,
        status_after,
        tags: op.tags.clone(),
    });
    let params = vec![param("IdentityProviderConfig", shown.to_string())];
    let kind = UpdateType::AssociateIdentityProvider;
    let update = updates::begin(tx, id, &op.cluster_name, UpdateOf::Cluster, kind, params);
    Ok(AssociateIdentityProviderConfigResponse {
        update: updates::one(&update).update,
        tags: op.tags,
    })
}

fn list(
    _app: &Eks,
    view: &View,
    op: &ListIdentityProviderConfigs,
) -> Result<ListIdentityProviderConfigsResponse, ApiError> {
    fault::check_cluster(view, &op.cluster_name)?;
    let prefix = format!("{}/", op.cluster_name);
    let names = view.range::<IdentityProvider>(&prefix);
    let names = names.map(|it| it.settings.name.clone());
    let (size, token) = (op.max_results, op.next_token.as_deref());
    let page = page(names, String::clone, size, token)?;
    let config = |name| IdentityProviderConfig {
        kind: OIDC.to_owned(),
        name,
    };
    Ok(ListIdentityProviderConfigsResponse {
        identity_provider_configs: page.items.into_iter().map(config).collect(),
        next_token: page.next_token,
    })
}

fn describe(
    app: &Eks,
    view: &View,
    op: &DescribeIdentityProviderConfig,
) -> Result<DescribeIdentityProviderConfigResponse, ApiError> {
    let it = find(view, &op.cluster_name, &op.identity_provider_config)?;
    let settings = &it.settings;
    let oidc = OidcIdentityProviderConfig {
        identity_provider_config_name: Some(settings.name.clone()),
        identity_provider_config_arn: Some(arn(&app.cell, &it)),
        cluster_name: Some(it.cluster.clone()),
        issuer_url: Some(settings.issuer_url.clone()),
        client_id: Some(settings.client_id.clone()),
        username_claim: settings.username_claim.clone(),
        username_prefix: settings.username_prefix.clone(),
        groups_claim: settings.groups_claim.clone(),
        groups_prefix: settings.groups_prefix.clone(),
        required_claims: settings.required_claims.clone(),
        tags: it.tags.clone(),
        status: Some(it.status),
    };
    Ok(DescribeIdentityProviderConfigResponse {
        identity_provider_config: Some(IdentityProviderConfigResponse { oidc: Some(oidc) }),
    })
}

fn disassociate(
    _app: &Eks,
    tx: &mut Tx,
    mut op: DisassociateIdentityProviderConfig,
) -> Result<OneUpdate, ApiError> {
    const OPERATION: &str = "DisassociateIdentityProviderConfig";
    let client_token = op.client_request_token.take();
    let (id, token) = (updates::new_id(), client_token.as_deref());
    fault::check_cluster(tx.view(), &op.cluster_name)?;
    let known = updates::claim(tx, OPERATION, token, &op, &op.cluster_name, &id)?;
    if let Some(known) = known {
        return Ok(known);
    }
    let it = find(tx.view(), &op.cluster_name, &op.identity_provider_config)?;
    if it.status == IdentityProviderStatus::Deleting {
        let text = format!(
            "The identity provider config {} is being disassociated",
            it.settings.name
        );
        return Err(fault::in_use(text).about_cluster(&op.cluster_name));
    }
    if it.status == IdentityProviderStatus::Creating {
        // One whose issuer never answers must not keep its cluster from every other change.
        let (of, status) = (UpdateOf::Cluster, UpdateStatus::Cancelled);
        updates::end(tx, &op.cluster_name, &of, status, None);
    }
    let cluster = clusters::find(tx.view(), &op.cluster_name)?;
    check_idle(tx, &cluster)?;
    let revision = tx.view().revision();
    tx.update::<IdentityProvider>(&it.id(), |it| {
        it.status = IdentityProviderStatus::Deleting;
        it.status_after = revision;
    });
    let shown = serde_json::json!([{"type": OIDC, "name": it.settings.name}]);
    let params = vec![param("IdentityProviderConfig", shown.to_string())];
    let kind = UpdateType::DisassociateIdentityProvider;
    let update = updates::begin(tx, id, &op.cluster_name, UpdateOf::Cluster, kind, params);
    Ok(updates::one(&update))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_https_urls_of_hosts() {
        for good in [
            "https://example.com",
            "https://a.example.com/x/y_z",
            "https://10.0.1.4:8443",
        ] {
            assert!(is_issuer(good), "{good}");
        }
        for bad in [
            "http://example.com",
            "https://",
            "https:///x",
            "https://user@example.com",
            "https://example.com?x=y",
            "https://example.com/#x",
            "https://example.com:0",
            "https://example.com:+1",
            "https://example.com/%2e",
            "https://exa mple.com",
        ] {
            assert!(!is_issuer(bad), "{bad}");
        }
    }
}
