//! Identity providers that speak OpenID Connect: whose tokens roles can trust.
//!
//! A provider is its URL, at its word: with another case or a slash at the end it is another provider. Whether a token
//! is the provider's is for STS to say (`lath-sts`).

use lath_control::Mode;
use lath_model::Timestamp;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::Iam;
use crate::check::{self, Tag, shown_tags};
use crate::errors::{invalid_input, limit, no_such_entity, validation};
use crate::holder::{TagList, list_tags, tag, untag};
use crate::page::cut;
use crate::records::OidcProvider;
use crate::resource_types::{OIDC_PROVIDER, pairs};

/// Most providers of an account.
const MAX_PROVIDERS: usize = 100;
/// Most client ids of a provider.
const MAX_CLIENTS: usize = 100;
/// Most thumbprints of a provider.
const MAX_THUMBPRINTS: usize = 5;
/// Characters of a thumbprint: SHA-1 in hexadecimal digits, which AWS does not check.
const THUMBPRINT: usize = 40;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateOpenIDConnectProvider {
    url: String,
    #[serde(default, rename = "ClientIDList")]
    client_ids: Vec<String>,
    #[serde(default, rename = "ThumbprintList")]
    thumbprints: Vec<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Created {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: Option<String>,
    #[serde(rename = "Tags")]
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct GetOpenIDConnectProvider {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ProviderDetail {
    url: Option<String>,
    #[serde(rename = "ClientIDList")]
    client_ids: Vec<String>,
    #[serde(rename = "ThumbprintList")]
    thumbprints: Vec<String>,
    create_date: Option<Timestamp>,
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ListOpenIDConnectProviders {}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    arn: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProviderList {
    #[serde(rename = "OpenIDConnectProviderList")]
    providers: Vec<Listed>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeleteOpenIDConnectProvider {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AddClientIDToOpenIDConnectProvider {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
    #[serde(rename = "ClientID")]
    client_id: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RemoveClientIDFromOpenIDConnectProvider {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
    #[serde(rename = "ClientID")]
    client_id: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UpdateOpenIDConnectProviderThumbprint {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
    #[serde(rename = "ThumbprintList")]
    thumbprints: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TagOpenIDConnectProvider {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
    #[serde(rename = "Tags")]
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UntagOpenIDConnectProvider {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
    #[serde(rename = "TagKeys")]
    tag_keys: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ListOpenIDConnectProviderTags {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
    #[serde(rename = "Marker")]
    marker: Option<String>,
    #[serde(rename = "MaxItems")]
    max_items: Option<i64>,
}

operations! {
    for Iam as "iam";
    change CreateOpenIDConnectProvider -> Created = create =>
        on(&OIDC_PROVIDER, |op, at| at.global_arn("iam", &resource(&op.url)))
        .tagged(|op, _| pairs(&op.tags))
        .also("iam:TagOpenIDConnectProvider", &OIDC_PROVIDER, |op, at| {
            let given = !op.tags.is_empty();
            given.then(|| at.global_arn("iam", &resource(&op.url)))
        })
        .tagged(|op, _| pairs(&op.tags));
    read GetOpenIDConnectProvider -> ProviderDetail = get => on(&OIDC_PROVIDER, |op, _| op.arn.clone());
    read ListOpenIDConnectProviders -> ProviderList = list => any();
    change DeleteOpenIDConnectProvider -> () = delete => on(&OIDC_PROVIDER, |op, _| op.arn.clone());
    change AddClientIDToOpenIDConnectProvider -> () = add_client => on(&OIDC_PROVIDER, |op, _| op.arn.clone());
    change RemoveClientIDFromOpenIDConnectProvider -> () = remove_client =>
        on(&OIDC_PROVIDER, |op, _| op.arn.clone());
    change UpdateOpenIDConnectProviderThumbprint -> () = update_thumbprints =>
        on(&OIDC_PROVIDER, |op, _| op.arn.clone());
    change TagOpenIDConnectProvider -> () = add_tags => on(&OIDC_PROVIDER, |op, _| op.arn.clone())
        .tagged(|op, _| pairs(&op.tags));
    change UntagOpenIDConnectProvider -> () = remove_tags => on(&OIDC_PROVIDER, |op, _| op.arn.clone())
        .untagged(|op, _| op.tag_keys.clone());
    read ListOpenIDConnectProviderTags -> TagList = tags_of => on(&OIDC_PROVIDER, |op, _| op.arn.clone());
}

/// The resource part of the ARN of the provider of a URL.
fn resource(url: &str) -> String {
    format!(
        "oidc-provider/{}",
        url.strip_prefix("https://").unwrap_or(url)
    )
}

/// Checks a URL and takes its scheme off.
fn checked_url(app: &Iam, url: &str) -> Result<String, ApiError> {
    const INVALID: &str = "Invalid Open ID Connect Provider URL";
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(validation(INVALID));
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    if authority.is_empty() {
        return Err(validation(INVALID));
    }
    if scheme != "https" {
        let text = format!("{INVALID}. The URL must begin with https://.");
        return Err(invalid_input(text));
    }
    let (host, port) = authority
        .split_once(':')
        .map_or((authority, None), |(host, port)| (host, Some(port)));
    // AWS takes no port. An installation of one's own has issuers of its own, and those have ports.
    let port_fits = port.is_none_or(|port| {
        app.cell.mode == Mode::Extended && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let of_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let of_path = |byte: u8| byte.is_ascii_graphic() && !b"?#\\\"<>^`{|}*".contains(&byte);
    let fits = !host.is_empty() && host.bytes().all(of_host) && path.bytes().all(of_path);
    if !fits || !port_fits {
        return Err(invalid_input(format!("{INVALID}.")));
    }
    Ok(rest.to_owned())
}

/// Thumbprints as they are kept: in lower case.
fn checked_thumbprints(given: &[String]) -> Result<Vec<String>, ApiError> {
    if given
        .iter()
        .any(|print| print.chars().count() != THUMBPRINT)
    {
        return Err(invalid_input("Thumbprint must be exactly 40 characters."));
    }
    if given.len() > MAX_THUMBPRINTS {
        let text = format!("Thumbprint list must contain fewer than {MAX_THUMBPRINTS} entries.");
        return Err(invalid_input(text));
    }
    Ok(given.iter().map(|it| it.to_ascii_lowercase()).collect())
}

/// The URL, without its scheme, in a provider's ARN.
fn named(app: &Iam, arn: &str) -> Result<String, ApiError> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts[..] else {
        return Err(validation(format!("Invalid ARN: {arn}")));
    };
    let Some(url) = resource.strip_prefix("oidc-provider/") else {
        return Err(validation("Invalid resource type in ARN"));
    };
    let owner = app.cell.owner();
    if account != owner.account || partition != owner.partition.name() {
        return Err(absent(arn));
    }
    Ok(url.to_owned())
}

fn absent(arn: &str) -> ApiError {
    no_such_entity(format!("OpenIDConnect Provider not found for arn {arn}"))
}

fn found(app: &Iam, view: &View, arn: &str) -> Result<OidcProvider, ApiError> {
    let provider = view.get::<OidcProvider>(&named(app, arn)?);
    provider
        .map(|provider| OidcProvider::clone(&provider))
        .ok_or_else(|| absent(arn))
}

fn create(app: &Iam, tx: &mut Tx, op: CreateOpenIDConnectProvider) -> Result<Created, ApiError> {
    let url = checked_url(app, &op.url)?;
    let thumbprints = checked_thumbprints(&op.thumbprints)?;
    let tags = check::new_tags(&op.tags)?;
    let mut client_ids: Vec<String> = Vec::new();
    for id in op.client_ids {
        if !client_ids.contains(&id) {
            client_ids.push(id);
        }
    }
    check_clients(client_ids.len())?;
    if tx.get::<OidcProvider>(&url).is_some() {
        let text = format!("Provider with url {} already exists.", op.url);
        return Err(ApiError::new("EntityAlreadyExists", 409, text));
    }
    if app.is_strict() && tx.list::<OidcProvider>().count() >= MAX_PROVIDERS {
        return Err(limit("OpenIdConnectProvidersPerAccount", MAX_PROVIDERS));
    }
    let provider = tx.put(OidcProvider {
        url,
        client_ids,
        thumbprints,
        tags,
        created_at: tx.now(),
    });
    Ok(Created {
        arn: Some(provider.arn(app.cell.owner())),
        tags: (!provider.tags.is_empty()).then(|| shown_tags(&provider.tags)),
    })
}

fn check_clients(count: usize) -> Result<(), ApiError> {
    if count > MAX_CLIENTS {
        return Err(limit("ClientIdsPerOpenIdConnectProvider", MAX_CLIENTS));
    }
    Ok(())
}

fn get(app: &Iam, view: &View, op: &GetOpenIDConnectProvider) -> Result<ProviderDetail, ApiError> {
    let provider = found(app, view, &op.arn)?;
    Ok(ProviderDetail {
        url: Some(provider.url),
        client_ids: provider.client_ids,
        thumbprints: provider.thumbprints,
        create_date: Some(provider.created_at),
        tags: Some(shown_tags(&provider.tags)),
    })
}

fn list(app: &Iam, view: &View, _: &ListOpenIDConnectProviders) -> Result<ProviderList, ApiError> {
    let listed = |provider: std::sync::Arc<OidcProvider>| Listed {
        arn: Some(provider.arn(app.cell.owner())),
    };
    Ok(ProviderList {
        providers: view.list::<OidcProvider>().map(listed).collect(),
    })
}

/// "This operation is idempotent; it does not fail or return an error if you call the operation for a provider that does
/// not exist" (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteOpenIDConnectProvider.html>).
fn delete(app: &Iam, tx: &mut Tx, op: DeleteOpenIDConnectProvider) -> Result<(), ApiError> {
    let url = named(app, &op.arn)?;
    tx.delete::<OidcProvider>(&url);
    Ok(())
}

/// An id that is there already is as good as added.
fn add_client(
    app: &Iam,
    tx: &mut Tx,
    op: AddClientIDToOpenIDConnectProvider,
) -> Result<(), ApiError> {
    let mut provider = found(app, tx.view(), &op.arn)?;
    if !provider.client_ids.contains(&op.client_id) {
        provider.client_ids.push(op.client_id);
        check_clients(provider.client_ids.len())?;
        tx.put(provider);
    }
    Ok(())
}

/// An id that is not there is as good as removed.
fn remove_client(
    app: &Iam,
    tx: &mut Tx,
    op: RemoveClientIDFromOpenIDConnectProvider,
) -> Result<(), ApiError> {
    let mut provider = found(app, tx.view(), &op.arn)?;
    provider.client_ids.retain(|id| *id != op.client_id);
    tx.put(provider);
    Ok(())
}

fn update_thumbprints(
    app: &Iam,
    tx: &mut Tx,
    op: UpdateOpenIDConnectProviderThumbprint,
) -> Result<(), ApiError> {
    let thumbprints = checked_thumbprints(&op.thumbprints)?;
    let mut provider = found(app, tx.view(), &op.arn)?;
    provider.thumbprints = thumbprints;
    tx.put(provider);
    Ok(())
}

fn add_tags(app: &Iam, tx: &mut Tx, op: TagOpenIDConnectProvider) -> Result<(), ApiError> {
    check::given_tags(&op.tags)?;
    let provider = found(app, tx.view(), &op.arn)?;
    tag(tx, provider, &op.tags)
}

fn remove_tags(app: &Iam, tx: &mut Tx, op: UntagOpenIDConnectProvider) -> Result<(), ApiError> {
    check::tag_keys(&op.tag_keys)?;
    let provider = found(app, tx.view(), &op.arn)?;
    untag(tx, provider, &op.tag_keys);
    Ok(())
}

fn tags_of(
    app: &Iam,
    view: &View,
    op: &ListOpenIDConnectProviderTags,
) -> Result<TagList, ApiError> {
    list_tags(&found(app, view, &op.arn)?.tags, cut!(op))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    use lath_control::Cell;

    fn app(mode: Mode) -> Iam {
        let mut cell = Cell::for_test().0;
        cell.mode = mode;
        Iam::new(cell, Arc::default())
    }

    #[test]
    fn a_url_is_https_and_a_host_and_a_path() {
        let strict = app(Mode::Strict);
        let code = |url: &str| checked_url(&strict, url).map_err(|it| it.code.into_owned());
        for url in [
            "https://example.com",
            "https://example.com/",
            "https://10.0.0.1",
            "https://oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF",
        ] {
            assert_eq!(code(url).unwrap(), url["https://".len()..], "{url}");
        }
        for (url, want) in [
            ("", "ValidationError"),
            ("example.com", "ValidationError"),
            ("https://", "ValidationError"),
            ("https:///path", "ValidationError"),
            ("http://example.com", "InvalidInput"),
            ("HTTPS://example.com", "InvalidInput"),
            ("https://user:pass@example.com", "InvalidInput"),
            ("https://example.com?a=1", "InvalidInput"),
            ("https://example.com/x?a=1", "InvalidInput"),
            ("https://example.com#a", "InvalidInput"),
            ("https://example.com:8443", "InvalidInput"),
            ("https://exa_mple.com", "InvalidInput"),
            ("https://example.com/a b", "InvalidInput"),
        ] {
            assert_eq!(code(url).unwrap_err(), want, "{url}");
        }
        let extended = app(Mode::Extended);
        let with_port = checked_url(&extended, "https://example.com:8443/x");
        assert_eq!(with_port.unwrap(), "example.com:8443/x");
        assert!(checked_url(&extended, "https://example.com:0").is_err());
    }

    #[test]
    fn a_thumbprint_has_forty_characters_and_there_are_five() {
        let print = |c: &str| c.repeat(40);
        let most: Vec<String> = (0..5).map(|it| print(&it.to_string())).collect();
        assert!(checked_thumbprints(&most).is_ok());
        assert_eq!(checked_thumbprints(&[print("A")]).unwrap(), [print("a")]);
        assert!(checked_thumbprints(&[print("a"), "a".into()]).is_err());
        let more = [most, vec![print("6")]].concat();
        let error = checked_thumbprints(&more).unwrap_err();
        assert_eq!(error.code, "InvalidInput");
    }
}
