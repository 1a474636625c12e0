//! Bad requests, and what is not there.

use super::*;

#[tokio::test]
async fn bad_launches_are_refused() {
    let lab = Lab::new().await;
    let text = |text: &str| Some(text.to_owned());
    let big = STANDARD.encode(vec![b'x'; 16_385]);
    let tagged = |kind: &str| TagSpecification {
        resource_type: Some(kind.into()),
        tags: vec![TagInput::default()],
    };
    let specified = |it: InterfaceSpecification| RunInstances {
        network_interfaces: vec![it],
        subnet_id: None,
        ..lab.request()
    };
    macro_rules! run {
        ($($field:ident: $value:expr),*) => { RunInstances { $($field: $value,)* ..lab.request() } };
    }
    let table = [
        ("no image", run!(image_id: None), "MissingParameter 400"),
        (
            "image None",
            run!(image_id: text("None")),
            "InvalidAMIID.Malformed 400",
        ),
        (
            "image unknown",
            run!(image_id: text("ami-0123456789abcdef0")),
            "InvalidAMIID.NotFound 400",
        ),
        (
            "type",
            run!(instance_type: text("x.y")),
            "InvalidParameterValue 400",
        ),
        (
            "other machine",
            run!(instance_type: text("t4g.small")),
            "InvalidParameterValue 400",
        ),
        (
            "type without its hardware",
            run!(instance_type: text("p4d.24xlarge")),
            "Unsupported 400",
        ),
        (
            "optimised type that is none",
            run!(instance_type: text("t2.micro"), ebs_optimized: Some(true)),
            "InvalidParameterCombination 400",
        ),
        (
            "credits of a type without any",
            run!(instance_type: text("m6i.large"), credit_specification: Some(CreditSpecification { cpu_credits: "standard".into() })),
            "InvalidParameterCombination 400",
        ),
        (
            "cores that the type has not",
            run!(cpu_options: Some(op!(CpuOptions { core_count: Some(3) }))),
            "InvalidParameterValue 400",
        ),
        (
            "key",
            run!(key_name: text("k")),
            "InvalidKeyPair.NotFound 400",
        ),
        (
            "subnet None",
            run!(subnet_id: text("None")),
            "InvalidSubnetID.Malformed 400",
        ),
        (
            "subnet",
            run!(subnet_id: text("subnet-0123456789abcdef0")),
            "InvalidSubnetID.NotFound 400",
        ),
        (
            "no default VPC",
            run!(subnet_id: None),
            "VPCIdNotSpecified 400",
        ),
        (
            "group",
            run!(group_ids: ids("sg-0123456789abcdef0")),
            "InvalidGroup.NotFound 400",
        ),
        (
            "group None",
            run!(group_ids: ids("None")),
            "InvalidGroupId.Malformed 400",
        ),
        (
            "foreign group",
            run!(group_ids: ids(lab.foreign_group.as_str())),
            "InvalidParameter 400",
        ),
        (
            "group name",
            run!(group_names: ids("default")),
            "InvalidParameterCombination 400",
        ),
        (
            "user data",
            run!(user_data: text("%")),
            "InvalidUserData.Malformed 400",
        ),
        (
            "long user data",
            run!(user_data: Some(big)),
            "InvalidParameterValue 400",
        ),
        (
            "no instance",
            run!(min_count: 0),
            "InvalidParameterValue 400",
        ),
        (
            "min above max",
            run!(min_count: 2),
            "InvalidParameterValue 400",
        ),
        (
            "too many",
            run!(max_count: 1001),
            "InvalidParameterValue 400",
        ),
        (
            "reserved address",
            run!(private_ip_address: text("10.0.1.1")),
            "InvalidParameterValue 400",
        ),
        (
            "no address",
            run!(private_ip_address: text("x")),
            "InvalidParameterValue 400",
        ),
        (
            "shutdown",
            run!(instance_initiated_shutdown_behavior: text("x")),
            "InvalidParameterValue 400",
        ),
        (
            "kernel",
            run!(kernel_id: text("aki-1")),
            "UnsupportedOperation 400",
        ),
        (
            "spot",
            run!(instance_market_options: Some(Structure {})),
            "UnsupportedOperation 400",
        ),
        (
            "tags of a VPC",
            run!(tags: vec![tagged("vpc")]),
            "InvalidParameterValue 400",
        ),
        (
            "tag without key",
            run!(tags: vec![tagged("instance")]),
            "InvalidParameterValue 400",
        ),
        (
            "long token",
            run!(client_token: Some("t".repeat(65))),
            "InvalidParameterValue 400",
        ),
        (
            "profile",
            run!(iam_instance_profile: Some(op!(InstanceProfile { name: text("p") }))),
            "InvalidParameterValue 400",
        ),
        (
            "metadata",
            run!(metadata_options: Some(op!(MetadataOptionsInput { http_tokens: text("maybe") }))),
            "InvalidParameterValue 400",
        ),
        (
            "disk without size",
            run!(block_devices: vec![op!(BlockDevice { device_name: text("/dev/sdf") })]),
            "MissingParameter 400",
        ),
        (
            "iops of gp2",
            run!(block_devices: vec![disk("/dev/sdf", op!(EbsDevice { volume_size: Some(10), volume_type: text("gp2"), iops: Some(100) }))]),
            "InvalidParameterCombination 400",
        ),
        (
            "few iops",
            run!(block_devices: vec![disk("/dev/xvda", op!(EbsDevice { volume_type: text("gp3"), iops: Some(100) }))]),
            "InvalidParameterValue 400",
        ),
        (
            "io2 without iops",
            run!(block_devices: vec![disk("/dev/sdf", op!(EbsDevice { volume_size: Some(10), volume_type: text("io2") }))]),
            "MissingParameter 400",
        ),
        (
            "key of a disk",
            run!(block_devices: vec![disk("/dev/xvda", op!(EbsDevice { kms_key_id: text("k") }))]),
            "UnsupportedOperation 400",
        ),
        (
            "snapshot",
            run!(block_devices: vec![disk("/dev/sdf", op!(EbsDevice { snapshot_id: text("snap-1") }))]),
            "InvalidSnapshot.NotFound 400",
        ),
        (
            "zone of another subnet",
            run!(placement: Some(op!(Placement { availability_zone: text("us-east-1b") }))),
            "InvalidParameterValue 400",
        ),
        (
            "both forms",
            run!(network_interfaces: vec![InterfaceSpecification::default()]),
            "InvalidParameterCombination 400",
        ),
        (
            "no index",
            specified(InterfaceSpecification::default()),
            "InvalidParameterValue 400",
        ),
        (
            "unknown interface",
            specified(op!(InterfaceSpecification {
                network_interface_id: text("eni-0123456789abcdef0")
            })),
            "InvalidNetworkInterfaceID.NotFound 400",
        ),
    ];
    for (name, request, want) in table {
        assert_eq!(lab.refusal(request).await, want, "{name}");
    }
    assert_eq!(lab.interfaces(), 0);
}

#[tokio::test]
async fn instances_that_do_not_exist_are_not_found() {
    let lab = Lab::new().await;
    for (id, want) in [
        ("None", "InvalidInstanceID.Malformed 400"),
        ("i-0123456789abcdef0", "InvalidInstanceID.NotFound 400"),
    ] {
        assert_eq!(lab.refusal(StartInstances::of(id)).await, want);
        assert_eq!(lab.refusal(StopInstances::of(id)).await, want);
        assert_eq!(lab.refusal(TerminateInstances::of(id)).await, want);
        assert_eq!(lab.refusal(RebootInstances::of(id)).await, want);
        assert_eq!(
            lab.refusal(op!(DescribeInstances { ids: ids(id) })).await,
            want
        );
        assert_eq!(lab.refusal(DescribeInstanceStatus::of(id)).await, want);
        assert_eq!(lab.refusal(GetConsoleOutput::of(id)).await, want);
        assert_eq!(
            lab.refusal(DescribeInstanceCreditSpecifications::of(id))
                .await,
            want
        );
        assert_eq!(
            lab.refusal(DescribeInstanceAttribute::of(id, "userData"))
                .await,
            want
        );
        assert_eq!(lab.refusal(ModifyInstanceAttribute::of(id)).await, want);
        assert_eq!(
            lab.refusal(ResetInstanceAttribute::of(id, "sourceDestCheck"))
                .await,
            want
        );
        assert_eq!(
            lab.refusal(ModifyInstanceMetadataOptions::of(id)).await,
            want
        );
    }
    let none = "InvalidParameterCombination 400";
    assert_eq!(lab.refusal(TerminateInstances::default()).await, none);
    assert_eq!(lab.refusal(StopInstances::default()).await, none);
    assert_eq!(lab.refusal(StartInstances::default()).await, none);
    assert_eq!(lab.refusal(RebootInstances::default()).await, none);
}

#[tokio::test]
async fn wrong_states_and_protections_are_respected() {
    let mut lab = Lab::new().await;
    let mut request = lab.request();
    request.disable_api_termination = Some(true);
    request.disable_api_stop = Some(true);
    let shown = lab.run(request).await;
    let id = shown.instance_id.as_str();
    assert_eq!(
        lab.refusal(StopInstances::of(id)).await,
        "IncorrectInstanceState 400"
    );
    lab.node_says(id, Some(InstancePhase::Running)).await;
    assert_eq!(
        lab.refusal(StopInstances::of(id)).await,
        "OperationNotPermitted 400"
    );
    assert_eq!(
        lab.refusal(TerminateInstances::of(id)).await,
        "OperationNotPermitted 400"
    );
    let off = |name: &str| ModifyInstanceAttribute::named(id, name, "false");
    lab.call(off("disableApiTermination")).await.unwrap();
    lab.call(TerminateInstances::of(id)).await.unwrap();
    assert_eq!(
        lab.refusal(StartInstances::of(id)).await,
        "IncorrectInstanceState 400"
    );
    let reboot = lab.refusal(RebootInstances::of(id)).await;
    assert_eq!(reboot, "IncorrectInstanceState 400");
    assert_eq!(
        lab.refusal(off("disableApiStop")).await,
        "IncorrectInstanceState 400"
    );
}

#[tokio::test]
async fn other_bad_requests_are_refused() {
    let lab = Lab::new().await;
    let filter = || {
        vec![Filter {
            name: Some("colour".into()),
            values: ids("red"),
        }]
    };
    let bad = "InvalidParameterValue 400";
    assert_eq!(
        lab.refusal(op!(DescribeInstances { filters: filter() }))
            .await,
        bad
    );
    assert_eq!(
        lab.refusal(op!(DescribeInstances {
            max_results: Some(4)
        }))
        .await,
        bad
    );
    let token = Some("junk".to_owned());
    let page = op!(DescribeInstances {
        max_results: Some(5),
        next_token: token
    });
    assert_eq!(lab.refusal(page).await, "InvalidNextToken 400");
    let both = op!(DescribeInstances {
        ids: ids("i-0123456789abcdef0"),
        max_results: Some(5)
    });
    assert_eq!(lab.refusal(both).await, "InvalidParameterCombination 400");
    assert_eq!(
        lab.refusal(DescribeVolumes::of("vol-0123456789abcdef0"))
            .await,
        "InvalidVolume.NotFound 400"
    );
    assert_eq!(
        lab.refusal(DescribeInstanceTypes::of("x.y")).await,
        "InvalidInstanceType 400"
    );
    assert_eq!(
        lab.refusal(DescribeInstanceTypeOfferings::of("moon")).await,
        bad
    );
}
