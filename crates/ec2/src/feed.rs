//! The part of the feed that EC2 fills: a pure function of the state.

use lath_control::{Contribute, Derive};
use lath_ec2_records::{Instance, TransitGateway};
use lath_store::Record as _;

use crate::{instances, transit};

/// Fills VPCs, prefix lists, security groups, instances and Transit Gateways. A VPC's Lattice association is left to
/// Lattice.
pub const CONTRIBUTIONS: [Contribute; 8] = {
    let [vpcs, aws_lists, lists, names, groups] = lath_ec2_network::CONTRIBUTIONS;
    [
        vpcs,
        aws_lists,
        lists,
        Derive::Each {
            kind: Instance::KIND,
            make: instances::contribute,
        },
        Derive::Each {
            kind: TransitGateway::KIND,
            make: transit::contribute,
        },
        Derive::Whole(transit::share_names),
        names,
        groups,
    ]
};
