use lath_model::lattice::TargetProtocol;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use crate::constraint;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum HealthCheckProtocolVersion {
    Http1,
    Http2,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HealthCheckConfig {
    pub(crate) enabled: Option<bool>,
    pub(crate) protocol: Option<TargetProtocol>,
    pub(crate) protocol_version: Option<HealthCheckProtocolVersion>,
    pub(crate) port: Option<i64>,
    pub(crate) path: Option<String>,
    pub(crate) health_check_interval_seconds: Option<i64>,
    pub(crate) health_check_timeout_seconds: Option<i64>,
    pub(crate) healthy_threshold_count: Option<i64>,
    pub(crate) unhealthy_threshold_count: Option<i64>,
    pub(crate) matcher: Option<Matcher>,
}

/// A union of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Matcher {
    pub(crate) http_code: Option<String>,
}

impl HealthCheckConfig {
    /// Checks the numbers, of which 0 means the default, and the texts.
    pub(super) fn check_at(&self, p: &mut Problems, at: &str) {
        for (member, value, min, max) in [
            (
                "healthCheckIntervalSeconds",
                self.health_check_interval_seconds,
                5,
                300,
            ),
            (
                "healthCheckTimeoutSeconds",
                self.health_check_timeout_seconds,
                1,
                120,
            ),
            ("healthyThresholdCount", self.healthy_threshold_count, 2, 10),
            (
                "unhealthyThresholdCount",
                self.unhealthy_threshold_count,
                2,
                10,
            ),
            ("port", self.port, 0, 65535),
        ] {
            if let Some(value) = value.filter(|value| *value != 0) {
                constraint::range(p, &format!("{at}.{member}"), value, min, max);
            }
        }
        self.check_texts(p, at);
        self.check_protocol(p, at);
    }

    fn check_texts(&self, p: &mut Problems, at: &str) {
        if let Some(path) = &self.path {
            let member = format!("{at}.path");
            constraint::length(p, &member, path, 0, 2048);
            let good = path.is_empty() || constraint::is_path(path);
            let pattern = ".*(^/[a-zA-Z0-9@:%_+.~#?&/=-]*$|(^$)).*";
            constraint::pattern(p, &member, good, pattern);
        }
        if let Some(code) = self.matcher.as_ref().and_then(|m| m.http_code.as_deref()) {
            let member = format!("{at}.matcher.httpCode");
            constraint::length(p, &member, code, 0, 2000);
            if !code.is_empty() && crate::matcher::parse(code).is_none() {
                p.add(
                    member,
                    "Member must be status codes from 200 to 499, as a list 200,202 or a range 200-299",
                );
            }
        }
    }

    fn check_protocol(&self, p: &mut Problems, at: &str) {
        if self.protocol == Some(TargetProtocol::Tcp) {
            p.add(
                format!("{at}.protocol"),
                "TCP is not a health check protocol",
            );
        }
    }
}
