use serde_json::json;

use super::messages::*;
use crate::testing::{BLOCK, VPC, World, values};

#[tokio::test]
async fn a_block_is_judged_as_its_vpc() {
    let world = World::new().await;
    let request = json!({"AssociationId": BLOCK});
    let resources = world.resources::<DisassociateVpcCidrBlock>(request);
    assert_eq!(resources, [format!("vpc/{VPC}")]);
}

#[tokio::test]
async fn a_vpc_has_a_tenancy_once_it_is_there() {
    let world = World::new().await;
    let made = world.permissions::<CreateVpc>(json!({"CidrBlock": "10.1.0.0/16"}));
    assert_eq!(made[0].resource, "arn:aws:ec2:us-east-1:123456789012:vpc/*");
    assert!(values(&made[0], "ec2:Tenancy").is_empty());
    let there = world.permissions::<DeleteVpc>(json!({"VpcId": VPC}));
    assert_eq!(values(&there[0], "ec2:Tenancy"), ["default"]);
}
