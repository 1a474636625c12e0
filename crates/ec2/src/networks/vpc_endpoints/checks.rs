//! What requests may ask of endpoints.

use lath_service::Refuses as _;
use lath_wire::ApiError;

use super::messages::*;
use super::services;
use crate::Ec2;
use crate::errors::{client, invalid_parameter, missing, unsupported};

/// Only service networks have endpoints: AWS's own services have no other place here than the front door.
pub(super) fn check_type(app: &Ec2, op: &CreateVpcEndpoint) -> Result<(), ApiError> {
    match op.vpc_endpoint_type.as_deref().unwrap_or("Gateway") {
        "ServiceNetwork" => {}
        "Gateway" | "Interface" | "GatewayLoadBalancer" => {
            let name = op
                .service_name
                .as_deref()
                .ok_or_else(|| missing("ServiceName"))?;
            let name: String = name.chars().take(256).collect();
            if services::is_of_aws(&app.cell.region, &name) {
                return Err(unsupported(format!(
                    "VPC endpoints of the service '{name}' are not supported."
                )));
            }
            return Err(client(
                "InvalidServiceName",
                format!("The Vpc Endpoint Service '{name}' does not exist"),
            ));
        }
        "Resource" => {
            return Err(unsupported(
                "VPC endpoints of type Resource are not supported.",
            ));
        }
        other => {
            return Err(invalid_parameter("vpcEndpointType", other, "Unknown type."));
        }
    }
    op.refuse()?;
    if op
        .service_region
        .as_ref()
        .is_some_and(|it| *it != app.cell.region)
    {
        return Err(unsupported(
            "Endpoints of other regions' services are not supported.",
        ));
    }
    check_address_type(op.ip_address_type.as_deref(), op.dns_options.as_ref())?;
    refuse_private_dns(op.private_dns_enabled)
}

pub(super) fn refuse_private_dns(wanted: Option<bool>) -> Result<(), ApiError> {
    if wanted == Some(true) {
        return Err(unsupported(
            "Private DNS names of service network endpoints are not supported.",
        ));
    }
    Ok(())
}

pub(super) fn check_address_type(
    kind: Option<&str>,
    dns: Option<&DnsOptionsInput>,
) -> Result<(), ApiError> {
    let record = dns.and_then(|it| it.dns_record_ip_type.as_deref());
    if kind.is_some_and(|it| it != "ipv4")
        || record.is_some_and(|it| !matches!(it, "ipv4" | "service-defined"))
    {
        return Err(unsupported("Only the IP address type 'ipv4' is supported."));
    }
    if let Some(dns) = dns {
        dns.refuse()?;
    }
    Ok(())
}
