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
        // Zero is the default, as the model has it: what it does not say is that nothing lies between.
        for (member, value, least) in [
            (
                "healthCheckIntervalSeconds",
                self.health_check_interval_seconds,
                5,
            ),
            ("healthyThresholdCount", self.healthy_threshold_count, 2),
            ("unhealthyThresholdCount", self.unhealthy_threshold_count, 2),
        ] {
            if value.is_some_and(|value| value != 0 && value < least) {
                let member = format!("{at}.{member}");
                constraint::at_least(p, &member, least);
            }
        }
        self.check_texts(p, at);
        self.check_protocol(p, at);
    }

    fn check_texts(&self, p: &mut Problems, at: &str) {
        if let Some(code) = self.matcher.as_ref().and_then(|m| m.http_code.as_deref()) {
            let member = format!("{at}.matcher.httpCode");
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
