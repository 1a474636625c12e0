//! How ids of each kind are read, and what is said of bad ones. AWS's spelling of the codes follows no
//! rule, so that each is written down.

use std::str::FromStr;
use std::sync::Arc;

use lath_model::id::InvalidId;
use lath_store::{Record, View};
use lath_wire::ApiError;

use crate::errors::client;
use crate::records::{
    Address, InternetGateway, ManagedPrefixList, NatGateway, NetworkInterface, RouteTable,
    SecurityGroup, Subnet, TransitAttachment, TransitGateway, TransitRouteTable, Vpc, VpcEndpoint,
};

/// The ids of one kind of resource.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdKind {
    /// Such as `vpc`, without the hyphen.
    pub(crate) prefix: &'static str,
    /// The code for text that is no such id.
    pub(crate) malformed: &'static str,
    /// The code for an id that nothing has.
    pub(crate) not_found: &'static str,
    /// As in `The vpc ID 'vpc-...' does not exist`.
    pub(crate) noun: &'static str,
}

impl IdKind {
    const fn new(
        prefix: &'static str,
        malformed: &'static str,
        not_found: &'static str,
        noun: &'static str,
    ) -> Self {
        Self {
            prefix,
            malformed,
            not_found,
            noun,
        }
    }

    /// Reads an id.
    pub(crate) fn parse<T: FromStr>(&self, text: &str) -> Result<T, ApiError> {
        text.parse().map_err(|_| self.malformed(text))
    }

    /// Nothing has this id.
    pub(crate) fn not_found(&self, id: &str) -> ApiError {
        let noun = self.noun;
        let message = match self.prefix {
            "tgw" | "tgw-attach" | "tgw-rtb" => {
                format!("{noun} {id} was deleted or does not exist.")
            }
            "nat" => format!("{noun} {id} was not found"),
            _ => format!("The {noun} '{id}' does not exist"),
        };
        client(self.not_found, message)
    }

    fn malformed(&self, text: &str) -> ApiError {
        let shown: String = text.chars().take(64).collect();
        let prefix = self.prefix;
        let message = if text
            .strip_prefix(prefix)
            .is_some_and(|it| it.starts_with('-'))
        {
            format!(
                "Invalid id: \"{shown}\" (expecting \"{prefix}-...\"; the Id may only contain lowercase alphanumeric characters and a single dash)"
            )
        } else {
            format!("Invalid id: \"{shown}\" (expecting \"{prefix}-...\")")
        };
        client(self.malformed, message)
    }
}

macro_rules! kinds {
    ($($name:ident = $prefix:literal, $malformed:literal, $not_found:literal, $noun:literal;)*) => {
        $(pub(crate) const $name: IdKind = IdKind::new($prefix, $malformed, $not_found, $noun);)*
    };
}

kinds! {
    VPC = "vpc", "InvalidVpcID.Malformed", "InvalidVpcID.NotFound", "vpc ID";
    SUBNET = "subnet", "InvalidSubnetID.Malformed", "InvalidSubnetID.NotFound", "subnet ID";
    ROUTE_TABLE = "rtb", "InvalidRouteTableId.Malformed", "InvalidRouteTableID.NotFound", "routeTable ID";
    ROUTE_TABLE_ASSOCIATION = "rtbassoc", "InvalidRouteTableAssociationID.Malformed", "InvalidAssociationID.NotFound", "association ID";
    INTERNET_GATEWAY = "igw", "InvalidInternetGatewayId.Malformed", "InvalidInternetGatewayID.NotFound", "internetGateway ID";
    SECURITY_GROUP = "sg", "InvalidGroupId.Malformed", "InvalidGroup.NotFound", "security group";
    SECURITY_GROUP_RULE = "sgr", "InvalidSecurityGroupRuleId.Malformed", "InvalidSecurityGroupRuleId.NotFound", "security group rule ID";
    PREFIX_LIST = "pl", "InvalidPrefixListId.Malformed", "InvalidPrefixListID.NotFound", "prefix list ID";
    NETWORK_INTERFACE = "eni", "InvalidNetworkInterfaceId.Malformed", "InvalidNetworkInterfaceID.NotFound", "networkInterface ID";
    ATTACHMENT = "eni-attach", "InvalidNetworkInterfaceAttachmentId.Malformed", "InvalidAttachmentID.NotFound", "attachment ID";
    ALLOCATION = "eipalloc", "InvalidElasticIpID.Malformed", "InvalidAllocationID.NotFound", "allocation ID";
    ASSOCIATION = "eipassoc", "InvalidAssociationID.Malformed", "InvalidAssociationID.NotFound", "association ID";
    NETWORK_ACL = "acl", "InvalidNetworkAclId.Malformed", "InvalidNetworkAclID.NotFound", "networkAcl ID";
    DHCP_OPTIONS = "dopt", "InvalidDhcpOptionsId.Malformed", "InvalidDhcpOptionID.NotFound", "dhcpOption ID";
    TRANSIT_GATEWAY = "tgw", "InvalidTransitGatewayID.Malformed", "InvalidTransitGatewayID.NotFound", "Transit Gateway";
    TRANSIT_ATTACHMENT = "tgw-attach", "InvalidTransitGatewayAttachmentID.Malformed", "InvalidTransitGatewayAttachmentID.NotFound", "Transit Gateway Attachment";
    TRANSIT_ROUTE_TABLE = "tgw-rtb", "InvalidRouteTableId.Malformed", "InvalidRouteTableID.NotFound", "Transit Gateway Route Table";
    NAT_GATEWAY = "nat", "NatGatewayMalformed", "NatGatewayNotFound", "NatGateway";
    VPC_ENDPOINT = "vpce", "InvalidVpcEndpointId.Malformed", "InvalidVpcEndpointId.NotFound", "Vpc Endpoint Id";
    INSTANCE = "i", "InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound", "instance ID";
}

/// A record that callers name by its id.
pub(crate) trait Named: Record {
    /// Its ids.
    const ID: IdKind;
}

macro_rules! named {
    ($($record:ty = $id:ident;)*) => {
        $(impl Named for $record { const ID: IdKind = $id; })*
    };
}

named! {
    Vpc = VPC;
    Subnet = SUBNET;
    RouteTable = ROUTE_TABLE;
    InternetGateway = INTERNET_GATEWAY;
    SecurityGroup = SECURITY_GROUP;
    ManagedPrefixList = PREFIX_LIST;
    NetworkInterface = NETWORK_INTERFACE;
    Address = ALLOCATION;
    TransitGateway = TRANSIT_GATEWAY;
    TransitAttachment = TRANSIT_ATTACHMENT;
    TransitRouteTable = TRANSIT_ROUTE_TABLE;
    NatGateway = NAT_GATEWAY;
    VpcEndpoint = VPC_ENDPOINT;
}

/// The record of an id that a caller gave.
///
/// # Errors
/// The kind's `Malformed` or `NotFound`.
pub(crate) fn find<R: Named>(view: &View, text: &str) -> Result<Arc<R>, ApiError> {
    match view.get::<R>(text) {
        Some(record) => Ok(record),
        None if is_id(R::ID.prefix, text) => Err(R::ID.not_found(text)),
        None => Err(R::ID.malformed(text)),
    }
}

/// Whether the text has the form of an id: a prefix, a hyphen, 8 or 17 lower-case letters and digits.
pub(crate) fn is_id(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|tail| {
            matches!(tail.len(), 8 | 17)
                && tail
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        })
}

/// The id of something that exists without having been created: it follows from a name (FNV-1a).
pub(crate) fn fixed<T: FromStr<Err = InvalidId>>(prefix: &str, name: &str) -> T {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{prefix}-0{hash:016x}")
        .parse()
        .expect("a prefix, a zero and 16 hexadecimal digits are an id")
}

impl IdKind {
    /// Refuses text that is not such an id.
    pub(crate) fn check(&self, text: &str) -> Result<(), ApiError> {
        if is_id(self.prefix, text) {
            Ok(())
        } else {
            Err(self.malformed(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_ids_say_what_is_wrong() {
        let view = View::default();
        for (text, code) in [
            ("None", "InvalidVpcID.Malformed"),
            ("", "InvalidVpcID.Malformed"),
            ("vpc-XYZ", "InvalidVpcID.Malformed"),
            ("subnet-0123456789abcdef0", "InvalidVpcID.Malformed"),
            ("vpc-0123456789abcdef0", "InvalidVpcID.NotFound"),
            ("vpc-01234567", "InvalidVpcID.NotFound"),
        ] {
            let error = find::<Vpc>(&view, text).unwrap_err();
            assert_eq!((error.code.as_ref(), error.status), (code, 400), "{text:?}");
        }
    }
}
