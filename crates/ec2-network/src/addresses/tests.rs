use serde_json::{Value, json};

use super::*;
use crate::testing::{
    ADDRESS_ASSOCIATION, ALLOCATION, INSTANCE, INTERFACE, OTHER_INTERFACE, World, values,
};

fn named(address: Value, target: Value) -> Value {
    let mut request = address;
    let members = target.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(members);
    request
}

#[tokio::test]
async fn an_address_is_judged_however_it_and_its_target_are_named() {
    let world = World::new().await;
    let want = [
        format!("elastic-ip/{ALLOCATION}"),
        format!("network-interface/{INTERFACE}"),
        format!("instance/{INSTANCE}"),
    ];
    for address in [
        json!({"AllocationId": ALLOCATION}),
        json!({"PublicIp": "203.0.113.9"}),
    ] {
        for target in [
            json!({"InstanceId": INSTANCE}),
            json!({"NetworkInterfaceId": INTERFACE}),
        ] {
            let request = named(address.clone(), target);
            let shown = request.to_string();
            assert_eq!(
                world.resources::<AssociateAddress>(request),
                want,
                "{shown}"
            );
        }
        assert_eq!(world.resources::<ReleaseAddress>(address), want[..1]);
    }
    let associated = [
        json!({"AssociationId": ADDRESS_ASSOCIATION}),
        json!({"PublicIp": "203.0.113.9"}),
    ];
    for request in associated {
        assert_eq!(world.resources::<DisassociateAddress>(request), want[..2]);
    }
}

#[tokio::test]
async fn an_address_that_moves_is_judged_on_what_loses_it() {
    let world = World::new().await;
    let resources = |moves: bool| {
        world.resources::<AssociateAddress>(json!({
            "AllocationId": ALLOCATION,
            "NetworkInterfaceId": OTHER_INTERFACE,
            "AllowReassociation": moves,
        }))
    };
    let address = format!("elastic-ip/{ALLOCATION}");
    let loses = format!("network-interface/{INTERFACE}");
    let gains = format!("network-interface/{OTHER_INTERFACE}");
    let losing = format!("instance/{INSTANCE}");
    assert_eq!(
        resources(true),
        [address.clone(), loses, gains.clone(), losing]
    );
    assert_eq!(resources(false), [address, gains]);
}

#[tokio::test]
async fn an_address_whose_place_is_taken_is_judged() {
    let world = World::new().await;
    let request = json!({"AllocationId": "eipalloc-0000000b", "InstanceId": INSTANCE});
    assert_eq!(
        world.resources::<AssociateAddress>(request)[..2],
        [
            format!("elastic-ip/{ALLOCATION}"),
            "elastic-ip/eipalloc-0000000b".into()
        ]
    );
}

#[tokio::test]
async fn an_address_that_is_named_by_itself_has_its_keys() {
    let world = World::new().await;
    let needs = world.permissions::<ReleaseAddress>(json!({"PublicIp": "203.0.113.9"}));
    assert_eq!(values(&needs[0], "ec2:AllocationId"), [ALLOCATION]);
    assert_eq!(values(&needs[0], "ec2:PublicIpAddress"), ["203.0.113.9"]);
}
