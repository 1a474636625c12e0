//! What a launch makes, and how often.

use super::*;

#[tokio::test]
async fn a_repeated_token_launches_once_and_a_changed_request_is_refused() {
    let lab = Lab::new().await;
    let request = |kind: &str| RunInstances {
        client_token: Some("t".into()),
        instance_type: Some(kind.into()),
        ..lab.request()
    };
    let first = lab.run(request("t3.medium")).await;
    let again = lab.run(request("t3.medium")).await;
    assert_eq!(first.instance_id, again.instance_id);
    assert_eq!(lab.interfaces(), 1);
    let mismatch = lab.refusal(request("t3.large")).await;
    assert_eq!(mismatch, "IdempotentParameterMismatch 400");
}

#[tokio::test]
async fn as_many_as_addresses_allow_are_launched() {
    let lab = Lab::new().await;
    let many = |least, most| RunInstances {
        instance_type: Some("t2.micro".into()),
        min_count: least,
        max_count: most,
        ..lab.request()
    };
    let refused = lab.refusal(many(12, 12)).await;
    assert_eq!(refused, "InsufficientFreeAddressesInSubnet 400");
    assert_eq!(lab.interfaces(), 0);
    let some = lab.call(many(1, 20)).await.unwrap();
    assert_eq!(some.instances_set.len(), 11);
    let addresses: BTreeSet<_> = some
        .instances_set
        .iter()
        .map(|it| it.private_ip_address.clone())
        .collect();
    assert_eq!(addresses.len(), 11);
}

#[tokio::test]
async fn the_quota_of_vcpus_holds() {
    let lab = Lab::new().await;
    let big = RunInstances {
        instance_type: Some("m5.4xlarge".into()),
        min_count: 3,
        max_count: 3,
        ..lab.request()
    };
    assert_eq!(lab.refusal(big).await, "VcpuLimitExceeded 400");
}

#[tokio::test]
async fn a_dry_run_launches_nothing() {
    let lab = Lab::new().await;
    let mut request = lab.request();
    request.dry_run = Some(true);
    assert_eq!(lab.refusal(request).await, "DryRunOperation 412");
    assert_eq!(lab.interfaces(), 0);
}

#[tokio::test]
async fn types_of_the_other_architecture_run_images_that_are_named_so() {
    let lab = Lab::new().await;
    let view = lab.app.cell.db.view();
    let other = match lath_ec2_kit::instance_types::host_architecture() {
        "arm64" => ("x86_64", "m6i.large"),
        _ => ("arm64", "t4g.micro"),
    };
    let all = images::all(&lab.app.cell, &view);
    let image = all.iter().find(|it| it.architecture == other.0).unwrap();
    let shown = lab
        .run(RunInstances {
            image_id: Some(image.id.to_string()),
            instance_type: Some(other.1.into()),
            ..lab.request()
        })
        .await;
    assert_eq!(shown.architecture, other.0);
}

#[tokio::test]
async fn several_interfaces_and_addresses_are_there_from_the_start() {
    let lab = Lab::new().await;
    let interface = |index: i32| InterfaceSpecification {
        device_index: Some(index),
        subnet_id: Some(lab.subnet.to_string()),
        ..InterfaceSpecification::default()
    };
    let request = |interfaces: Vec<InterfaceSpecification>| RunInstances {
        subnet_id: None,
        network_interfaces: interfaces,
        ..lab.request()
    };
    let first = InterfaceSpecification {
        secondary_private_ip_address_count: Some(2),
        ..interface(0)
    };
    let shown = lab.run(request(vec![interface(1), first.clone()])).await;
    let seen: Vec<_> = shown
        .network_interface_set
        .iter()
        .map(|it| {
            let addresses = it.private_ip_addresses_set.len();
            (it.attachment.device_index, addresses)
        })
        .collect();
    assert_eq!(seen, [(0, 3), (1, 1)]);
    let public = InterfaceSpecification {
        associate_public_ip_address: Some(true),
        ..interface(1)
    };
    for (name, interfaces, want) in [
        (
            "twice",
            vec![interface(0), interface(0)],
            "InvalidParameterValue 400",
        ),
        ("no first", vec![interface(1)], "InvalidParameterValue 400"),
        (
            "public",
            vec![interface(0), public],
            "InvalidParameterCombination 400",
        ),
    ] {
        assert_eq!(lab.refusal(request(interfaces)).await, want, "{name}");
    }
}

#[tokio::test]
async fn a_type_bounds_interfaces_and_addresses() {
    let mut lab = Lab::new().await;
    let interface = |index: i32, more: i32| InterfaceSpecification {
        device_index: Some(index),
        subnet_id: Some(lab.subnet.to_string()),
        secondary_private_ip_address_count: Some(more),
        ..InterfaceSpecification::default()
    };
    let request = |kind: &str, interfaces: &[(i32, i32)]| RunInstances {
        subnet_id: None,
        instance_type: Some(kind.into()),
        network_interfaces: interfaces
            .iter()
            .map(|(index, more)| interface(*index, *more))
            .collect(),
        ..lab.request()
    };
    let (many, crowded) = (
        "AttachmentLimitExceeded 400",
        "PrivateIpAddressLimitExceeded 400",
    );
    for (kind, interfaces, want) in [
        ("t3.micro", &[(0, 0), (1, 0), (2, 0)][..], many),
        ("t3.micro", &[(0, 0), (1, 2)][..], crowded),
        ("t3.medium", &[(0, 6)][..], crowded),
    ] {
        let refusal = lab.refusal(request(kind, interfaces)).await;
        assert_eq!(refusal, want, "{kind} {interfaces:?}");
    }
    let three = request("t3.medium", &[(0, 5), (1, 0), (2, 0)]);
    let id = lab.run(three).await.instance_id;
    lab.node_says(&id, Some(InstancePhase::Running)).await;
    lab.call(StopInstances::of(&id)).await.unwrap();
    lab.node_says(&id, Some(InstancePhase::Stopped)).await;
    let change = |kind: &str| ModifyInstanceAttribute::named(&id, "instanceType", kind);
    assert_eq!(lab.refusal(change("t3.micro")).await, many);
    assert_eq!(lab.refusal(change("t3.large")).await, "no refusal");
}
