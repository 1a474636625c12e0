//! Distinct types for each kind of resource id.
//!
//! An id is `<prefix>-` and 8 or 17 characters of `[0-9a-z]` (AWS's older and newer lengths). Lath
//! generates 17 hexadecimal characters that begin with `0`, as AWS does.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id of the form {prefix}-xxxxxxxxxxxxxxxxx")]
pub struct InvalidId {
    /// The prefix that the kind demands.
    pub prefix: &'static str,
    /// What was given.
    pub text: String,
}

/// The random part of a new id: `0` and 16 hexadecimal digits.
pub fn random_suffix() -> String {
    format!("0{:016x}", rand::rng().random::<u64>())
}

#[doc(hidden)]
pub fn well_formed(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|tail| {
            matches!(tail.len(), 8 | 17)
                && tail
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        })
}

/// Declares the ids of kinds of resources: `/// What it is. NAME = "prefix";`, with the visibility before the name. Those
/// that several crates know stand here, others beside their records.
#[macro_export]
macro_rules! ids {
    ($($(#[$doc:meta])* $visible:vis $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        $visible struct $name(std::sync::Arc<str>);

        impl $name {
            /// The text before the hyphen.
            $visible const PREFIX: &'static str = $prefix;

            /// A new random id.
            $visible fn random() -> Self {
                Self(format!("{}-{}", $prefix, $crate::id::random_suffix()).into())
            }

            /// The whole id as text.
            $visible fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::id::InvalidId;
            fn from_str(text: &str) -> Result<Self, $crate::id::InvalidId> {
                if $crate::id::well_formed($prefix, text) {
                    Ok(Self(text.into()))
                } else {
                    Err($crate::id::InvalidId { prefix: $prefix, text: text.chars().take(64).collect() })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::id::InvalidId;
            fn try_from(text: String) -> Result<Self, $crate::id::InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A virtual private cloud.
    pub VpcId = "vpc";
    /// A subnet of a VPC.
    pub SubnetId = "subnet";
    /// A VPC route table.
    pub RouteTableId = "rtb";
    /// A route table's association with a subnet, or with its VPC as the main one.
    pub RouteTableAssociationId = "rtbassoc";
    /// An internet gateway.
    pub InternetGatewayId = "igw";
    /// A security group.
    pub SecurityGroupId = "sg";
    /// One rule of a security group.
    pub SecurityGroupRuleId = "sgr";
    /// A managed prefix list.
    pub PrefixListId = "pl";
    /// An instance.
    pub InstanceId = "i";
    /// A reservation: what one RunInstances call launched.
    pub ReservationId = "r";
    /// An elastic network interface.
    pub NetworkInterfaceId = "eni";
    /// An interface's attachment to an instance.
    pub AttachmentId = "eni-attach";
    /// A machine image.
    pub ImageId = "ami";
    /// A key pair.
    pub KeyPairId = "key";
    /// An elastic address.
    pub AllocationId = "eipalloc";
    /// An elastic address's association.
    pub AssociationId = "eipassoc";
    /// A volume.
    pub VolumeId = "vol";
    /// A set of DHCP options.
    pub DhcpOptionsId = "dopt";
    /// A VPC peering connection.
    pub VpcPeeringConnectionId = "pcx";
    /// A network access control list.
    pub NetworkAclId = "acl";
    /// A Lattice service network.
    pub ServiceNetworkId = "sn";
    /// A Lattice service.
    pub ServiceId = "svc";
    /// A Lattice listener.
    pub ListenerId = "listener";
    /// A Lattice rule.
    pub RuleId = "rule";
    /// A Lattice target group.
    pub TargetGroupId = "tg";
    /// A service network's association with a VPC.
    pub ServiceNetworkVpcAssociationId = "snva";
    /// A service network's association with a service.
    pub ServiceNetworkServiceAssociationId = "snsa";
    /// A Lattice resource gateway.
    pub ResourceGatewayId = "rgw";
    /// A Lattice resource configuration.
    pub ResourceConfigurationId = "rcfg";
    /// A service network's association with a resource configuration.
    pub ServiceNetworkResourceAssociationId = "snra";
    /// A resource endpoint's association with a resource configuration.
    pub ResourceEndpointAssociationId = "rea";
    /// A domain verification of Lattice.
    pub DomainVerificationId = "dv";
    /// A Lattice access log subscription.
    pub AccessLogSubscriptionId = "als";
    /// A Transit Gateway.
    pub TransitGatewayId = "tgw";
    /// What joins a Transit Gateway to a VPC or to another gateway.
    pub TransitGatewayAttachmentId = "tgw-attach";
    /// A route table of a Transit Gateway.
    pub TransitGatewayRouteTableId = "tgw-rtb";
    /// A NAT gateway.
    pub NatGatewayId = "nat";
    /// A VPC endpoint.
    pub VpcEndpointId = "vpce";
}

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident = $form:literal, $fits:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The whole id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { prefix: $form, text: text.chars().take(64).collect() })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

text_ids! {
    /// A hosted zone of Route 53: `Z` and 1 to 31 upper-case letters and digits, without `/hostedzone/`.
    HostedZoneId = "Z", |text| {
        (2..=32).contains(&text.len())
            && text.starts_with('Z')
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
    };
    /// A health check of Route 53: a UUID in lower case, as AWS makes them.
    HealthCheckId = "uuid", |text| {
        text.len() == 36
            && text
                .bytes()
                .all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
}

impl HostedZoneId {
    /// A new random id: `Z` and 20 characters.
    pub fn random() -> Self {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let mut rng = rand::rng();
        let tail = (0..20).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())]));
        Self(std::iter::once('Z').chain(tail).collect::<String>().into())
    }
}

impl HealthCheckId {
    /// A new random id: a version 4 UUID.
    pub fn random() -> Self {
        let mut b: [u8; 16] = rand::rng().random();
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        Self(parts.join("-").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_parse_back() {
        let id = VpcId::random();
        assert_eq!(id.as_str().parse::<VpcId>().unwrap(), id);
    }

    #[test]
    fn random_names_of_route_53_parse_back() {
        let zone = HostedZoneId::random();
        assert_eq!(zone.as_str().parse::<HostedZoneId>().unwrap(), zone);
        let check = HealthCheckId::random();
        assert_eq!(check.as_str().parse::<HealthCheckId>().unwrap(), check);
    }

    #[test]
    fn foreign_text_is_refused() {
        for text in [
            "",
            "vpc",
            "vpc-",
            "vpc-123",
            "vpc-0123456789ABCDEF0",
            "sg-0123456789abcdef0",
        ] {
            assert!(text.parse::<VpcId>().is_err(), "{text:?}");
        }
    }
}
