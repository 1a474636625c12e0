//! What instances of a VPC learn of its DHCP options.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::Vpc;

/// Where the resolver answers in every VPC, and the name server of instances that are told of none.
const LINK_LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

/// What of a set of DHCP options instances use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpOptions {
    /// The value of `domain-name`: a name, or several with spaces between them.
    pub domain_name: Option<String>,
    /// The values of `domain-name-servers`, in their order.
    pub domain_name_servers: Vec<NameServer>,
}

/// A name server of DHCP options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameServer {
    /// `AmazonProvidedDNS`: the VPC's resolver.
    Amazon,
    /// One at this address.
    At(IpAddr),
}

impl Vpc {
    /// The name servers of its instances. IPv6 ones are left out, for instances have no such addresses.
    pub fn name_servers(&self) -> Vec<Ipv4Addr> {
        let resolver = self.cidrs.first();
        let resolver = resolver.map(|cidr| Ipv4Addr::from(u32::from(cidr.network()) + 2));
        let Some(options) = &self.dhcp_options else {
            return resolver.into_iter().collect();
        };
        let servers = options.domain_name_servers.iter();
        let servers = servers.filter_map(|it| match it {
            NameServer::Amazon => resolver,
            NameServer::At(IpAddr::V4(address)) => Some(*address),
            NameServer::At(IpAddr::V6(_)) => None,
        });
        let servers: Vec<_> = servers.collect();
        if servers.is_empty() {
            return vec![LINK_LOCAL];
        }
        servers
    }

    /// The domains in which an instance with this private name looks names up.
    pub fn search_domains(&self, hostname: &str) -> Vec<String> {
        let domains = match &self.dhcp_options {
            None => hostname.split_once('.').map(|(_, domain)| domain),
            Some(options) => options.domain_name.as_deref(),
        };
        let domains = domains.unwrap_or_default().split_whitespace();
        domains.map(str::to_owned).collect()
    }

    /// The host name that DHCP gives an instance with this private name. As at AWS, that has spaces where the domain name has.
    pub fn local_hostname(&self, hostname: &str) -> String {
        let options = self.dhcp_options.as_ref();
        match options.and_then(|it| it.domain_name.as_ref()) {
            Some(domain) => {
                let label = hostname.split('.').next().unwrap_or(hostname);
                format!("{label}.{domain}")
            }
            None => hostname.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "ip-10-0-1-10.ec2.internal";

    fn vpc(dhcp_options: Option<DhcpOptions>) -> Vpc {
        Vpc {
            id: lath_model::id::VpcId::random(),
            owner: "123456789012".into(),
            cidrs: vec!["10.0.0.0/16".parse().unwrap()],
            dns_support: true,
            dns_hostnames: true,
            dhcp_options,
            subnets: Default::default(),
            route_tables: Default::default(),
            internet_gateway: None,
            interfaces: Default::default(),
            lattice: None,
            nat_gateways: Default::default(),
            endpoints: Default::default(),
            network_acls: Default::default(),
            peerings: Default::default(),
        }
    }

    #[test]
    fn instances_learn_what_the_options_say() {
        let amazon = NameServer::Amazon;
        let at = |text: &str| NameServer::At(text.parse().unwrap());
        let options = |domain: Option<&str>, servers: &[NameServer]| {
            Some(DhcpOptions {
                domain_name: domain.map(str::to_owned),
                domain_name_servers: servers.to_vec(),
            })
        };
        for (name, options, servers, search, host) in [
            ("the region's", None, "10.0.0.2", "ec2.internal", NAME),
            ("none", options(None, &[]), "169.254.169.253", "", NAME),
            (
                "own",
                options(Some("corp.test"), &[at("10.0.1.53"), amazon]),
                "10.0.1.53 10.0.0.2",
                "corp.test",
                "ip-10-0-1-10.corp.test",
            ),
            (
                "several domains",
                options(Some("a.test b.test"), &[at("fd00::1")]),
                "169.254.169.253",
                "a.test b.test",
                "ip-10-0-1-10.a.test b.test",
            ),
        ] {
            let vpc = vpc(options);
            let shown: Vec<_> = vpc.name_servers().iter().map(|it| it.to_string()).collect();
            assert_eq!(shown.join(" "), servers, "{name}");
            assert_eq!(vpc.search_domains(NAME).join(" "), search, "{name}");
            assert_eq!(vpc.local_hostname(NAME), host, "{name}");
        }
    }
}
