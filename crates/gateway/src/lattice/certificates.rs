//! Certificates of Secrets, imported to ACM, where listeners take them from.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_acm::primitives::Blob;
use aws_sdk_acm::types::{Filters, KeyAlgorithm, Tag};

use super::{Fault, Lattice, sent};
use crate::desired::{MANAGED_BY, key};
use crate::secrets::Secret;
use crate::world::Name;

/// The tags that say which Secret a certificate is of, and the content that was imported.
const SECRET_NAME: &str = "SecretName";
const SECRET_NAMESPACE: &str = "SecretNamespace";
const SECRET_HASH: &str = "SecretHash";

/// What is remembered of a certificate.
#[derive(Clone, Debug)]
pub(super) struct KnownCertificate {
    arn: String,
    /// Of the content, as far as it is known to have been imported.
    hash: String,
}

/// Whether ACM has refused a certificate for what it is, and not for what else is the matter.
pub(crate) fn is_refused(fault: &Fault) -> bool {
    let codes = ["ValidationException", "InvalidParameterException"];
    matches!(fault, Fault::Failed(why) if codes.iter().any(|it| why.starts_with(it)))
}

/// By Secret.
pub(super) type KnownCertificates = BTreeMap<Name, KnownCertificate>;

fn tag(name: &str, value: &str) -> Result<Tag, Fault> {
    let tag = Tag::builder().key(key(name)).value(value).build();
    tag.map_err(|error| Fault::Failed(error.to_string()))
}

/// What lists certificates with any key: without a word on it, only those of RSA with 2048 bits are listed.
pub(super) fn all_keys() -> Filters {
    let keys = KeyAlgorithm::values()
        .iter()
        .map(|it| KeyAlgorithm::from(*it));
    Filters::builder()
        .set_key_types(Some(keys.collect()))
        .build()
}

impl Lattice {
    /// The ARN of a Secret's certificate, which is imported where its content is not there: over the same ARN, when it has changed.
    pub(crate) async fn certificate(&self, name: &Name, secret: &Secret) -> Result<String, Fault> {
        // While this is locked, nothing else imports: a Secret of two Gateways is one certificate.
        let mut known = self.certificates.lock().await;
        if known.is_none() {
            *known = Some(self.own_certificates().await?);
        }
        let all = known.get_or_insert_default();
        if let Some(it) = all.get(name).filter(|it| it.hash == secret.hash) {
            return Ok(it.arn.clone());
        }
        let before = all.get(name).map(|it| it.arn.clone());
        let import = self
            .acm
            .import_certificate()
            .set_certificate_arn(before.clone())
            .certificate(Blob::new(secret.certificate.as_bytes()))
            .set_certificate_chain(secret.chain.as_ref().map(|it| Blob::new(it.as_bytes())))
            .private_key(Blob::new(secret.key.as_bytes()));
        let import = match before {
            // Tags cannot come with what replaces another: they follow.
            Some(_) => import,
            None => import
                .tags(tag(MANAGED_BY, &self.managed_by)?)
                .tags(tag(SECRET_NAME, &name.name)?)
                .tags(tag(SECRET_NAMESPACE, &name.namespace)?)
                .tags(tag(SECRET_HASH, &secret.hash)?),
        };
        let made = match import.send().await.map_err(Fault::from) {
            Ok(made) => made,
            Err(Fault::NotFound(message)) => {
                all.remove(name);
                return Err(Fault::Waits(message));
            }
            Err(fault) => {
                if matches!(fault, Fault::Unanswered(_)) {
                    // It may have been made nevertheless.
                    *known = None;
                }
                return Err(fault);
            }
        };
        let arn = sent(made.certificate_arn, "ARN of a certificate")?;
        if before.is_some() {
            let tags = self.acm.add_tags_to_certificate().certificate_arn(&arn);
            tags.tags(tag(SECRET_HASH, &secret.hash)?).send().await?;
        }
        tracing::info!(secret = %name, certificate.arn = arn, "certificate imported");
        let it = KnownCertificate {
            arn: arn.clone(),
            hash: secret.hash.clone(),
        };
        all.insert(name.clone(), it);
        Ok(arn)
    }

    /// The Secrets of the certificates that this controller has imported, by ARN.
    pub(crate) async fn imported_certificates(&self) -> Result<BTreeMap<String, Name>, Fault> {
        let mut known = self.certificates.lock().await;
        if known.is_none() {
            *known = Some(self.own_certificates().await?);
        }
        let all = known.get_or_insert_default().iter();
        Ok(all
            .map(|(name, it)| (it.arn.clone(), name.clone()))
            .collect())
    }

    /// Whether a certificate was imported from a Secret, by this controller or by that of another cluster.
    pub(super) async fn is_of_a_secret(&self, arn: &str) -> Result<bool, Fault> {
        let tags = self.tags_of_certificate(arn).await?;
        Ok(tags.is_some_and(|it| it.contains_key(&key(SECRET_NAME))))
    }

    /// `None`: there is no such certificate.
    async fn tags_of_certificate(
        &self,
        arn: &str,
    ) -> Result<Option<BTreeMap<String, String>>, Fault> {
        let tags = self.acm.list_tags_for_certificate().certificate_arn(arn);
        let tags = match tags.send().await.map_err(Fault::from) {
            Ok(tags) => tags.tags.unwrap_or_default().into_iter(),
            Err(Fault::NotFound(_)) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let tags = tags.map(|it| (it.key, it.value.unwrap_or_default()));
        Ok(Some(tags.collect()))
    }

    /// The certificates that are this controller's.
    async fn own_certificates(&self) -> Result<KnownCertificates, Fault> {
        let list = self.acm.list_certificates().includes(all_keys());
        let list = list.into_paginator().items().send();
        let mut found = KnownCertificates::new();
        for it in list.collect::<Result<Vec<_>, _>>().await? {
            let Some(arn) = it.certificate_arn else {
                continue;
            };
            let Some(tags) = self.tags_of_certificate(&arn).await? else {
                continue;
            };
            let of = |name: &str| tags.get(&key(name)).cloned();
            if of(MANAGED_BY).as_ref() != Some(&self.managed_by) {
                continue;
            }
            if let (Some(name), Some(namespace)) = (of(SECRET_NAME), of(SECRET_NAMESPACE)) {
                let hash = of(SECRET_HASH).unwrap_or_default();
                let at = Name { namespace, name };
                found.insert(at, KnownCertificate { arn, hash });
            }
        }
        Ok(found)
    }

    /// Deletes the certificates of Secrets that no Gateway names any more.
    pub(crate) async fn delete_certificates(&self, keep: &BTreeSet<Name>) -> Result<(), Fault> {
        let mut known = self.certificates.lock().await;
        if known.is_none() {
            *known = Some(self.own_certificates().await?);
        }
        let all = known.get_or_insert_default();
        let gone: Vec<_> = all
            .iter()
            .filter(|(name, _)| !keep.contains(*name))
            .map(|(name, it)| (name.clone(), it.arn.clone()))
            .collect();
        let mut used = None;
        for (name, arn) in gone {
            let delete = self.acm.delete_certificate().certificate_arn(&arn);
            match delete.send().await {
                Ok(_) => tracing::info!(secret = %name, certificate.arn = arn, "certificate goes"),
                Err(error) => {
                    let in_use = error
                        .as_service_error()
                        .is_some_and(|it| it.is_resource_in_use_exception());
                    match Fault::from(error) {
                        Fault::NotFound(_) => {}
                        _ if in_use => {
                            used = Some(format!("certificate {arn} is still in use"));
                            continue;
                        }
                        fault => return Err(fault),
                    }
                }
            }
            all.remove(&name);
        }
        used.map_or(Ok(()), |message| Err(Fault::Waits(message)))
    }
}
