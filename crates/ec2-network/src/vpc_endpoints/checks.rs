//! What requests may ask of endpoints.

use lath_ec2_kit::Ec2;
use lath_ec2_records::EndpointOf;
use lath_ec2_records::errors::{client, invalid_parameter, missing, unsupported};
use lath_model::id::{ResourceConfigurationId, ServiceNetworkId};
use lath_service::Refuses as _;
use lath_store::View;
use lath_wire::ApiError;

use super::messages::*;
use super::services;

/// The kinds of what endpoints lead to, as VPC Lattice keeps it.
const NETWORK: &str = "lattice.service-network";
const CONFIGURATION: &str = "lattice.resource-configuration";

/// Only service networks and resources have endpoints: AWS's own services have no other place here than the front door.
/// Gives what the endpoint leads to.
pub(super) fn check_type(
    app: &Ec2,
    view: &View,
    op: &CreateVpcEndpoint,
) -> Result<EndpointOf, ApiError> {
    let (network, resource) = (&op.service_network_arn, &op.resource_configuration_arn);
    let to = match op.vpc_endpoint_type.as_deref().unwrap_or("Gateway") {
        "ServiceNetwork" => {
            refuse_beside(
                "ResourceConfigurationArn",
                resource.as_deref(),
                "ServiceNetwork",
            )?;
            network_of(app, view, network.as_deref())?
        }
        "Resource" => {
            refuse_beside("ServiceNetworkArn", network.as_deref(), "Resource")?;
            resource_of(app, view, resource.as_deref())?
        }
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
        other => {
            return Err(invalid_parameter("vpcEndpointType", other, "Unknown type."));
        }
    };
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
    check_private_dns(&to, op.private_dns_enabled, op.dns_options.as_ref())?;
    Ok(to)
}

fn refuse_beside(member: &str, given: Option<&str>, kind: &str) -> Result<(), ApiError> {
    match given {
        None => Ok(()),
        Some(_) => Err(client(
            "InvalidParameter",
            format!("{member} is not valid for VPC endpoints of type {kind}."),
        )),
    }
}

/// The service network of an ARN: of this account and region, and there.
fn network_of(app: &Ec2, view: &View, arn: Option<&str>) -> Result<EndpointOf, ApiError> {
    let arn = arn.ok_or_else(|| missing("ServiceNetworkArn"))?;
    let prefix = app.cell.arn("vpc-lattice", "servicenetwork/");
    let id = arn.strip_prefix(&prefix).and_then(|id| id.parse().ok());
    let id = id.filter(|id: &ServiceNetworkId| view.contains(NETWORK, id.as_str()));
    let network = id.ok_or_else(|| {
        client(
            "InvalidServiceNetworkArn.NotFound",
            format!("The service network '{}' does not exist", shortened(arn)),
        )
    })?;
    Ok(EndpointOf::ServiceNetwork {
        network,
        network_arn: arn.to_owned(),
    })
}

/// The resource configuration of an ARN, likewise.
fn resource_of(app: &Ec2, view: &View, arn: Option<&str>) -> Result<EndpointOf, ApiError> {
    let arn = arn.ok_or_else(|| missing("ResourceConfigurationArn"))?;
    let prefix = app.cell.arn("vpc-lattice", "resourceconfiguration/");
    let id = arn.strip_prefix(&prefix).and_then(|id| id.parse().ok());
    let id = id.filter(|id: &ResourceConfigurationId| view.contains(CONFIGURATION, id.as_str()));
    let configuration = id.ok_or_else(|| {
        client(
            "InvalidResourceConfigurationArn.NotFound",
            format!(
                "The resource configuration '{}' does not exist",
                shortened(arn)
            ),
        )
    })?;
    Ok(EndpointOf::Resource {
        configuration,
        configuration_arn: arn.to_owned(),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(256).collect()
}

/// Private names are of resources: those of services are their owners' to serve.
pub(super) fn check_private_dns(
    to: &EndpointOf,
    wanted: Option<bool>,
    options: Option<&DnsOptionsInput>,
) -> Result<(), ApiError> {
    let preference = options.and_then(|it| it.private_dns_preference.as_deref());
    let domains = options.map_or(&[][..], |it| &it.private_dns_specified_domains);
    if to.network().is_some() {
        if wanted == Some(true) || preference.is_some() || !domains.is_empty() {
            return Err(unsupported(
                "Private DNS names of service network endpoints are not supported.",
            ));
        }
        return Ok(());
    }
    if preference.is_some_and(|it| !PREFERENCES.contains(&it)) {
        let given = preference.map(shortened).unwrap_or_default();
        return Err(invalid_parameter(
            "privateDnsPreference",
            &given,
            "Unknown preference.",
        ));
    }
    let names_some = preference.is_some_and(|it| it.contains("SPECIFIED"));
    if names_some == domains.is_empty() || domains.len() > MOST_DOMAINS {
        let text = format!(
            "The preferences VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS and SPECIFIED_DOMAINS_ONLY need 1 to {MOST_DOMAINS} \
             specified domains, and others have none."
        );
        return Err(client("InvalidParameter", text));
    }
    if let Some(long) = domains.iter().find(|it| it.is_empty() || it.len() > 255) {
        let text = format!("'{}' is no domain name.", shortened(long));
        return Err(client("InvalidParameter", text));
    }
    Ok(())
}

/// The preferences, as AWS names them.
const PREFERENCES: [&str; 4] = [
    "VERIFIED_DOMAINS_ONLY",
    "ALL_DOMAINS",
    "VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS",
    "SPECIFIED_DOMAINS_ONLY",
];
/// How many domains may be specified.
const MOST_DOMAINS: usize = 10;

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
