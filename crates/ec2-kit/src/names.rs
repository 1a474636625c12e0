//! Host names (<https://docs.aws.amazon.com/vpc/latest/userguide/vpc-dns.html>).

use std::net::Ipv4Addr;

use lath_control::Cell;
use lath_ec2_records::errors::invalid_parameter;
use lath_ec2_records::{Instance, PrivateDnsNames};
use lath_model::Partition;
use lath_model::id::InstanceId;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

/// What a host name is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivateDnsNameOptionsItem {
    /// `ip-name` or `resource-name`.
    pub hostname_type: String,
    /// Whether the name of the instance's id has an address.
    pub enable_resource_name_dns_a_record: bool,
    /// `false`: there are no IPv6 addresses.
    #[serde(rename = "enableResourceNameDnsAAAARecord")]
    pub enable_resource_name_dns_aaaa_record: bool,
}

impl From<PrivateDnsNames> for PrivateDnsNameOptionsItem {
    fn from(names: PrivateDnsNames) -> Self {
        let hostname_type = if names.resource_name {
            "resource-name"
        } else {
            "ip-name"
        };
        Self {
            hostname_type: hostname_type.into(),
            enable_resource_name_dns_a_record: names.a_record,
            enable_resource_name_dns_aaaa_record: false,
        }
    }
}

/// Names with what was given changed.
pub fn changed_names(
    now: PrivateDnsNames,
    hostname_type: Option<&str>,
    a_record: Option<bool>,
) -> Result<PrivateDnsNames, ApiError> {
    let resource_name = match hostname_type {
        None => now.resource_name,
        Some("ip-name") => false,
        Some("resource-name") => true,
        Some(other) => {
            return Err(invalid_parameter(
                "HostnameType",
                other.chars().take(64).collect::<String>(),
                "Use ip-name or resource-name.",
            ));
        }
    };
    Ok(PrivateDnsNames {
        resource_name,
        a_record: a_record.unwrap_or(now.a_record),
    })
}

fn dashed(ip: Ipv4Addr) -> String {
    ip.to_string().replace('.', "-")
}

/// An instance's host name: of its id or its address, as it was launched.
pub fn host(cell: &Cell, instance: &Instance, ip: Ipv4Addr) -> String {
    if instance.names.resource_name {
        return resource(cell, &instance.id);
    }
    private(cell, ip)
}

/// Such as `i-0123456789abcdef0.ec2.internal`.
pub fn resource(cell: &Cell, id: &InstanceId) -> String {
    match cell.region.as_str() {
        "us-east-1" => format!("{id}.ec2.internal"),
        region => format!("{id}.{region}.compute.internal"),
    }
}

/// Such as `ip-10-0-1-4.ec2.internal`.
pub fn private(cell: &Cell, ip: Ipv4Addr) -> String {
    match cell.region.as_str() {
        "us-east-1" => format!("ip-{}.ec2.internal", dashed(ip)),
        region => format!("ip-{}.{region}.compute.internal", dashed(ip)),
    }
}

/// Such as `ec2-198-18-1-1.compute-1.amazonaws.com`.
pub fn public(cell: &Cell, ip: Ipv4Addr) -> String {
    format!(
        "ec2-{}.{}",
        dashed(ip),
        Partition::public_hosts(&cell.region)
    )
}
