use serde_json::json;

use super::messages::*;
use crate::testing::*;

#[tokio::test]
async fn a_new_interface_without_groups_is_judged_on_the_default_group() {
    let world = World::new().await;
    let subnet = format!("subnet/{SUBNET}");
    let made = "network-interface/*".to_owned();
    let default = format!("security-group/{DEFAULT_GROUP}");
    let request = json!({"SubnetId": SUBNET});
    let resources = world.resources::<CreateNetworkInterface>(request);
    assert_eq!(resources, [subnet.clone(), default, made.clone()]);
    let request = json!({"SubnetId": SUBNET, "SecurityGroupId": [WEB_GROUP]});
    let resources = world.resources::<CreateNetworkInterface>(request);
    let web = format!("security-group/{WEB_GROUP}");
    assert_eq!(resources, [subnet, web, made]);
}

#[tokio::test]
async fn an_attachment_is_judged_as_its_interface_and_instance() {
    let world = World::new().await;
    let both = [
        format!("network-interface/{INTERFACE}"),
        format!("instance/{INSTANCE}"),
    ];
    let request = json!({"AttachmentId": ATTACHMENT});
    assert_eq!(world.resources::<DetachNetworkInterface>(request), both);
    let attachment = json!({"AttachmentId": ATTACHMENT, "DeleteOnTermination": false});
    let request = json!({"NetworkInterfaceId": INTERFACE, "Attachment": attachment});
    let resources = world.resources::<ModifyNetworkInterfaceAttribute>(request);
    assert_eq!(resources, both);
}

#[tokio::test]
async fn addresses_that_move_are_judged_on_both_interfaces() {
    let world = World::new().await;
    let resources = |moves: bool| {
        world.resources::<AssignPrivateIpAddresses>(json!({
            "NetworkInterfaceId": INTERFACE,
            "PrivateIpAddress": ["10.0.0.6"],
            "AllowReassignment": moves,
        }))
    };
    let gains = format!("network-interface/{INTERFACE}");
    let loses = format!("network-interface/{OTHER_INTERFACE}");
    assert_eq!(resources(true), [gains.clone(), loses]);
    assert_eq!(resources(false), [gains]);
}

#[tokio::test]
async fn attributes_are_keys_by_their_names() {
    let world = World::new().await;
    let request = json!({"NetworkInterfaceId": INTERFACE, "SourceDestCheck": {"Value": false}});
    let needs = world.permissions::<ModifyNetworkInterfaceAttribute>(request);
    assert_eq!(values(&needs[0], "ec2:Attribute"), ["SourceDestCheck"]);
    assert_eq!(
        values(&needs[0], "ec2:Attribute/SourceDestCheck"),
        ["false"]
    );
}
