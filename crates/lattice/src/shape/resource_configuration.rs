use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use lath_model::Timestamp;
use lath_service::{Checked, Refuses};
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use super::service::is_domain;
use super::unavailable::Unavailable;
use super::{ChangingStatus, ResourceIpAddressType, VerificationStatus};
use crate::constraint;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum ResourceConfigurationType {
    Group,
    Child,
    Single,
    Arn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum ResourceProtocol {
    Tcp,
}

const NAME_TYPES: Unavailable<ResourceIpAddressType> = Unavailable {
    place: "resourceConfigurationDefinition.dnsResource.ipAddressType",
    values: &[
        ResourceIpAddressType::Ipv6,
        ResourceIpAddressType::Dualstack,
    ],
    why: "Resource gateways have no IPv6 addresses: use IPV4",
};

/// More ports in a row than anybody writes down.
const MOST_RANGES: usize = 100;

/// What a resource is: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourceConfigurationDefinition {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dns_resource: Option<DnsResource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ip_resource: Option<IpResource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arn_resource: Option<ArnResource>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DnsResource {
    pub(crate) domain_name: Option<String>,
    pub(crate) ip_address_type: Option<ResourceIpAddressType>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IpResource {
    pub(crate) ip_address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArnResource {
    pub(crate) arn: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateResourceConfiguration {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: ResourceConfigurationType,
    #[serde(default)]
    pub(crate) port_ranges: Vec<String>,
    pub(crate) protocol: Option<ResourceProtocol>,
    pub(crate) resource_gateway_identifier: Option<String>,
    pub(crate) resource_configuration_group_identifier: Option<String>,
    pub(crate) resource_configuration_definition: Option<ResourceConfigurationDefinition>,
    pub(crate) allow_association_to_shareable_service_network: Option<bool>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) group_domain: Option<String>,
    pub(crate) domain_verification_identifier: Option<String>,
    pub(crate) client_token: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

impl Refuses for CreateResourceConfiguration {
    fn names() -> Vec<String> {
        vec![NAME_TYPES.shown()]
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateResourceConfigurationOutput {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) resource_gateway_id: Option<String>,
    pub(crate) resource_configuration_group_id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<ResourceConfigurationType>,
    pub(crate) port_ranges: Option<Vec<String>>,
    pub(crate) protocol: Option<ResourceProtocol>,
    pub(crate) status: Option<ChangingStatus>,
    pub(crate) resource_configuration_definition: Option<ResourceConfigurationDefinition>,
    pub(crate) allow_association_to_shareable_service_network: Option<bool>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) failure_reason: Option<String>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) domain_verification_id: Option<String>,
    pub(crate) group_domain: Option<String>,
    pub(crate) domain_verification_arn: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetResourceConfiguration {
    pub(crate) resource_configuration_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetResourceConfigurationOutput {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) resource_gateway_id: Option<String>,
    pub(crate) resource_configuration_group_id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<ResourceConfigurationType>,
    pub(crate) allow_association_to_shareable_service_network: Option<bool>,
    pub(crate) port_ranges: Option<Vec<String>>,
    pub(crate) protocol: Option<ResourceProtocol>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) status: Option<ChangingStatus>,
    pub(crate) resource_configuration_definition: Option<ResourceConfigurationDefinition>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) amazon_managed: Option<bool>,
    pub(crate) failure_reason: Option<String>,
    pub(crate) last_updated_at: Option<Timestamp>,
    pub(crate) domain_verification_id: Option<String>,
    pub(crate) domain_verification_arn: Option<String>,
    pub(crate) domain_verification_status: Option<VerificationStatus>,
    pub(crate) group_domain: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListResourceConfigurations {
    pub(crate) resource_gateway_identifier: Option<String>,
    pub(crate) resource_configuration_group_identifier: Option<String>,
    pub(crate) domain_verification_identifier: Option<String>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListResourceConfigurationsOutput {
    pub(crate) items: Option<Vec<ResourceConfigurationSummary>>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourceConfigurationSummary {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) resource_gateway_id: Option<String>,
    pub(crate) resource_configuration_group_id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<ResourceConfigurationType>,
    pub(crate) status: Option<ChangingStatus>,
    pub(crate) amazon_managed: Option<bool>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) domain_verification_id: Option<String>,
    pub(crate) group_domain: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateResourceConfiguration {
    pub(crate) resource_configuration_identifier: String,
    pub(crate) resource_configuration_definition: Option<ResourceConfigurationDefinition>,
    pub(crate) allow_association_to_shareable_service_network: Option<bool>,
    pub(crate) port_ranges: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateResourceConfigurationOutput {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) resource_gateway_id: Option<String>,
    pub(crate) resource_configuration_group_id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<ResourceConfigurationType>,
    pub(crate) port_ranges: Option<Vec<String>>,
    pub(crate) allow_association_to_shareable_service_network: Option<bool>,
    pub(crate) protocol: Option<ResourceProtocol>,
    pub(crate) status: Option<ChangingStatus>,
    pub(crate) resource_configuration_definition: Option<ResourceConfigurationDefinition>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteResourceConfiguration {
    pub(crate) resource_configuration_identifier: String,
}

/// The ports of a text such as `80` or `8000-8010`.
pub(crate) fn ports(text: &str) -> Option<(u16, u16)> {
    let digits = |text: &str| text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    let port = |text: &str| -> Option<u16> {
        let port = digits(text).then(|| text.parse().ok())??;
        (port > 0).then_some(port)
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some((first, last))
}

fn domain(p: &mut Problems, member: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    if !is_domain(value) {
        p.add(member, "Member must be a valid domain name");
    }
}

fn port_ranges(p: &mut Problems, value: &[String]) {
    if value.is_empty() {
        p.add(
            "portRanges",
            "Member must have length greater than or equal to 1",
        );
    }
    constraint::at_most(p, "portRanges", value.len(), MOST_RANGES);
    for (index, text) in value.iter().enumerate().take(MOST_RANGES) {
        let member = format!("portRanges.{index}");
        if ports(text).is_none() {
            p.add(
                &member,
                "Member must be a port from 1 to 65535 or an ascending range of such ports",
            );
        }
    }
}

/// Addresses that resources may have
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/resource-configuration.html>).
fn is_of_vpcs(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private() || (first == 100 && second & 0xc0 == 64)
}

impl ResourceConfigurationDefinition {
    fn check_at(&self, p: &mut Problems) {
        const MEMBER: &str = "resourceConfigurationDefinition";
        let given = [
            self.dns_resource.is_some(),
            self.ip_resource.is_some(),
            self.arn_resource.is_some(),
        ];
        if given.iter().filter(|it| **it).count() != 1 {
            p.add(
                MEMBER,
                "Exactly one of dnsResource, ipResource, arnResource must be set",
            );
        }
        if let Some(it) = &self.dns_resource {
            let member = format!("{MEMBER}.dnsResource.domainName");
            match &it.domain_name {
                Some(name) => domain(p, &member, Some(name)),
                None => p.add(&member, "Member must not be null"),
            }
            if let Some(kind) = &it.ip_address_type {
                NAME_TYPES.check(p, kind);
            }
        }
        if let Some(it) = &self.ip_resource {
            let member = format!("{MEMBER}.ipResource.ipAddress");
            let address = it.ip_address.as_deref().unwrap_or_default();
            match address.parse::<Ipv4Addr>() {
                Ok(address) if is_of_vpcs(address) => {}
                Ok(_) => p.add(
                    &member,
                    "The address must be in 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12 or 192.168.0.0/16",
                ),
                Err(_) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                    p.add(&member, "Resource gateways have no IPv6 addresses");
                }
                Err(_) => p.add(&member, "Member must be an IP address"),
            }
        }
    }
}

/// A member that a type of configurations needs, or must not have.
fn needs(p: &mut Problems, member: &str, is: bool, wanted: Option<bool>, kind: &str) {
    match wanted {
        Some(true) if !is => p.add(
            member,
            format!("A resource configuration of type {kind} needs this member"),
        ),
        Some(false) if is => p.add(
            member,
            format!("A resource configuration of type {kind} must not have this member"),
        ),
        _ => {}
    }
}

impl CreateResourceConfiguration {
    /// What each type needs and must not have.
    fn check_type(&self, p: &mut Problems) {
        use ResourceConfigurationType::{Arn, Child, Group, Single};
        let definition = self.resource_configuration_definition.as_ref();
        let kind = match self.kind {
            Group => "GROUP",
            Child => "CHILD",
            Single => "SINGLE",
            Arn => "ARN",
        };
        let is = |wanted: &[ResourceConfigurationType]| wanted.contains(&self.kind);
        for (member, given, wanted) in [
            (
                "resourceGatewayIdentifier",
                self.resource_gateway_identifier.is_some(),
                Some(!is(&[Child])),
            ),
            (
                "resourceConfigurationGroupIdentifier",
                self.resource_configuration_group_identifier.is_some(),
                Some(is(&[Child])),
            ),
            (
                "resourceConfigurationDefinition",
                definition.is_some(),
                Some(!is(&[Group])),
            ),
            (
                "portRanges",
                !self.port_ranges.is_empty(),
                // A group may say what its children are for.
                (!is(&[Group])).then_some(!is(&[Arn])),
            ),
            (
                "groupDomain",
                self.group_domain.is_some(),
                (!is(&[Group])).then_some(false),
            ),
            (
                "customDomainName",
                self.custom_domain_name.is_some(),
                is(&[Group, Arn]).then_some(false),
            ),
            (
                "domainVerificationIdentifier",
                self.domain_verification_identifier.is_some(),
                is(&[Child, Arn]).then_some(false),
            ),
        ] {
            needs(p, member, given, wanted, kind);
        }
        let is_arn = definition.map(|it| it.arn_resource.is_some());
        if is_arn.is_some_and(|is_arn| is_arn != is(&[Arn])) {
            p.add(
                "resourceConfigurationDefinition",
                "An arnResource and the type ARN need each other",
            );
        }
    }
}

impl Checked for CreateResourceConfiguration {
    fn check(&self, p: &mut Problems) {
        self.check_type(p);
        if !self.port_ranges.is_empty() {
            port_ranges(p, &self.port_ranges);
        }
        if let Some(definition) = &self.resource_configuration_definition {
            definition.check_at(p);
        }
        domain(p, "customDomainName", self.custom_domain_name.as_deref());
        domain(p, "groupDomain", self.group_domain.as_deref());
        constraint::tags(p, &self.tags);
    }
}

impl Checked for UpdateResourceConfiguration {
    fn check(&self, p: &mut Problems) {
        if let Some(definition) = &self.resource_configuration_definition {
            definition.check_at(p);
        }
        if let Some(ranges) = &self.port_ranges {
            port_ranges(p, ranges);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_one_or_an_ascending_range() {
        for (text, want) in [
            ("80", Some((80, 80))),
            ("1-65535", Some((1, 65535))),
            ("5432-5432", Some((5432, 5432))),
            ("0", None),
            ("65536", None),
            ("10-9", None),
            ("-1", None),
            ("1-", None),
            ("1-2-3", None),
            ("000080", None),
            ("http", None),
            ("", None),
        ] {
            assert_eq!(ports(text), want, "{text}");
        }
    }
}
