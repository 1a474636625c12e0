//! The part of the feed that EC2 fills: a pure function of the state.

use lath_control::Contribute;

/// Fills VPCs, prefix lists, security groups, instances and Transit Gateways. A VPC's Lattice association is left to
/// Lattice.
pub const CONTRIBUTIONS: [Contribute; 8] = {
    let [vpcs, aws_lists, lists, names, groups] = lath_ec2_network::CONTRIBUTIONS;
    let [instances] = lath_ec2_compute::CONTRIBUTIONS;
    let [gateways, sharing] = lath_ec2_transit::CONTRIBUTIONS;
    [
        vpcs, aws_lists, lists, instances, gateways, sharing, names, groups,
    ]
};
