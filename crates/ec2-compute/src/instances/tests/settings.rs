//! Attributes, settings, keys and consoles.

use super::*;

#[tokio::test]
async fn attributes_change_one_at_a_time() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    lab.node_says(id, Some(InstancePhase::Running)).await;
    for (name, value, want) in [
        ("disableApiStop", "maybe", "InvalidParameterValue 400"),
        ("shoeSize", "9", "InvalidParameterValue 400"),
        ("kernel", "aki-1", "UnsupportedOperation 400"),
        ("instanceType", "t3.large", "IncorrectInstanceState 400"),
        ("userData", "eA==", "IncorrectInstanceState 400"),
        (
            "groupSet",
            "sg-0123456789abcdef0",
            "InvalidGroup.NotFound 400",
        ),
        (
            "groupSet",
            lab.foreign_group.as_str(),
            "InvalidGroup.NotFound 400",
        ),
        (
            "instanceInitiatedShutdownBehavior",
            "explode",
            "InvalidParameterValue 400",
        ),
    ] {
        let op = ModifyInstanceAttribute::named(id, name, value);
        assert_eq!(lab.refusal(op).await, want, "{name}");
    }
    assert_eq!(
        lab.refusal(ModifyInstanceAttribute::of(id)).await,
        "MissingParameter 400"
    );
    let unknown = DescribeInstanceAttribute::of(id, "shoeSize");
    assert_eq!(lab.refusal(unknown).await, "InvalidParameterValue 400");
    let kernel = ResetInstanceAttribute::of(id, "kernel");
    assert_eq!(lab.refusal(kernel).await, "UnsupportedOperation 400");
    let off = ModifyInstanceAttribute::named(id, "sourceDestCheck", "false");
    lab.call(off).await.unwrap();
    assert_eq!(lab.shown(id).source_dest_check, Some(false));
    lab.call(ResetInstanceAttribute::of(id, "sourceDestCheck"))
        .await
        .unwrap();
    assert_eq!(lab.shown(id).source_dest_check, Some(true));
}

#[tokio::test]
async fn key_pairs_are_made_once_and_found_until_deleted() {
    let lab = Lab::new().await;
    let create = |name: &str| CreateKeyPair::of(name, "ed25519");
    let made = lab.call(create("k")).await.unwrap();
    let again = lab.refusal(create("k")).await;
    assert_eq!(again, "InvalidKeyPair.Duplicate 400");
    let shown = lab.call(DescribeKeyPairs::of("k")).await.unwrap();
    let json = serde_json::to_value(&shown).unwrap();
    let json_made = serde_json::to_value(&made).unwrap();
    assert_eq!(
        json["keySet"][0]["keyFingerprint"],
        json_made["keyFingerprint"]
    );
    let mut request = lab.request();
    request.key_name = Some("k".into());
    assert_eq!(lab.run(request).await.key_name.as_deref(), Some("k"));
    for _ in 0..2 {
        lab.call(DeleteKeyPair::of("k")).await.unwrap();
    }
    for (name, got, want) in [
        (
            "describe",
            lab.refusal(DescribeKeyPairs::of("k")).await,
            "InvalidKeyPair.NotFound 400",
        ),
        (
            "no name",
            lab.refusal(create("")).await,
            "MissingParameter 400",
        ),
        (
            "not ASCII",
            lab.refusal(create("é")).await,
            "InvalidParameterValue 400",
        ),
        (
            "type",
            lab.refusal(CreateKeyPair::of("x", "dsa")).await,
            "InvalidParameterValue 400",
        ),
        (
            "import",
            lab.refusal(ImportKeyPair::of("x", b"junk")).await,
            "InvalidKey.Format 400",
        ),
        (
            "delete",
            lab.refusal(DeleteKeyPair::default()).await,
            "MissingParameter 400",
        ),
    ] {
        assert_eq!(got, want, "{name}");
    }
}

#[tokio::test]
async fn an_instance_without_a_node_has_an_empty_console() {
    let lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let console = lab
        .call(GetConsoleOutput::of(&shown.instance_id))
        .await
        .unwrap();
    let json = serde_json::to_value(&console).unwrap();
    assert_eq!(json["output"], serde_json::Value::Null);
}

/// What Terraform sends for an instance with every usual setting.
#[tokio::test]
async fn settings_are_shown_as_they_were_chosen() {
    let lab = Lab::new().await;
    let text = |text: &str| Some(text.to_owned());
    let shown = lab
        .run(RunInstances {
            instance_type: text("t3.large"),
            monitoring: Some(Monitoring { enabled: true }),
            ebs_optimized: Some(true),
            credit_specification: Some(CreditSpecification {
                cpu_credits: "standard".into(),
            }),
            cpu_options: Some(op!(CpuOptions {
                threads_per_core: Some(1)
            })),
            maintenance_options: Some(MaintenanceOptions {
                auto_recovery: text("disabled"),
            }),
            private_dns_name_options: Some(op!(PrivateDnsNameOptions {
                hostname_type: text("resource-name"),
                enable_resource_name_dns_a_record: Some(true)
            })),
            block_devices: vec![
                disk(
                    "/dev/xvda",
                    op!(EbsDevice {
                        encrypted: Some(true),
                        iops: Some(4000),
                        volume_size: Some(20)
                    }),
                ),
                disk(
                    "/dev/sdf",
                    op!(EbsDevice {
                        volume_size: Some(100),
                        volume_type: text("gp2")
                    }),
                ),
                op!(BlockDevice {
                    device_name: text("/dev/sdg"),
                    virtual_name: text("ephemeral0")
                }),
            ],
            ..lab.request()
        })
        .await;
    let id = shown.instance_id.as_str();
    let name = format!("{id}.ec2.internal");
    let json = serde_json::to_value(lab.shown(id)).unwrap();
    for (path, want) in [
        ("/monitoring/state", "enabled".into()),
        ("/ebsOptimized", true.into()),
        ("/cpuOptions/coreCount", 1.into()),
        ("/cpuOptions/threadsPerCore", 1.into()),
        ("/maintenanceOptions/autoRecovery", "disabled".into()),
        ("/privateDnsName", serde_json::Value::from(name.clone())),
        (
            "/privateDnsNameOptions/hostnameType",
            "resource-name".into(),
        ),
        (
            "/privateDnsNameOptions/enableResourceNameDnsARecord",
            true.into(),
        ),
        ("/blockDeviceMapping/1/deviceName", "/dev/sdf".into()),
        ("/blockDeviceMapping/2", serde_json::Value::Null),
    ] {
        let found = json.pointer(path).cloned().unwrap_or_default();
        assert_eq!(found, want, "{path}");
    }
    let fed = Arc::clone(&lab.feed().instances[&id.parse().unwrap()]);
    assert_eq!(fed.hostname, name);
    assert_eq!(fed.resource_name, Some(name));
    let volumes = lab.call(DescribeVolumes::default()).await.unwrap();
    let volumes = serde_json::to_value(volumes).unwrap();
    let mut seen: Vec<_> = volumes["volumeSet"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["size"].as_i64(),
                it["iops"].as_i64(),
                it["encrypted"].as_bool(),
            )
        })
        .collect();
    seen.sort_unstable();
    let want = [
        (Some(20), Some(4000), Some(true)),
        (Some(100), Some(300), Some(false)),
    ];
    assert_eq!(seen, want);
    let credits = lab.call(DescribeInstanceCreditSpecifications::of(id)).await;
    let credits = serde_json::to_value(credits.unwrap()).unwrap();
    let credits = &credits["instanceCreditSpecificationSet"][0]["cpuCredits"];
    assert_eq!(credits, "standard");
}
