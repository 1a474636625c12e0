//! Listeners as entrances to other services, as the Gateway API has them. An extension, asked for by a tag of a listener.

mod written;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use lath_control::{Cell, Claim, Mode};
use lath_feed as feed;
use lath_model::id::ServiceId;
use lath_model::lattice::ListenerProtocol;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::ident::Kind;
use crate::long_tag::{LongTag, MANY_PARTS};
use crate::record::{ForeignAddress, Listener, Service, Tags};
use crate::{certificate, fault, listener, region, service};

pub(crate) use written::{host_of, is_name, read};

const NAME: &str = "lath:gateway";

/// The tag.
pub(crate) const TAG: LongTag = LongTag {
    name: NAME,
    what: "the listeners of a gateway",
    parts: MANY_PARTS,
};

/// The tag of a service with such listeners that says where they are reached. It is shown, and not kept.
pub(crate) const ADDRESS: &str = "lath:address";

/// The index of listeners that are entrances.
pub(crate) const INDEX: &str = "gateway";
/// Its only key.
const IS_ONE: &str = "is-one";

/// The listeners of a Gateway that have the port and protocol of one of Lattice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gateway {
    pub(crate) listeners: Vec<GatewayListener>,
    /// The ARN of what targets are shown that ask for a certificate.
    #[serde(default)]
    pub(crate) client_certificate: Option<String>,
    /// Whether it carries TCP, of which nothing is read.
    #[serde(default)]
    pub(crate) opaque: bool,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GatewayListener {
    pub(crate) name: String,
    /// A host or a wildcard, in small letters; `None`: all hosts.
    pub(crate) hostname: Option<String>,
    /// ARNs.
    pub(crate) certificates: Vec<String>,
}

/// The key of a listener in the index, if it is an entrance.
pub(crate) fn index_key(record: &Listener) -> Option<(&'static str, String)> {
    let gateway = record.gateway.as_ref();
    gateway.map(|_| (INDEX, IS_ONE.to_owned()))
}

/// What the tags of a listener make it an entrance for.
///
/// # Errors
/// It is malformed, or names a certificate that cannot be presented.
pub(crate) fn of(
    cell: &Cell,
    view: &View,
    protocol: ListenerProtocol,
    tags: &Tags,
) -> Result<Option<Box<Gateway>>, ApiError> {
    TAG.check_mode(cell, tags)?;
    let Some(text) = TAG.text(tags)? else {
        return Ok(None);
    };
    let gateway = read(&text).map_err(|error| TAG.wrong(error))?;
    if gateway.opaque && protocol != ListenerProtocol::TlsPassthrough {
        let message = "protocol: only a TLS_PASSTHROUGH listener carries TCP";
        return Err(TAG.wrong(message));
    }
    for (index, it) in gateway.listeners.iter().enumerate() {
        let at = format!("listeners.{index}.certificateArns");
        match (protocol, it.certificates.is_empty()) {
            (ListenerProtocol::Https, true) => {
                let message = format!("{at}: an HTTPS listener needs a certificate");
                return Err(TAG.wrong(message));
            }
            (ListenerProtocol::Http | ListenerProtocol::TlsPassthrough, false) => {
                let message = format!("{at}: only an HTTPS listener presents certificates");
                return Err(TAG.wrong(message));
            }
            _ => {}
        }
        for arn in &it.certificates {
            if let Err(reason) = lath_acm::usable(cell, view, arn) {
                return Err(TAG.wrong(format!("{at}: {arn} cannot be used: {reason}")));
            }
        }
    }
    if let Some(arn) = &gateway.client_certificate {
        if protocol == ListenerProtocol::TlsPassthrough {
            let message =
                "clientCertificateArn: targets behind TLS_PASSTHROUGH are clients' to convince";
            return Err(TAG.wrong(message));
        }
        if let Err(reason) = lath_acm::usable(cell, view, arn) {
            let message = format!("clientCertificateArn: {arn} cannot be used: {reason}");
            return Err(TAG.wrong(message));
        }
    }
    Ok(Some(Box::new(gateway)))
}

/// The certificates that tags let a listener present, for permissions; none where they are malformed, which is for [`of`] to say.
pub(crate) fn presented(tags: &Tags) -> Vec<String> {
    let text = TAG.text(tags).ok().flatten();
    let gateway = text.and_then(|text| read(&text).ok());
    let shown = gateway
        .iter()
        .filter_map(|it| it.client_certificate.clone());
    let listeners = gateway.iter().flat_map(|it| &it.listeners);
    let own = listeners.flat_map(|it| it.certificates.clone());
    own.chain(shown).collect()
}

/// Refuses tags that are being set where they mean nothing, or that are a part of a text.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_given(kind: Kind, given: &Tags) -> Result<(), ApiError> {
    if given.contains_key(ADDRESS) {
        let message = format!("{ADDRESS} says where a gateway is reached, and cannot be set");
        return Err(fault::invalid("tags", message));
    }
    TAG.check_place(kind == Kind::Listener, "listeners", given)
}

/// The tags of a resource are about to be these: a listener is the entrance that they ask for.
///
/// # Errors
/// As [`of`] and [`settle`].
pub(crate) fn retag(
    cell: &Cell,
    tx: &mut Tx,
    kind: Kind,
    place: &str,
    tags: &Tags,
) -> Result<(), ApiError> {
    let found = match kind {
        Kind::Listener => tx.get::<Listener>(place),
        _ => None,
    };
    // What is not changed is not judged again: a certificate may have ended meanwhile.
    let Some(found) = found.filter(|it| !TAG.is_same(&it.tags, tags)) else {
        return Ok(());
    };
    let gateway = match cell.mode {
        Mode::Extended => of(cell, tx.view(), found.protocol, tags)?,
        // Only its removal comes so far.
        Mode::Strict => None,
    };
    listener::release(cell, tx, &found);
    let next = tx.put(Listener {
        gateway,
        ..Listener::clone(&found)
    });
    listener::claim(cell, tx, &next);
    settle(tx, &next)
}

/// The claims that keep ACM from deleting the certificates of a listener.
pub(crate) fn its_claims(cell: &Cell, record: &Listener) -> Vec<Claim> {
    let holder = listener::arn(cell, &record.service, &record.id);
    let gateway = record.gateway.iter();
    let shown = gateway
        .clone()
        .filter_map(|it| it.client_certificate.as_ref());
    let listeners = gateway.flat_map(|it| &it.listeners);
    let claim = |resource: &String| Claim {
        resource: resource.clone(),
        holder: holder.clone(),
    };
    listeners
        .flat_map(|it| &it.certificates)
        .chain(shown)
        .map(claim)
        .collect()
}

/// How many services with entrances are at each address, those of other regions included.
pub(crate) fn addresses(view: &View) -> BTreeMap<Ipv4Addr, usize> {
    let own = view.by::<Listener>(INDEX, IS_ONE);
    let mut services: Vec<ServiceId> = own.map(|it| it.service.clone()).collect();
    services.sort();
    services.dedup();
    let own = services.iter().filter_map(|id| {
        let service = view.get::<Service>(id.as_str())?;
        Some(service.address)
    });
    let elsewhere = view.list::<ForeignAddress>().filter_map(|known| {
        let service = region::find_service(view, &known.service)?;
        region::is_gateway(&service).then_some(known.address)
    });
    let mut counts = BTreeMap::new();
    for address in own.chain(elsewhere) {
        *counts.entry(address).or_default() += 1;
    }
    counts
}

/// A listener may have become an entrance: it takes what comes to its service's address, so that no other service with
/// entrances is there. Services share addresses only when there are more than 253. Where TCP is carried, nothing tells services
/// apart: then no other one is there at all.
///
/// # Errors
/// `ServiceQuotaExceededException`: each address has such a service already, or, for TCP, any service.
pub(crate) fn settle(tx: &mut Tx, record: &Listener) -> Result<(), ApiError> {
    let Some(gateway) = &record.gateway else {
        return Ok(());
    };
    let opaque = gateway.opaque;
    let Some(service) = tx.get::<Service>(record.service.as_str()) else {
        return Ok(());
    };
    let gateways = addresses(tx.view());
    let is_crowded = opaque && service::holders(tx.view(), service.address) > 1;
    if !is_crowded && gateways.get(&service.address).is_none_or(|it| *it < 2) {
        return Ok(());
    }
    let address = service::free_address(tx.view());
    if opaque && service::holders(tx.view(), address) > 0 {
        return Err(fault::refused(
            "Each of the 253 addresses of services has one already, and a gateway of TCP needs its own",
        ));
    }
    if gateways.contains_key(&address) {
        return Err(fault::refused(
            "Each of the 253 addresses of services has a gateway already",
        ));
    }
    tx.update::<Service>(record.service.as_str(), |it| it.address = address);
    Ok(())
}

/// Where the service's entrances are reached, if it has some.
pub(crate) fn address_of(cell: &Cell, view: &View, id: &str) -> Option<Ipv4Addr> {
    let prefix = format!("{id}/");
    let mut listeners = view.range::<Listener>(&prefix);
    let is_one = cell.mode == Mode::Extended && listeners.any(|it| it.gateway.is_some());
    let service = view.get::<Service>(id).filter(|_| is_one);
    service.map(|it| it.address)
}

/// What nodes are told. In strict mode a listener is one like others.
pub(crate) fn in_feed(cell: &Cell, view: &View, record: &Listener) -> Option<feed::Gateway> {
    let gateway = record.gateway.as_deref();
    let gateway = gateway.filter(|_| cell.mode == Mode::Extended)?;
    let arn = listener::arn(cell, &record.service, &record.id);
    let listeners = gateway.listeners.iter().map(|it| feed::GatewayListener {
        name: it.name.clone(),
        hostname: it.hostname.clone(),
        certificates: it
            .certificates
            .iter()
            .filter_map(|certificate| certificate::of_gateway(cell, view, &arn, certificate))
            .collect(),
    });
    let shown = gateway.client_certificate.as_deref();
    Some(feed::Gateway {
        listeners: listeners.collect(),
        client_certificate: shown.and_then(|it| certificate::shown(cell, view, &arn, it)),
        opaque: gateway.opaque,
    })
}
