//! The part of resources in the feed.

use std::collections::BTreeSet;
use std::sync::Arc;

use lath_control::Cell;
use lath_ec2_records::VpcEndpoint;
use lath_ec2_records::managed;
use lath_feed::{
    AccessLogDestination, GatewayInterface, PrivateName, RESOURCE_BLOCK, Resource, ResourceTarget,
    Snapshot,
};
use lath_model::id::VpcId;
use lath_store::View;

use super::association::domain_name;
use super::{
    ResourceAssociation, ResourceConfiguration, ResourceGateway, association, configuration,
    is_served, is_within,
};
use crate::contribute::access_logs;
use crate::record::{LogSource, VpcAssociation};
use crate::shape::*;
use crate::{access_log, network};

/// A gateway, while it is to be there.
pub(crate) fn fill_gateway(_: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse() else {
        return;
    };
    let record = view.get::<ResourceGateway>(id);
    let Some(record) = record.filter(|it| is_served(it.status)) else {
        snapshot.resource_gateways.remove(&key);
        return;
    };
    let interfaces = managed::of_gateway(view, &record.id);
    let interfaces = interfaces.iter().map(|it| {
        let interface = GatewayInterface {
            id: it.id.clone(),
            addresses: it.addresses.iter().map(|it| it.private).collect(),
        };
        (it.subnet.clone(), interface)
    });
    let gateway = lath_feed::ResourceGateway {
        id: record.id.clone(),
        vpc: record.vpc.clone(),
        interfaces: interfaces.collect(),
        security_groups: record.security_groups.iter().cloned().collect(),
    };
    snapshot.resource_gateways.insert(key, Arc::new(gateway));
}

/// A resource, while it is to be there.
pub(crate) fn fill_resource(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse() else {
        return;
    };
    let record = view.get::<ResourceConfiguration>(id);
    let record = record.filter(|it| is_served(it.status));
    let resource = record.and_then(|record| {
        Some(Resource {
            id: record.id.clone(),
            arn: configuration::arn(cell, &record.id),
            gateway: record.gateway.clone(),
            target: target(view, &record)?,
            ports: configuration::merged_ports(&record),
            access_logs: logs(cell, view, &LogSource::Resource(record.id.clone())),
        })
    });
    match resource {
        Some(resource) => drop(snapshot.resources.insert(key, Arc::new(resource))),
        None => drop(snapshot.resources.remove(&key)),
    }
}

/// Where access logs go, as far as that is there: nodes make the groups that they write to.
fn logs(cell: &Cell, view: &View, source: &LogSource) -> Vec<AccessLogDestination> {
    let mut logs = access_logs(view, &source.key());
    logs.retain(|it| access_log::check_destination(cell, view, &it.destination_arn).is_ok());
    logs
}

/// `None` of a group, which is nothing itself.
fn target(view: &View, it: &ResourceConfiguration) -> Option<ResourceTarget> {
    let definition = it.definition.as_ref()?;
    if let Some(ip) = &definition.ip_resource {
        return Some(ResourceTarget::Address(
            ip.ip_address.as_ref()?.parse().ok()?,
        ));
    }
    let name = definition.dns_resource.as_ref()?.domain_name.as_ref()?;
    let gateway = view.get::<ResourceGateway>(it.gateway.as_str())?;
    Some(ResourceTarget::Name {
        name: name.to_ascii_lowercase(),
        in_vpc: gateway.dns == ResourceConfigDnsResolution::InVpc,
    })
}

/// An association, while it is to be there.
pub(crate) fn fill_association(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse() else {
        return;
    };
    let record = view.get::<ResourceAssociation>(id);
    let record = record.filter(|it| association::is_served(it.status));
    let record = record.filter(|it| RESOURCE_BLOCK.contains(&it.address));
    let Some(record) = record else {
        snapshot.resource_associations.remove(&key);
        return;
    };
    let configuration = view.get::<ResourceConfiguration>(record.configuration.as_str());
    let private_name = configuration.and_then(|it| {
        let vpcs = private_vpcs(view, &record, &it);
        let name = it.custom_domain_name.clone();
        name.filter(|_| !vpcs.is_empty())
            .map(|name| PrivateName { name, vpcs })
    });
    let association = lath_feed::ResourceAssociation {
        id: record.id.clone(),
        network: record.network.clone(),
        network_arn: network::arn(cell, &record.network),
        resource: record.configuration.clone(),
        address: record.address,
        domain_name: domain_name(cell, &record),
        private_name,
        access_logs: logs(
            cell,
            view,
            &LogSource::NetworkResources(record.network.clone()),
        ),
    };
    snapshot
        .resource_associations
        .insert(key, Arc::new(association));
}

/// The user's own name of a resource, as private DNS may give it.
struct OwnName {
    name: String,
    /// Whether its domain is verified.
    verified: bool,
    /// Where it would hide what the gateway looks for.
    hidden: Option<VpcId>,
}

fn own_name(view: &View, configuration: &ResourceConfiguration) -> Option<OwnName> {
    let name = configuration.custom_domain_name.clone()?;
    if let Some(group) = &configuration.group {
        // A child has a name of its own only below that of its group.
        let group = view.get::<ResourceConfiguration>(group.as_str());
        let domain = group.and_then(|it| it.group_domain.clone());
        domain.filter(|domain| is_within(&name, domain))?;
    }
    let verification = configuration::verification_of(view, configuration);
    Some(OwnName {
        verified: verification.is_some_and(|it| it.status == VerificationStatus::Verified),
        hidden: looked_up_in(view, configuration, &name),
        name,
    })
}

/// The VPCs in which a resource has its user's own name: as the associations and the VPCs' choices say
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/resource-configuration.html>).
pub(super) fn private_vpcs(
    view: &View,
    association: &ResourceAssociation,
    configuration: &ResourceConfiguration,
) -> BTreeSet<VpcId> {
    let Some(own) = own_name(view, configuration) else {
        return BTreeSet::new();
    };
    let vpcs = view.by::<VpcAssociation>("network", association.network.as_str());
    vpcs.filter(|it| is_served(it.status) && Some(&it.vpc) != own.hidden.as_ref())
        .filter(|it| {
            let enabled = association.private_dns_enabled.or(it.private_dns_enabled);
            enabled == Some(true) && is_chosen(it.dns_options.as_ref(), &own.name, own.verified)
        })
        .map(|it| it.vpc.clone())
        .collect()
}

/// The user's own name of a resource in the VPC of an endpoint, as the endpoint's choice says.
pub(super) fn private_at(
    view: &View,
    endpoint: &VpcEndpoint,
    configuration: &ResourceConfiguration,
) -> Option<String> {
    let own = own_name(view, configuration).filter(|_| endpoint.private_dns)?;
    let options = &endpoint.dns_options;
    let preference = options.private_dns_preference.as_deref();
    let chosen = DnsOptions {
        private_dns_preference: preference.and_then(PrivateDnsPreference::named),
        private_dns_specified_domains: Some(options.private_dns_specified_domains.clone()),
    };
    let here = own.hidden.as_ref() != Some(&endpoint.vpc);
    (here && is_chosen(Some(&chosen), &own.name, own.verified)).then_some(own.name)
}

/// The VPC in which the gateway looks for a name that is the user's own one or below it. There that one would hide what the
/// gateway looks for, and lead back to the resource.
fn looked_up_in(view: &View, configuration: &ResourceConfiguration, name: &str) -> Option<VpcId> {
    let definition = configuration.definition.as_ref()?.dns_resource.as_ref()?;
    let target = definition.domain_name.as_ref()?.to_ascii_lowercase();
    let gateway = view.get::<ResourceGateway>(configuration.gateway.as_str())?;
    let in_vpc = gateway.dns == ResourceConfigDnsResolution::InVpc;
    (in_vpc && is_within(&target, name)).then(|| gateway.vpc.clone())
}

/// Whether a VPC's choice is for a name.
fn is_chosen(options: Option<&DnsOptions>, name: &str, verified: bool) -> bool {
    use PrivateDnsPreference::{
        AllDomains, SpecifiedDomainsOnly, VerifiedDomainsAndSpecifiedDomains, VerifiedDomainsOnly,
    };
    let domains = options.and_then(|it| it.private_dns_specified_domains.as_ref());
    let specified = || {
        let mut domains = domains.into_iter().flatten();
        domains.any(|domain| fits(name, &domain.to_ascii_lowercase()))
    };
    match options.and_then(|it| it.private_dns_preference) {
        None | Some(VerifiedDomainsOnly) => verified,
        Some(AllDomains) => true,
        Some(VerifiedDomainsAndSpecifiedDomains) => verified || specified(),
        Some(SpecifiedDomainsOnly) => specified(),
    }
}

/// Whether a name is a specified one: `*.example.com` stands for all below.
fn fits(name: &str, domain: &str) -> bool {
    match domain.strip_prefix("*.") {
        Some(above) => name != above && is_within(name, above),
        None => name == domain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vpc_chooses_names() {
        use PrivateDnsPreference::*;
        let options = |preference, domains: &[&str]| DnsOptions {
            private_dns_preference: Some(preference),
            private_dns_specified_domains: Some(domains.iter().map(ToString::to_string).collect()),
        };
        let of =
            |options: Option<&DnsOptions>, verified| is_chosen(options, "db.example.com", verified);
        assert!(of(None, true) && !of(None, false));
        assert!(of(Some(&options(AllDomains, &[])), false));
        for (domains, want) in [
            (&["db.example.com"][..], true),
            (&["*.example.com"], true),
            (&["*.Example.com"], true),
            (&["example.com"], false),
            (&["*.db.example.com"], false),
            (&["*.ample.com"], false),
        ] {
            let only = options(SpecifiedDomainsOnly, domains);
            assert_eq!(of(Some(&only), true), want, "{domains:?}");
            let both = options(VerifiedDomainsAndSpecifiedDomains, domains);
            assert_eq!(of(Some(&both), false), want, "{domains:?}");
            assert!(of(Some(&both), true), "{domains:?}");
        }
    }
}
