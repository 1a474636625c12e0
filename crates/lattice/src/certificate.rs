//! What HTTPS listeners present: ACM's certificates by custom domain names, and one of the installation's own authority
//! by generated names.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lath_acm::NotUsable;
use lath_ca::{KeyAlgorithm, Usable};
use lath_control::{Cell, Claim, Mode};
use lath_feed as feed;
use lath_model::Timestamp;
use lath_model::id::ServiceId;
use lath_model::lattice::ListenerProtocol;
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;

use crate::record::{ForeignCertificate, GENERATED, GeneratedCertificate, Listener, Service};
use crate::{fault, region, service};

/// How long a certificate for generated names is valid. It is replaced when a third of that is left.
const LIFETIME: Duration = Duration::from_secs(30 * 86400);

/// Whether a service with this custom domain name may present the certificate, by AWS's rules: an RSA key of 2048 bits
/// (extended mode takes any), and a name that covers the domain's.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check(
    cell: &Cell,
    view: &View,
    arn: &str,
    domain: Option<&str>,
) -> Result<(), ApiError> {
    let refuse = |message: String| fault::invalid("certificateArn", message);
    let Some(domain) = domain else {
        return Err(refuse(
            "A certificate is presented by the custom domain name, which the service does not have"
                .to_owned(),
        ));
    };
    let usable = lath_acm::usable(cell, view, arn)
        .map_err(|reason| refuse(format!("Certificate {arn} cannot be used: {reason}")))?;
    if cell.mode == Mode::Strict && usable.key_algorithm != KeyAlgorithm::Rsa2048 {
        return Err(refuse(format!(
            "The key of certificate {arn} is not supported: use RSA_2048"
        )));
    }
    if !usable.names.iter().any(|name| covers(name, domain)) {
        return Err(refuse(format!(
            "Certificate {arn} does not cover the custom domain name {domain}"
        )));
    }
    Ok(())
}

/// Whether a certificate for `name` may be presented by `domain`: a wildcard stands for one label.
fn covers(name: &str, domain: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("*.") {
        None => name == domain,
        Some(parent) => domain
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
    }
}

/// What keeps ACM from deleting a service's certificate.
fn its_claim(cell: &Cell, record: &Service) -> Option<Claim> {
    let resource = record.certificate_arn.clone()?;
    let holder = service::arn(cell, &record.id);
    Some(Claim { resource, holder })
}

/// A service uses its certificate from now on.
pub(crate) fn claim(cell: &Cell, tx: &mut Tx, record: &Service) {
    if let Some(claim) = its_claim(cell, record) {
        tx.put(claim);
    }
}

/// A service does not use its certificate any more.
pub(crate) fn release(cell: &Cell, tx: &mut Tx, record: &Service) {
    if let Some(claim) = its_claim(cell, record) {
        tx.delete::<Claim>(&claim.id());
    }
}

fn foreign_claim(record: &ForeignCertificate) -> Claim {
    Claim {
        resource: record.certificate_arn.clone(),
        holder: record.service_arn.clone(),
    }
}

/// Another region's service presents this certificate here from now on, or none.
pub(crate) fn present_here(tx: &mut Tx, service: &feed::Service, arn: Option<String>) {
    forget(tx, &service.id);
    if let Some(certificate_arn) = arn {
        let record = ForeignCertificate {
            service: service.id.clone(),
            service_arn: service.arn.clone(),
            certificate_arn,
        };
        tx.put(foreign_claim(&record));
        tx.put(record);
    }
}

/// Another region's service presents no certificate here any more.
pub(crate) fn forget(tx: &mut Tx, service: &ServiceId) {
    if let Some(record) = tx.get::<ForeignCertificate>(service.as_str()) {
        tx.delete::<Claim>(&foreign_claim(&record).id());
        tx.delete::<ForeignCertificate>(service.as_str());
    }
}

/// The certificate that another region's service presents here.
pub(crate) fn arn_here(view: &View, service: &ServiceId) -> Option<String> {
    let record = view.get::<ForeignCertificate>(service.as_str());
    record.map(|it| it.certificate_arn.clone())
}

/// What another region's service presents here by its custom domain name: a certificate of this region.
pub(crate) fn of_foreign(
    cell: &Cell,
    view: &View,
    service: &feed::Service,
) -> Option<feed::Certificate> {
    let arn = arn_here(view, &service.id)?;
    let mut listeners = service.listeners.values();
    if !listeners.any(|listener| listener.protocol == ListenerProtocol::Https) {
        return None;
    }
    presented(cell, view, &service.arn, &arn)
}

/// Services whose certificates cannot be presented, and why: each is logged once, and not with each pass over the state.
static LOGGED: Mutex<BTreeMap<String, NotUsable>> = Mutex::new(BTreeMap::new());

/// Says so when HTTPS of a service stopped, or works again.
fn log_change(service: &str, certificate: &str, reason: Option<&NotUsable>) {
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.get(service) == reason {
        return;
    }
    match reason {
        Some(reason) => {
            tracing::error!(service.id = service, certificate.arn = certificate, %reason, "a service's certificate cannot be presented: clients of its custom domain name cannot connect by HTTPS");
            logged.insert(service.to_owned(), reason.clone());
        }
        None => {
            tracing::info!(
                service.id = service,
                certificate.arn = certificate,
                "a service's certificate is presented again"
            );
            logged.remove(service);
        }
    }
}

/// What a service presents by its custom domain name. `None` also where its certificate is of no use any more.
pub(crate) fn of_service(cell: &Cell, view: &View, record: &Service) -> Option<feed::Certificate> {
    let arn = record.certificate_arn.as_deref()?;
    let prefix = format!("{}/", record.id);
    let mut listeners = view.range::<Listener>(&prefix);
    if !listeners.any(|listener| listener.protocol == ListenerProtocol::Https) {
        return None;
    }
    presented(cell, view, &service::arn(cell, &record.id), arn)
}

/// What a gateway's listener presents. `None`: it is of no use any more.
pub(crate) fn of_gateway(
    cell: &Cell,
    view: &View,
    listener: &str,
    arn: &str,
) -> Option<feed::GatewayCertificate> {
    let found = lath_acm::usable(cell, view, arn);
    log_change(&format!("{listener} {arn}"), arn, found.as_ref().err());
    let found = found.ok()?;
    Some(feed::GatewayCertificate {
        certificate: in_feed(&found),
        names: found
            .names
            .iter()
            .map(|it| it.to_ascii_lowercase())
            .collect(),
    })
}

/// What a gateway, or a group's health checks, show targets that ask. `None`: it is of no use any more.
pub(crate) fn shown(
    cell: &Cell,
    view: &View,
    holder: &str,
    arn: &str,
) -> Option<feed::Certificate> {
    let found = lath_acm::usable(cell, view, arn);
    if let Err(reason) = &found {
        tracing::error!(resource.arn = holder, certificate.arn = arn, %reason, "targets that ask for a certificate are not shown it: it cannot be used");
    }
    found.ok().map(|it| in_feed(&it))
}

fn presented(cell: &Cell, view: &View, service: &str, arn: &str) -> Option<feed::Certificate> {
    let found = lath_acm::usable(cell, view, arn);
    log_change(service, arn, found.as_ref().err());
    found.ok().map(|it| in_feed(&it))
}

fn in_feed(usable: &Usable) -> feed::Certificate {
    feed::Certificate {
        chain: pem(&usable.chain),
        key: feed::Hidden(usable.key.reveal_pem().to_string()),
    }
}

/// Certificates as PEM.
pub(crate) fn pem(chain: &[Vec<u8>]) -> String {
    let chain = chain.iter();
    chain
        .map(|der| lath_ca::encode("CERTIFICATE", der))
        .collect()
}

/// What is presented by generated names.
pub(crate) fn generated(cell: &Cell, view: &View) -> Option<feed::Certificate> {
    let record = view.get::<GeneratedCertificate>(GENERATED)?;
    let key = cell.authority.as_ref()?.unseal(&record.key)?;
    Some(feed::Certificate {
        chain: record.chain.clone(),
        key: feed::Hidden(key.reveal_pem().to_string()),
    })
}

/// Makes the certificate for generated names when a service first needs it, and anew before it ends.
///
/// # Errors
/// When the state cannot be written.
pub(crate) async fn renew(cell: &Cell, now: Timestamp) -> Result<(), ApiError> {
    let Some(authority) = &cell.authority else {
        return Ok(());
    };
    let view = cell.db.view();
    let names = generated_names(cell);
    let known = view.get::<GeneratedCertificate>(GENERATED);
    let is_fresh = |known: &GeneratedCertificate| {
        let opens = authority.unseal(&known.key).is_some();
        opens && known.names == names && known.not_after.since(now) >= LIFETIME / 3
    };
    if !is_wanted(&view) || known.as_deref().is_some_and(is_fresh) {
        return Ok(());
    }
    let made = match authority.issue(&names, LIFETIME, now) {
        Ok(made) => made,
        Err(error) => {
            tracing::error!(%error, "no certificate can be made for generated names");
            return Ok(());
        }
    };
    let record = GeneratedCertificate {
        names,
        chain: pem(&made.chain),
        key: authority.seal(&made.key),
        made: now,
        not_after: made.not_after,
    };
    cell.db
        .write(|tx| {
            tx.put(record);
            Ok(())
        })
        .await
}

fn is_wanted(view: &View) -> bool {
    let https = format!("{:?}", ListenerProtocol::Https);
    let mut here = view.by::<Listener>("protocol", &https);
    here.next().is_some()
        || region::services(view).any(|service| {
            let mut listeners = service.listeners.values();
            listeners.any(|listener| listener.protocol == ListenerProtocol::Https)
        })
}

/// The generated names of all regions: services of one are reached in others.
fn generated_names(cell: &Cell) -> Vec<String> {
    let regions = cell.topology.regions.keys();
    regions
        .map(|region| format!("*.{}", service::generated_domain(region)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (name, domain, expected) in [
            ("shop.example.com", "shop.example.com", true),
            ("Shop.Example.com", "shop.example.com", true),
            ("*.example.com", "shop.example.com", true),
            ("*.example.com", "a.shop.example.com", false),
            ("*.example.com", "example.com", false),
            ("example.com", "shop.example.com", false),
        ] {
            assert_eq!(covers(name, domain), expected, "{name} for {domain}");
        }
    }
}
