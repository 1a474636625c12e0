use serde_json::json;

use super::messages::*;
use crate::testing::*;

#[tokio::test]
async fn an_association_is_judged_as_its_table_and_subnet() {
    let world = World::new().await;
    let (table, subnet) = (format!("route-table/{TABLE}"), format!("subnet/{SUBNET}"));
    let main = format!("route-table/{MAIN_TABLE}");
    let disassociate = |id: &str| {
        let request = json!({"AssociationId": id});
        world.resources::<DisassociateRouteTable>(request)
    };
    assert_eq!(disassociate(ASSOCIATION), [table.clone(), subnet.clone()]);
    assert_eq!(disassociate(MAIN_ASSOCIATION), [main.as_str()]);
    assert_eq!(disassociate("rtbassoc-0000000c"), ["*"]);
    let request = json!({"AssociationId": ASSOCIATION, "RouteTableId": MAIN_TABLE});
    let both = world.resources::<ReplaceRouteTableAssociation>(request);
    assert_eq!(both, [main, table, subnet]);
}

#[tokio::test]
async fn a_subnet_has_its_tags_and_its_places_as_keys() {
    let world = World::new().await;
    let request = json!({"RouteTableId": TABLE, "SubnetId": SUBNET});
    let needs = world.permissions::<AssociateRouteTable>(request);
    let subnet = needs.iter().find(|it| it.resource_type == "subnet");
    let subnet = subnet.unwrap();
    let vpc = format!("arn:aws:ec2:us-east-1:123456789012:vpc/{VPC}");
    for (key, want) in [
        ("aws:ResourceTag/env", "prod"),
        ("ec2:ResourceTag/env", "prod"),
        ("ec2:Region", "us-east-1"),
        ("ec2:SubnetID", SUBNET),
        ("ec2:Vpc", &vpc),
        ("ec2:AvailabilityZone", "us-east-1b"),
        (
            "ec2:AvailabilityZoneId",
            &lath_ec2_records::zone_id("us-east-1b"),
        ),
    ] {
        assert_eq!(values(subnet, key), [want], "{key}");
    }
}
