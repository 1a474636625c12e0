use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_model::lattice::{ProtocolVersion, TargetProtocol};
use lath_service::{Checked, Refuses};
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use super::unavailable::Unavailable;
use super::{HealthCheckConfig, Status};
use crate::constraint;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum TargetGroupType {
    Ip,
    Lambda,
    Instance,
    Alb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum IpAddressType {
    Ipv4,
    Ipv6,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LambdaEventStructureVersion {
    #[default]
    V1,
    V2,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetGroupConfig {
    pub(crate) port: Option<i64>,
    pub(crate) protocol: Option<TargetProtocol>,
    pub(crate) protocol_version: Option<ProtocolVersion>,
    pub(crate) ip_address_type: Option<IpAddressType>,
    pub(crate) vpc_identifier: Option<String>,
    pub(crate) health_check: Option<HealthCheckConfig>,
    pub(crate) lambda_event_structure_version: Option<LambdaEventStructureVersion>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateTargetGroup {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: TargetGroupType,
    pub(crate) config: Option<TargetGroupConfig>,
    pub(crate) client_token: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

/// What CreateTargetGroup and UpdateTargetGroup answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetGroupOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) name: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<TargetGroupType>,
    pub(crate) config: Option<TargetGroupConfig>,
    pub(crate) status: Option<Status>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetTargetGroup {
    pub(crate) target_group_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetTargetGroupOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) name: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<TargetGroupType>,
    pub(crate) config: Option<TargetGroupConfig>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
    pub(crate) status: Option<Status>,
    pub(crate) service_arns: Option<Vec<String>>,
    pub(crate) failure_message: Option<String>,
    pub(crate) failure_code: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTargetGroups {
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
    pub(crate) vpc_identifier: Option<String>,
    pub(crate) target_group_type: Option<TargetGroupType>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTargetGroupsOutput {
    pub(crate) items: Option<Vec<TargetGroupSummary>>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetGroupSummary {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) name: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<TargetGroupType>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) port: Option<i64>,
    pub(crate) protocol: Option<TargetProtocol>,
    pub(crate) ip_address_type: Option<IpAddressType>,
    pub(crate) vpc_identifier: Option<String>,
    pub(crate) last_updated_at: Option<Timestamp>,
    pub(crate) status: Option<Status>,
    pub(crate) service_arns: Option<Vec<String>>,
    pub(crate) lambda_event_structure_version: Option<LambdaEventStructureVersion>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateTargetGroup {
    pub(crate) target_group_identifier: String,
    pub(crate) health_check: HealthCheckConfig,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteTargetGroup {
    pub(crate) target_group_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteTargetGroupOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<Status>,
}

impl TargetGroupConfig {
    fn check(&self, p: &mut Problems, kind: TargetGroupType) {
        if self.vpc_identifier.is_none() {
            p.add("config.vpcIdentifier", "Member must not be null");
        }
        match &self.protocol {
            None => p.add("config.protocol", "Member must not be null"),
            Some(TargetProtocol::Tcp) if self.protocol_version.is_some() => p.add(
                "config.protocolVersion",
                "Member is for HTTP and HTTPS target groups only",
            ),
            Some(_) => {}
        }
        self.check_address_type(p, kind);
        if self.lambda_event_structure_version.is_some() {
            p.add(
                "config.lambdaEventStructureVersion",
                "Member is for LAMBDA target groups only",
            );
        }
        if let Some(check) = &self.health_check {
            check.check_at(p, "config.healthCheck");
        }
    }

    /// Of a function nothing but the structure of its events can be said.
    fn check_of_function(&self, p: &mut Problems) {
        for (member, is_set) in [
            ("port", self.port.is_some()),
            ("protocol", self.protocol.is_some()),
            ("protocolVersion", self.protocol_version.is_some()),
            ("ipAddressType", self.ip_address_type.is_some()),
            ("vpcIdentifier", self.vpc_identifier.is_some()),
            ("healthCheck", self.health_check.is_some()),
        ] {
            if is_set {
                let text = "Member is not supported for LAMBDA target groups";
                p.add(format!("config.{member}"), text);
            }
        }
    }

    fn check_address_type(&self, p: &mut Problems, kind: TargetGroupType) {
        match (kind, &self.ip_address_type) {
            (_, None) => {}
            (TargetGroupType::Ip, Some(wanted)) => ADDRESS_TYPES.check(p, wanted),
            _ => p.add(
                "config.ipAddressType",
                "Member is for IP target groups only",
            ),
        }
    }
}

const TYPES: Unavailable<TargetGroupType> = Unavailable {
    place: "type",
    values: &[TargetGroupType::Alb],
    why: "ALB target groups are not available: use IP, INSTANCE or LAMBDA",
};

const ADDRESS_TYPES: Unavailable<IpAddressType> = Unavailable {
    place: "config.ipAddressType",
    values: &[IpAddressType::Ipv6],
    why: "IPv6 targets are not available: VPCs have IPv4 addresses only",
};

impl Refuses for CreateTargetGroup {
    fn names() -> Vec<String> {
        vec![TYPES.shown(), ADDRESS_TYPES.shown()]
    }
}

impl Checked for CreateTargetGroup {
    fn check(&self, p: &mut Problems) {
        constraint::tags_with_policy(p, &self.tags);
        match self.kind {
            TargetGroupType::Ip | TargetGroupType::Instance => match &self.config {
                Some(config) => config.check(p, self.kind),
                None => p.add("config", "Member must not be null"),
            },
            TargetGroupType::Lambda => {
                if let Some(config) = &self.config {
                    config.check_of_function(p);
                }
            }
            TargetGroupType::Alb => TYPES.check(p, &self.kind),
        }
    }
}

impl Checked for UpdateTargetGroup {
    fn check(&self, p: &mut Problems) {
        self.health_check.check_at(p, "healthCheck");
    }
}
