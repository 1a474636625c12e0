//! Tells an API server which issuer's tokens it takes from users, and sees when it has obeyed.

use std::path::Path;

use lath_feed::{ControlPlane, IdentityProvider};
use lath_instance::Instances;
use lath_kubernetes::authentication::{DIRECTORY, FILE, configuration, is_in_force};
use lath_kubernetes::{Client, ClientError};
use lath_model::WorkloadId;

use super::plane;

/// The longest list of authorities that is taken over, in bytes.
const LONGEST: usize = 256 << 10;
/// The most bytes of an API server's metrics.
const LARGEST_METRICS: usize = 64 << 20;

/// What is known of one cluster's configuration.
#[derive(Default)]
pub(super) struct Authentication {
    /// What was written last, and of whom it speaks.
    written: Option<(String, Option<IdentityProvider>)>,
    /// The provider of the configuration that was seen in force.
    in_force: Option<IdentityProvider>,
    /// Whether any was: until then none may be in force, or one that an earlier process wrote.
    is_known: bool,
    /// Whether that is of what was written.
    is_settled: bool,
    logged: Option<String>,
}

impl Authentication {
    /// The identity provider that the API server has.
    pub(super) fn in_force(&self) -> Option<&IdentityProvider> {
        self.in_force.as_ref()
    }

    /// Whether [`Self::in_force`] is what the API server was seen to have.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Makes the API server know the issuer that it should. What fails is tried again by the next look.
    pub(super) async fn ensure(
        &mut self,
        instances: &Instances,
        client: &Client,
        wanted: &ControlPlane,
        slowly: bool,
    ) {
        let provider = &wanted.identity_provider;
        let is_new = self.written.as_ref().is_none_or(|(_, of)| of != provider);
        // Authorities are a ConfigMap, which others change, and a boot writes the file anew.
        if is_new || slowly {
            match self.write(instances, client, wanted).await {
                Ok(()) => self.logged = None,
                Err(reason) => self.log(wanted, reason),
            }
        }
        let Some((text, of)) = &self.written else {
            return;
        };
        if self.is_settled {
            return;
        }
        match client.text("/metrics", LARGEST_METRICS).await {
            Ok(metrics) if is_in_force(&metrics, text) => {
                self.in_force.clone_from(of);
                self.is_settled = true;
                self.is_known = true;
            }
            Ok(_) => {}
            Err(error) => self.log(wanted, error.to_string()),
        }
    }

    async fn write(
        &mut self,
        instances: &Instances,
        client: &Client,
        wanted: &ControlPlane,
    ) -> Result<(), String> {
        let named = wanted.identity_provider.as_ref();
        let authorities = match named.and_then(|it| it.authorities.as_ref()) {
            None => None,
            Some(name) => {
                let found = authorities(client, name).await;
                let found = found.map_err(|error| error.to_string())?;
                Some(found.ok_or_else(|| {
                    format!("the ConfigMap kube-system/{name} has no certificates as ca.crt")
                })?)
            }
        };
        let text = configuration(wanted, authorities.as_deref());
        let (id, content) = (plane::workload(wanted), text.clone());
        let instances = instances.clone();
        let written = tokio::task::spawn_blocking(move || write(&instances, &id, &content));
        match written.await {
            Ok(Ok(())) => {
                let is_known = self.written.as_ref().is_some_and(|(it, _)| *it == text);
                self.is_settled &= is_known;
                self.written = Some((text, wanted.identity_provider.clone()));
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn log(&mut self, wanted: &ControlPlane, reason: String) {
        if self.logged.as_ref() != Some(&reason) {
            let cluster = &wanted.name;
            tracing::warn!(
                cluster,
                reason,
                "the identity provider of an API server cannot be configured"
            );
            self.logged = Some(reason);
        }
    }
}

fn write(instances: &Instances, id: &WorkloadId, content: &str) -> std::io::Result<()> {
    instances.write_file(id, Path::new(DIRECTORY), FILE, content.as_bytes())
}

async fn authorities(client: &Client, name: &str) -> Result<Option<String>, ClientError> {
    let path = format!("/api/v1/namespaces/kube-system/configmaps/{name}");
    let found = client.find(&path).await?.unwrap_or_default();
    let text = found["data"]["ca.crt"].as_str().unwrap_or_default();
    let is_fine = text.contains("-----BEGIN CERTIFICATE-----") && text.len() <= LONGEST;
    Ok(is_fine.then(|| text.to_owned()))
}
