//! What a health check looks at: rules, defaults, and what the feed says of it.
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html>

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use lath_control::Cell;
use lath_feed::{CheckProtocol, EndpointCheck, Judge};
use lath_model::id::HealthCheckId;
use lath_store::View;
use lath_wire::ApiError;

use crate::record::HealthCheck;
use crate::shape::{HealthCheckConfig, HealthCheckType};
use crate::{fault, ident, limit, name};

/// Where AWS has checkers.
const REGIONS: [&str; 8] = [
    "us-east-1",
    "us-west-1",
    "us-west-2",
    "eu-west-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "sa-east-1",
];

/// Most children of a calculated check.
const CHILDREN: usize = 256;

fn wrong(text: impl std::fmt::Display) -> ApiError {
    fault::invalid(format!("Invalid parameter : {text}"))
}

fn ensure(sound: bool, text: impl std::fmt::Display) -> Result<(), ApiError> {
    if sound { Ok(()) } else { Err(wrong(text)) }
}

/// A configuration with its defaults.
///
/// # Errors
/// `InvalidInput`; `NoSuchHealthCheck` is none of them: an unknown child is invalid input too.
pub(crate) fn checked(
    cell: &Cell,
    view: &View,
    mut config: HealthCheckConfig,
) -> Result<HealthCheckConfig, ApiError> {
    use HealthCheckType as Type;
    ensure(
        config.measure_latency != Some(true),
        "MeasureLatency is not part of this service: health checkers keep no graphs of latency.",
    )?;
    config.measure_latency.get_or_insert(false);
    config.inverted.get_or_insert(false);
    config.disabled.get_or_insert(false);
    match config.kind {
        Type::CloudwatchMetric | Type::RecoveryControl => {
            return Err(fault::invalid(format!(
                "Health checks of type {} are not part of this service.",
                config.kind
            )));
        }
        Type::Calculated => check_calculated(view, &config)?,
        Type::Http | Type::Https | Type::HttpStrMatch | Type::HttpsStrMatch | Type::Tcp => {
            check_endpoint(cell, &mut config)?;
        }
    }
    ensure(
        config.routing_control.is_none(),
        "RoutingControlArn is for health checks of type RECOVERY_CONTROL only.",
    )?;
    Ok(config)
}

fn check_calculated(view: &View, config: &HealthCheckConfig) -> Result<(), ApiError> {
    let endpoint = config.address.is_some()
        || config.name.is_some()
        || config.port.is_some()
        || config.path.is_some()
        || config.search.is_some()
        || config.interval.is_some()
        || config.threshold.is_some();
    ensure(
        !endpoint,
        "Calculated health checks must not have an endpoint, a request interval or a failure threshold specified.",
    )?;
    check_no_alarm(config)?;
    let threshold = config
        .health_threshold
        .ok_or_else(|| wrong("Calculated health checks must have a health threshold specified."))?;
    ensure(
        (0..=256).contains(&threshold),
        "HealthThreshold must be between 0 and 256.",
    )?;
    let children = config.children.as_deref().unwrap_or_default();
    ensure(
        children.len() <= CHILDREN,
        format!("A calculated health check can have at most {CHILDREN} children."),
    )?;
    let mut seen = BTreeSet::new();
    for child in children {
        check_child(view, &child.0)?;
        let text = format!("The child health check {} is given twice.", child.0);
        ensure(seen.insert(child.0.as_str()), text)?;
    }
    Ok(())
}

fn check_child(view: &View, id: &str) -> Result<(), ApiError> {
    let shown: String = id.chars().take(64).collect();
    let known = view.get::<HealthCheck>(id);
    let known =
        known.ok_or_else(|| wrong(format!("The child health check {shown} does not exist.")))?;
    ensure(
        known.config.kind != HealthCheckType::Calculated,
        format!("The child health check {shown} is a calculated one, which cannot be a child."),
    )
}

fn check_no_alarm(config: &HealthCheckConfig) -> Result<(), ApiError> {
    ensure(
        config.alarm.is_none(),
        "Basic health checks must not have an metric region specified.",
    )?;
    ensure(
        config.insufficient_data.is_none(),
        "Basic health checks must not have an insufficient data health state specified.",
    )
}

fn check_endpoint(cell: &Cell, config: &mut HealthCheckConfig) -> Result<(), ApiError> {
    check_no_alarm(config)?;
    ensure(
        config.health_threshold.is_none() && config.children.as_ref().is_none_or(Vec::is_empty),
        "Basic health checks must not have child health checks or a health threshold specified.",
    )?;
    config.children = None;
    check_target(cell, config)?;
    check_request(config)?;
    let interval = *config.interval.get_or_insert(30);
    ensure(
        matches!(interval, 10 | 30),
        "RequestInterval must be 10 or 30 seconds.",
    )?;
    let threshold = *config.threshold.get_or_insert(3);
    ensure(
        (1..=10).contains(&threshold),
        "FailureThreshold must be between 1 and 10.",
    )?;
    check_regions(config)
}

/// Address, name and port.
fn check_target(cell: &Cell, config: &mut HealthCheckConfig) -> Result<(), ApiError> {
    if config.address.as_deref() == Some("") {
        config.address = None;
    }
    if config.name.as_deref() == Some("") {
        config.name = None;
    }
    ensure(
        config.address.is_some() || config.name.is_some(),
        "Either IPAddress or FullyQualifiedDomainName must be specified.",
    )?;
    if let Some(text) = &config.address {
        let address = checked_address(cell, text)?;
        config.address = Some(address.to_string());
    }
    if let Some(text) = &config.name {
        let shown: String = text.chars().take(255).collect();
        let sound = text.len() <= 255 && name::canonical(text).is_ok();
        ensure(
            sound,
            format!("FullyQualifiedDomainName {shown} is not a valid domain name."),
        )?;
    }
    if config.kind == HealthCheckType::Tcp && config.address.is_some() && config.name.is_some() {
        return Err(fault::invalid(
            "TCP health checks that have IP address must not have a fully qualified domain name specified.",
        ));
    }
    let port = config.port.or(match config.kind {
        HealthCheckType::Http | HealthCheckType::HttpStrMatch => Some(80),
        HealthCheckType::Https | HealthCheckType::HttpsStrMatch => Some(443),
        _ => None,
    });
    ensure(
        port.is_some(),
        "TCP health checks must have a port specified.",
    )?;
    config.port = port;
    ensure(
        port.is_some_and(|port| (1..=65535).contains(&port)),
        "Port must be between 1 and 65535.",
    )
}

fn checked_address(cell: &Cell, text: &str) -> Result<IpAddr, ApiError> {
    let shown: String = text.chars().take(45).collect();
    let address: IpAddr = text
        .parse()
        .map_err(|_| wrong(format!("{shown} is not a valid IP address.")))?;
    if limit::holds(cell) && !is_public(address) {
        return Err(wrong(format!(
            "IP address {address} is in a local, private, nonroutable or multicast range: the health checkers cannot reach it."
        )));
    }
    Ok(address)
}

/// Whether AWS's checkers would probe it: not local, private, nonroutable or multicast
/// (<https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html>).
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || a == 0
                || a >= 224
                || (a == 100 && (64..128).contains(&b)))
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local())
                && v6
                    .to_ipv4_mapped()
                    .is_none_or(|v4| is_public(IpAddr::V4(v4)))
        }
    }
}

/// Path, search string and SNI.
fn check_request(config: &mut HealthCheckConfig) -> Result<(), ApiError> {
    use HealthCheckType as Type;
    let tcp = config.kind == Type::Tcp;
    let searches = matches!(config.kind, Type::HttpStrMatch | Type::HttpsStrMatch);
    let tls = matches!(config.kind, Type::Https | Type::HttpsStrMatch);
    if config.search.as_deref() == Some("") {
        config.search = None;
    }
    ensure(
        !tcp || config.path.as_ref().is_none_or(String::is_empty),
        "TCP health checks must not have a resource path specified.",
    )?;
    ensure(
        searches == config.search.is_some(),
        if searches {
            "String match health checks must have a search string specified."
        } else {
            "Only string match health checks can have a search string specified."
        },
    )?;
    if let Some(path) = config.path.take().filter(|path| !path.is_empty()) {
        let slash = if path.starts_with('/') { "" } else { "/" };
        config.path = Some(format!("{slash}{path}"));
    }
    let path = config.path.as_deref().unwrap_or_default();
    ensure(
        path.chars().count() <= 255 && path.bytes().all(|b| b.is_ascii_graphic()),
        "ResourcePath must have at most 255 characters, of printable ASCII and without spaces.",
    )?;
    let search = config.search.as_deref().unwrap_or_default();
    ensure(
        search.chars().count() <= 255,
        "SearchString must have at most 255 characters.",
    )?;
    ensure(
        tls || config.sni != Some(true),
        "EnableSNI can be true for HTTPS health checks only.",
    )?;
    config.sni.get_or_insert(tls);
    Ok(())
}

fn check_regions(config: &mut HealthCheckConfig) -> Result<(), ApiError> {
    let Some(regions) = config.regions.take().filter(|list| !list.is_empty()) else {
        return Ok(());
    };
    for region in &regions {
        let shown: String = region.0.chars().take(32).collect();
        let text = format!("There are no health checkers in {shown}.");
        ensure(REGIONS.contains(&region.0.as_str()), text)?;
    }
    let different: BTreeSet<_> = regions.iter().map(|region| &region.0).collect();
    ensure(
        different.len() == regions.len() && regions.len() >= 3,
        "At least three different regions must be specified.",
    )?;
    config.regions = Some(regions);
    Ok(())
}

/// What nodes do for a check; `None` for one that cannot be, such as a type not known here.
pub(crate) fn judge(config: &HealthCheckConfig, interval: Option<Duration>) -> Option<Judge> {
    use HealthCheckType as Type;
    let protocol = match config.kind {
        Type::Http | Type::HttpStrMatch => CheckProtocol::Http,
        Type::Https | Type::HttpsStrMatch => CheckProtocol::Https,
        Type::Tcp => CheckProtocol::Tcp,
        Type::Calculated => return Some(calculated(config)),
        Type::CloudwatchMetric | Type::RecoveryControl => return None,
    };
    let seconds = config.interval.and_then(|i| u64::try_from(i).ok());
    Some(Judge::Endpoint(EndpointCheck {
        protocol,
        address: config.address.as_deref().and_then(|text| text.parse().ok()),
        name: config.name.clone(),
        port: u16::try_from(config.port?).ok()?,
        path: config.path.clone().unwrap_or_else(|| "/".into()),
        search: config.search.clone(),
        sni: config.sni.unwrap_or(false),
        interval: interval.unwrap_or_else(|| Duration::from_secs(seconds.unwrap_or(30))),
        threshold: u32::try_from(config.threshold?).ok()?,
    }))
}

fn calculated(config: &HealthCheckConfig) -> Judge {
    let children = config.children.as_deref().unwrap_or_default();
    let ids = children
        .iter()
        .filter_map(|child| ident::check(&child.0).ok());
    let threshold = config.health_threshold.unwrap_or(0);
    Judge::Calculated {
        threshold: u32::try_from(threshold).unwrap_or(0),
        children: ids.collect::<BTreeSet<HealthCheckId>>(),
    }
}
