//! Health checks of target groups: AWS's defaults, and requests put into them.

use lath_control::{Cell, Mode};
use lath_model::lattice::{ProtocolVersion, TargetProtocol};
use lath_wire::ApiError;

use crate::fault;
use crate::record::{HealthCheck, TargetGroup};
use crate::shape::{HealthCheckConfig, HealthCheckProtocolVersion, Matcher};

const DEFAULT_INTERVAL: u16 = 30;
const DEFAULT_TIMEOUT: u16 = 5;
const DEFAULT_HEALTHY: u8 = 5;
const DEFAULT_UNHEALTHY: u8 = 2;

/// How a group's targets are spoken to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spoken {
    pub(crate) protocol: TargetProtocol,
    pub(crate) version: ProtocolVersion,
}

/// The health check that AWS gives such a group when the caller says nothing: over HTTP in the clear, whatever the group
/// speaks. In extended mode it is over what the group speaks.
pub(crate) fn default(cell: &Cell, spoken: Spoken) -> HealthCheck {
    let is_http1 = spoken.version == ProtocolVersion::Http1;
    HealthCheck {
        enabled: is_http1 && spoken.protocol != TargetProtocol::Tcp,
        protocol: match (cell.mode, spoken.protocol) {
            (Mode::Extended, TargetProtocol::Https) => TargetProtocol::Https,
            _ => TargetProtocol::Http,
        },
        protocol_version: default_version(spoken.version),
        port: None,
        path: "/".to_owned(),
        interval: DEFAULT_INTERVAL,
        timeout: DEFAULT_TIMEOUT,
        healthy_threshold: DEFAULT_HEALTHY,
        unhealthy_threshold: DEFAULT_UNHEALTHY,
        matcher: "200".to_owned(),
    }
}

fn default_version(version: ProtocolVersion) -> HealthCheckProtocolVersion {
    match version {
        ProtocolVersion::Http2 => HealthCheckProtocolVersion::Http2,
        ProtocolVersion::Http1 | ProtocolVersion::Grpc => HealthCheckProtocolVersion::Http1,
    }
}

/// A number where 0 means the default and absence means what it was.
fn number<T: TryFrom<i64>>(given: Option<i64>, was: T, default: T) -> T {
    match given {
        None => was,
        Some(0) => default,
        Some(value) => T::try_from(value).unwrap_or(was),
    }
}

/// A text where the empty one means the default and absence means what it was.
fn text(given: Option<&str>, was: String, default: &str) -> String {
    match given {
        None => was,
        Some("") => default.to_owned(),
        Some(value) => value.to_owned(),
    }
}

/// A health check with the members of a request put in.
pub(crate) fn changed(
    was: HealthCheck,
    given: &HealthCheckConfig,
    spoken: Spoken,
) -> Result<HealthCheck, ApiError> {
    let enabled = given.enabled.unwrap_or(was.enabled);
    let is_switched_on = enabled && !was.enabled;
    if is_switched_on && spoken.protocol == TargetProtocol::Tcp && given.protocol.is_none() {
        return Err(fault::invalid(
            "healthCheck.protocol",
            "Health checks of a TCP target group need a protocol",
        ));
    }
    let unlike_targets = match (spoken.protocol, spoken.version) {
        (TargetProtocol::Tcp, _) => Some("TCP"),
        (_, ProtocolVersion::Grpc) => Some("GRPC"),
        _ => None,
    };
    if let Some(kind) =
        unlike_targets.filter(|_| is_switched_on && given.protocol_version.is_none())
    {
        return Err(fault::invalid(
            "healthCheck.protocolVersion",
            format!("Health checks of a {kind} target group need a protocol version"),
        ));
    }
    let code = given.matcher.as_ref().and_then(|m| m.http_code.as_deref());
    let check = HealthCheck {
        enabled,
        protocol: given.protocol.unwrap_or(was.protocol),
        protocol_version: given.protocol_version.unwrap_or(was.protocol_version),
        port: match given.port {
            None => was.port,
            Some(port) => u16::try_from(port).ok().filter(|port| *port != 0),
        },
        path: text(given.path.as_deref(), was.path, "/"),
        interval: number(
            given.health_check_interval_seconds,
            was.interval,
            DEFAULT_INTERVAL,
        ),
        timeout: number(
            given.health_check_timeout_seconds,
            was.timeout,
            DEFAULT_TIMEOUT,
        ),
        healthy_threshold: number(
            given.healthy_threshold_count,
            was.healthy_threshold,
            DEFAULT_HEALTHY,
        ),
        unhealthy_threshold: number(
            given.unhealthy_threshold_count,
            was.unhealthy_threshold,
            DEFAULT_UNHEALTHY,
        ),
        matcher: text(code, was.matcher, "200"),
    };
    if check.timeout > check.interval {
        return Err(fault::invalid(
            "healthCheck.healthCheckTimeoutSeconds",
            "The health check timeout must not be longer than the interval",
        ));
    }
    Ok(check)
}

/// The call that the targets of a GRPC group are asked by, in extended mode
/// (<https://grpc.io/docs/guides/health-checking/>).
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/Check";

/// Whether targets are asked by gRPC's own health service. AWS sends a GET to that path as to any other.
pub(crate) fn is_of_grpc(cell: &Cell, group: &TargetGroup) -> bool {
    let check = &group.health_check;
    let path = check.path.split('?').next();
    cell.mode == Mode::Extended
        && group.protocol_version == ProtocolVersion::Grpc
        && check.protocol_version == HealthCheckProtocolVersion::Http2
        && path == Some(GRPC_HEALTH)
}

pub(crate) fn show(check: &HealthCheck) -> HealthCheckConfig {
    HealthCheckConfig {
        enabled: Some(check.enabled),
        protocol: Some(check.protocol),
        protocol_version: Some(check.protocol_version),
        port: check.port.map(i64::from),
        path: Some(check.path.clone()),
        health_check_interval_seconds: Some(check.interval.into()),
        health_check_timeout_seconds: Some(check.timeout.into()),
        healthy_threshold_count: Some(check.healthy_threshold.into()),
        unhealthy_threshold_count: Some(check.unhealthy_threshold.into()),
        matcher: Some(Matcher {
            http_code: Some(check.matcher.clone()),
        }),
    }
}
