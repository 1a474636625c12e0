//! Certificates of ACM that are found by the name that they are for, as AWS's controller finds them.

use std::time::Duration;

use aws_sdk_acm::types::{CertificateStatus, CertificateSummary, CertificateType};
use tokio::time::Instant;

use super::certificates::all_keys;
use super::{Fault, Lattice};

/// How long the list of certificates is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// A certificate that is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issued {
    arn: String,
    names: Vec<String>,
    /// Since when it is there, in seconds.
    since: i64,
}

/// The list, and since when it is known.
pub(super) type Known = Option<(Instant, Vec<Issued>)>;

/// Whether a name of a certificate is for a hostname: exactly, or as a wildcard for one label.
fn fits(name: &str, hostname: &str) -> Option<bool> {
    if name.eq_ignore_ascii_case(hostname) {
        return Some(true);
    }
    let (_, rest) = hostname.split_once('.')?;
    let wild = name.strip_prefix("*.")?;
    wild.eq_ignore_ascii_case(rest).then_some(false)
}

/// The certificate for a hostname: one that names it comes before a wildcard, and of several the newest.
fn best<'a>(all: &'a [Issued], hostname: &str) -> Option<&'a Issued> {
    let fitting = all.iter().filter_map(|it| {
        let exact = it
            .names
            .iter()
            .filter_map(|name| fits(name, hostname))
            .max()?;
        Some((exact, it.since, &it.arn, it))
    });
    fitting
        .max_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)))
        .map(|it| it.3)
}

impl Lattice {
    /// The ARN of the certificate that is issued for a hostname; `None` when there is none. Those that controllers have imported from
    /// Secrets are for who may refer to these.
    pub(crate) async fn certificate_for(&self, hostname: &str) -> Result<Option<String>, Fault> {
        // While this is locked, others wait for the list instead of asking for it too.
        let mut known = self.issued.lock().await;
        let fresh = known
            .as_ref()
            .is_some_and(|(since, _)| since.elapsed() < BELIEVED);
        if !fresh {
            *known = Some((Instant::now(), self.list_issued().await?));
        }
        let all = known.as_ref().map_or(&[][..], |(_, all)| all);
        Ok(best(all, hostname).map(|it| it.arn.clone()))
    }

    async fn list_issued(&self) -> Result<Vec<Issued>, Fault> {
        let list = self
            .acm
            .list_certificates()
            .certificate_statuses(CertificateStatus::Issued)
            .includes(all_keys());
        let list = list.into_paginator().items().send();
        let mut issued = Vec::new();
        for it in list.collect::<Result<Vec<_>, _>>().await? {
            if let Some(it) = self.read_issued(it).await? {
                issued.push(it);
            }
        }
        Ok(issued)
    }

    async fn read_issued(&self, it: CertificateSummary) -> Result<Option<Issued>, Fault> {
        let Some(arn) = it.certificate_arn else {
            return Ok(None);
        };
        // The list may be told to have others.
        if it
            .status
            .is_some_and(|status| status != CertificateStatus::Issued)
        {
            return Ok(None);
        }
        let imported = it.r#type != Some(CertificateType::AmazonIssued);
        if imported && self.is_of_a_secret(&arn).await? {
            return Ok(None);
        }
        let since = [it.issued_at, it.imported_at, it.created_at];
        let since = since.into_iter().flatten().map(|at| at.secs()).max();
        let mut names = it.subject_alternative_name_summaries.unwrap_or_default();
        if it.has_additional_subject_alternative_names == Some(true) {
            let found = self.acm.describe_certificate().certificate_arn(&arn).send();
            match found.await.map_err(Fault::from) {
                Ok(found) => names.extend(
                    found
                        .certificate
                        .and_then(|it| it.subject_alternative_names)
                        .unwrap_or_default(),
                ),
                // It went in between.
                Err(Fault::NotFound(_)) => return Ok(None),
                Err(fault) => return Err(fault),
            }
        }
        names.extend(it.domain_name);
        Ok(Some(Issued {
            arn,
            names,
            since: since.unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_comes_before_a_wildcard_and_of_several_the_newest() {
        let issued = |arn: &str, names: &[&str], since| Issued {
            arn: arn.to_owned(),
            names: names.iter().map(|&it| it.to_owned()).collect(),
            since,
        };
        let all = [
            issued("wild", &["*.example.com"], 9),
            issued("old", &["other.test", "A.example.com"], 1),
            issued("new", &["a.example.com"], 2),
        ];
        let found = |hostname: &str| best(&all, hostname).map(|it| it.arn.as_str());
        assert_eq!(found("a.example.com"), Some("new"));
        assert_eq!(found("b.example.com"), Some("wild"));
        assert_eq!(found("a.b.example.com"), None);
        assert_eq!(found("example.com"), None);
        assert_eq!(found("other.test"), Some("old"));
    }
}
