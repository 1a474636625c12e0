//! The certificates of the webhook, and that the API server trusts them.
//!
//! Each replica makes a certificate that is signed by its own key, which never leaves the process, and adds it to the `caBundle` of
//! the webhook's configuration: so no private key is kept anywhere, and what the API server trusts is these certificates alone, and
//! no authority. A certificate is served when it was seen in the configuration, also when it takes the place of an earlier one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Api, Patch, PatchParams};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use tokio::time::Instant;

use super::PATH;
use crate::controller::App;

/// How long a certificate is valid, and after how long another one takes its place.
const VALID: Duration = Duration::from_secs(48 * 3600);
const RENEWED: Duration = Duration::from_secs(24 * 3600);
/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(3600);
/// How many certificates a bundle has at most; and how many of the newest have to have the own one, so that replicas that come
/// and go do not push it out.
const MOST: usize = 32;
const NEWEST: usize = 16;
/// How often the configuration is looked at: while it is not as it should be, and otherwise.
const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(5);

/// A certificate with its key.
struct Own {
    pem: String,
    config: Arc<ServerConfig>,
    /// The names that it is for.
    names: Vec<String>,
    made: Instant,
}

/// What is served with.
#[derive(Default)]
pub(crate) struct Served {
    now: RwLock<Option<Arc<ServerConfig>>>,
    /// Whether it is known that no API server asks, because there is no such configuration.
    unasked: AtomicBool,
}

impl Served {
    /// What TLS is spoken with; `None` before the API server trusts a certificate.
    pub(crate) fn config(&self) -> Option<Arc<ServerConfig>> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }

    /// Whether the API server may send its questions here.
    pub(crate) fn is_ready(&self) -> bool {
        self.config().is_some() || self.unasked.load(Ordering::Acquire)
    }

    fn serve(&self, config: Arc<ServerConfig>) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }
}

/// Makes a certificate for these names, valid from this time on.
fn make(names: &[String], now: SystemTime) -> anyhow::Result<Own> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.not_before = (now - SKEW).into();
    params.not_after = (now + VALID).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name = rcgen::DistinguishedName::new();
    let common = "lath gateway webhook";
    params.distinguished_name.push(DnType::CommonName, common);
    let certificate = params.self_signed(&key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Own {
        pem: certificate.pem().trim().replace("\r\n", "\n"),
        config: Arc::new(config),
        names: names.to_vec(),
        made: Instant::now(),
    })
}

/// The names under which API servers reach the webhook, by the parts of its configuration that are about this path.
fn names(configuration: &MutatingWebhookConfiguration) -> Vec<String> {
    let mut names = Vec::new();
    for webhook in ours(configuration) {
        let client = &webhook.client_config;
        if let Some(service) = &client.service {
            let host = format!("{}.{}.svc", service.name, service.namespace);
            names.push(host);
        }
        if let Some(url) = client
            .url
            .as_ref()
            .and_then(|it| it.parse::<hyper::Uri>().ok())
        {
            names.extend(url.host().map(|it| it.trim_matches(['[', ']']).to_owned()));
        }
    }
    names.sort();
    names.dedup();
    names
}

fn is_ours(webhook: &k8s_openapi::api::admissionregistration::v1::MutatingWebhook) -> bool {
    let client = &webhook.client_config;
    let path = match (&client.service, &client.url) {
        (Some(service), _) => service.path.clone(),
        (None, Some(url)) => url
            .parse::<hyper::Uri>()
            .ok()
            .map(|it| it.path().to_owned()),
        (None, None) => None,
    };
    path.as_deref() == Some(PATH)
}

fn ours(
    configuration: &MutatingWebhookConfiguration,
) -> impl Iterator<Item = &k8s_openapi::api::admissionregistration::v1::MutatingWebhook> {
    let all = configuration.webhooks.iter().flatten();
    all.filter(|it| is_ours(it))
}

/// The certificates of a bundle, each as its text.
fn split(bundle: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = bundle.split_inclusive(END).filter(|it| it.contains(END));
    let blocks = blocks.filter_map(|it| Some(it[it.find("-----BEGIN CERTIFICATE-----")?..].trim()));
    blocks.map(|it| it.replace("\r\n", "\n")).collect()
}

/// What a bundle has to become; `None` for one that has the certificate where it should be.
fn extended(bundle: &str, own: &str, former: Option<&str>) -> Option<String> {
    let mut all = split(bundle);
    let newest = all.iter().rev().take(NEWEST);
    if newest.into_iter().any(|it| it == own) {
        return None;
    }
    // The former one is served until the API server has the new one.
    all.retain(|it| it != own && Some(it.as_str()) != former);
    all.extend(former.map(str::to_owned));
    all.push(own.to_owned());
    let from = all.len().saturating_sub(MOST);
    Some(all[from..].join("\n") + "\n")
}

/// Keeps a certificate in the configuration, and served.
pub(crate) struct Renewer {
    pub(crate) app: Arc<App>,
    pub(crate) served: Arc<Served>,
    /// The configuration's name.
    pub(crate) name: String,
    current: Option<Own>,
    next: Option<Own>,
}

impl Renewer {
    pub(crate) fn new(app: Arc<App>, served: Arc<Served>, name: String) -> Self {
        Self {
            app,
            served,
            name,
            current: None,
            next: None,
        }
    }

    /// One look. True when nothing is to be done.
    pub(crate) async fn look(&mut self) -> anyhow::Result<bool> {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.app.client.clone());
        let Some(found) = api.get_opt(&self.name).await? else {
            self.served.unasked.store(true, Ordering::Release);
            anyhow::bail!("there is no MutatingWebhookConfiguration {}", self.name);
        };
        let names = names(&found);
        self.served
            .unasked
            .store(names.is_empty(), Ordering::Release);
        if names.is_empty() {
            anyhow::bail!("no webhook of {} has the path {PATH}", self.name);
        }
        let good = |own: &Own| own.names == names && own.made.elapsed() < RENEWED;
        if !self.current.as_ref().is_some_and(good) && !self.next.as_ref().is_some_and(good) {
            self.next = Some(make(&names, self.app.settings.clock.system_time())?);
        }
        let Some(own) = self.next.as_ref().or(self.current.as_ref()) else {
            return Ok(false);
        };
        let former = self
            .next
            .is_some()
            .then_some(self.current.as_ref())
            .flatten();
        let mut webhooks = found.webhooks.clone().unwrap_or_default();
        let mut changed = false;
        for webhook in webhooks.iter_mut().filter(|it| is_ours(it)) {
            let bundle = webhook.client_config.ca_bundle.clone().unwrap_or_default();
            let bundle = String::from_utf8_lossy(&bundle.0).into_owned();
            if let Some(more) = extended(&bundle, &own.pem, former.map(|it| it.pem.as_str())) {
                webhook.client_config.ca_bundle = Some(ByteString(more.into_bytes()));
                changed = true;
            }
        }
        if changed {
            // The version keeps what another replica has added meanwhile.
            let version = &found.metadata.resource_version;
            let patch = json!({"metadata": {"resourceVersion": version}, "webhooks": webhooks});
            let params = PatchParams::default();
            match api.patch(&self.name, &params, &Patch::Merge(&patch)).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error.into()),
            }
            return Ok(false);
        }
        if let Some(next) = self.next.take() {
            self.served.serve(Arc::clone(&next.config));
            tracing::info!(
                names = next.names.join(","),
                "the webhook has a certificate"
            );
            self.current = Some(next);
        }
        Ok(true)
    }

    /// Goes on for as long as the process lives.
    pub(crate) async fn keep(mut self) {
        let mut said = String::new();
        loop {
            let pause = match self.look().await {
                Ok(true) => LATER,
                Ok(false) => SOON,
                Err(error) => {
                    let now = format!("{error:#}");
                    if now != said {
                        tracing::warn!(error = now, "the webhook cannot be served yet");
                        said = now;
                    }
                    LATER
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(word: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{word}\n-----END CERTIFICATE-----")
    }

    #[test]
    fn a_bundle_keeps_what_others_serve_with() {
        let (a, b) = (block("a"), block("b"));
        let one = extended("", &a, None).unwrap();
        let two = extended(&one, &b, None).unwrap();
        assert_eq!(split(&two), [a.clone(), b.clone()]);
        assert_eq!(extended(&two, &a, None), None);
        // A new one comes after the one that it will stand for.
        let c = block("c");
        let three = extended(&two, &c, Some(&a)).unwrap();
        assert_eq!(split(&three), [b, a, c]);
        // Replicas that come and go push out neither each other nor this one.
        let mut bundle = one;
        for at in 0..100 {
            bundle = extended(&bundle, &block(&at.to_string()), None).unwrap();
            if let Some(more) = extended(&bundle, &block("a"), None) {
                bundle = more;
            }
            let all = split(&bundle);
            assert!(all.len() <= MOST && all.contains(&block("a")));
        }
    }

    #[test]
    fn certificates_are_for_the_names_of_the_configuration() {
        let configuration: MutatingWebhookConfiguration = serde_json::from_value(json!({
            "metadata": {"name": "w"}, "webhooks": [
                {"name": "a", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                 "clientConfig": {"service": {"name": "webhook-service", "namespace": "system", "path": "/mutate-pod"}}},
                {"name": "b", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                 "clientConfig": {"url": "https://127.0.0.1:9443/mutate-pod"}},
                {"name": "c", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                 "clientConfig": {"url": "https://other.example.com/else"}}]})).unwrap();
        let names = names(&configuration);
        assert_eq!(names, ["127.0.0.1", "webhook-service.system.svc"]);
        let own = make(&names, SystemTime::UNIX_EPOCH + VALID).unwrap();
        assert!(
            own.pem.starts_with("-----BEGIN") && own.pem.ends_with("-----END CERTIFICATE-----")
        );
        assert_eq!(split(&format!("{}\n", own.pem)), [own.pem.as_str()]);
    }
}
