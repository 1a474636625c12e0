//! Launch templates, and launches from them.

use lath_wire::Permission;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::launch_templates::made_of::GetLaunchTemplateData;
use crate::launch_templates::templates::*;
use crate::launch_templates::versions::*;

fn op<Op: DeserializeOwned>(request: Value) -> Op {
    serde_json::from_value(request).unwrap()
}

fn json_of(value: &impl serde::Serialize) -> Value {
    let Value::Object(members) = serde_json::to_value(value).unwrap() else {
        panic!("not a structure")
    };
    members
        .into_iter()
        .filter(|(_, it)| !it.is_null())
        .collect()
}

impl Lab {
    async fn template(&self, data: Value) -> String {
        let made = self
            .call::<CreateLaunchTemplate>(op(json!({
                "LaunchTemplateName": "web", "LaunchTemplateData": data
            })))
            .await;
        made.unwrap().launch_template.launch_template_id
    }

    async fn new_version(&self, source: Option<&str>, data: Value) -> VersionItem {
        let made = self
            .call::<CreateLaunchTemplateVersion>(op(json!({
                "LaunchTemplateName": "web", "SourceVersion": source, "LaunchTemplateData": data
            })))
            .await;
        made.unwrap().launch_template_version
    }

    async fn versions(&self, request: Value) -> Vec<i64> {
        let found = self
            .call::<DescribeLaunchTemplateVersions>(op(request))
            .await;
        let found = found.unwrap().launch_template_version_set;
        found.iter().map(|it| it.version_number).collect()
    }

    async fn run_template(&self, more: Value) -> InstanceItem {
        let mut request =
            json!({"MinCount": 1, "MaxCount": 1, "LaunchTemplate": {"LaunchTemplateName": "web"}});
        let more = more.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(more);
        self.run(op(request)).await
    }
}

#[tokio::test]
async fn versions_are_numbered_once_and_named_in_three_ways() {
    let lab = Lab::new().await;
    let id = lab.template(json!({"InstanceType": "t3.micro"})).await;
    for number in 2..=4 {
        let made = lab.new_version(None, json!({"KeyName": "k"})).await;
        assert_eq!((made.version_number, made.default_version), (number, false));
    }
    let by_id = |more: Value| {
        let mut request = json!({"LaunchTemplateId": id});
        let more = more.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(more);
        request
    };
    for (request, want) in [
        (json!({}), vec![4, 3, 2, 1]),
        (
            json!({"LaunchTemplateVersion": ["$Latest", "$Default", "2"]}),
            vec![4, 2, 1],
        ),
        (json!({"MinVersion": "2", "MaxVersion": "3"}), vec![3, 2]),
        (
            json!({"Filter": [{"Name": "is-default-version", "Value": ["true"]}]}),
            vec![1],
        ),
        (
            json!({"Filter": [{"Name": "instance-type", "Value": ["t3.*"]}]}),
            vec![1],
        ),
    ] {
        assert_eq!(
            lab.versions(by_id(request.clone())).await,
            want,
            "{request}"
        );
    }
    let modified = lab
        .call::<ModifyLaunchTemplate>(op(by_id(json!({"SetDefaultVersion": "3"}))))
        .await;
    assert_eq!(modified.unwrap().launch_template.default_version_number, 3);
    let delete = by_id(json!({"LaunchTemplateVersion": ["3", "4", "9"]}));
    let deleted = lab
        .call::<DeleteLaunchTemplateVersions>(op(delete))
        .await
        .unwrap();
    let gone = deleted.successfully_deleted_launch_template_version_set;
    assert_eq!(
        gone.iter().map(|it| it.version_number).collect::<Vec<_>>(),
        [4]
    );
    let kept = deleted.unsuccessfully_deleted_launch_template_version_set;
    let kept: Vec<_> = kept
        .iter()
        .map(|it| (it.version_number, it.response_error.code.as_str()))
        .collect();
    assert_eq!(
        kept,
        [
            (3, "unexpectedError"),
            (9, "launchTemplateVersionDoesNotExist")
        ]
    );
    // The latest version is one that is there, and its successor's number was never used.
    assert_eq!(
        lab.versions(json!({"LaunchTemplateVersion": ["$Latest"]}))
            .await,
        [3]
    );
    assert_eq!(
        lab.new_version(Some("1"), json!({})).await.version_number,
        5
    );
}

#[tokio::test]
async fn a_new_version_takes_of_its_source_what_it_does_not_say() {
    let lab = Lab::new().await;
    lab.template(json!({
        "InstanceType": "t3.micro", "SecurityGroupId": ["sg-1", "sg-2"],
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.1"}},
    }))
    .await;
    let given =
        json!({"SecurityGroupId": ["sg-3"], "MetadataOptions": {"HttpEndpoint": "enabled"}});
    let made = lab.new_version(Some("$Default"), given.clone()).await;
    let data = json_of(&made.launch_template_data);
    assert_eq!(data["instanceType"], "t3.micro");
    assert_eq!(data["securityGroupIdSet"], json!(["sg-3"]));
    assert_eq!(data["metadataOptions"]["httpEndpoint"], "enabled");
    assert!(
        data["metadataOptions"]["httpTokens"].is_null(),
        "replaced as a whole"
    );
    assert_eq!(
        data["instanceMarketOptions"]["spotOptions"]["maxPrice"],
        "0.1"
    );
    let alone = json_of(&lab.new_version(None, given).await.launch_template_data);
    assert!(alone.get("instanceType").is_none(), "{alone}");
}

#[tokio::test]
async fn a_template_keeps_what_a_launch_would_be_refused_for_and_says_so() {
    let lab = Lab::new().await;
    let create = |data: Value| {
        op::<CreateLaunchTemplate>(
            json!({"LaunchTemplateName": "warned", "LaunchTemplateData": data}),
        )
    };
    let made = lab
        .call(create(json!({
            "KernelId": "aki-1", "InstanceType": "t9.huge", "UserData": "not base64!",
            "NetworkInterface": [{"DeviceIndex": 0, "InterfaceType": "efa"}],
        })))
        .await
        .unwrap();
    let warned: Vec<String> = made
        .warning
        .unwrap()
        .error_set
        .into_iter()
        .map(|it| it.code)
        .collect();
    assert_eq!(
        warned,
        [
            "UnsupportedOperation",
            "InvalidParameterValue",
            "InvalidUserData.Malformed",
            "UnsupportedOperation"
        ]
    );
    for (data, code) in [
        (json!({}), "MissingParameter 400"),
        (
            json!({"UserData": "a".repeat(30_000)}),
            "InvalidParameterValue 400",
        ),
        (
            json!({"InstanceType": "t3.micro", "InstanceRequirements": {"VCpuCount": {"Min": 1}}}),
            "InvalidParameterCombination 400",
        ),
        (
            json!({"TagSpecification": [{"ResourceType": "vpc", "Tag": [{"Key": "a"}]}]}),
            "InvalidParameterValue 400",
        ),
        (
            json!({"ImageId": "ami-1"}),
            "InvalidLaunchTemplateName.AlreadyExistsException 400",
        ),
    ] {
        assert_eq!(lab.refusal(create(data.clone())).await, code, "{data}");
    }
    let run =
        json!({"MinCount": 1, "MaxCount": 1, "LaunchTemplate": {"LaunchTemplateName": "warned"}});
    assert_eq!(
        lab.refusal(op::<RunInstances>(run)).await,
        "UnsupportedOperation 400"
    );
}

#[tokio::test]
async fn a_launch_takes_its_templates_parameters_and_its_own_come_first() {
    let lab = Lab::new().await;
    let id = lab
        .template(json!({
            "ImageId": lab.image(), "InstanceType": "t3.micro", "UserData": "aGk=",
            "NetworkInterface": [{"DeviceIndex": 0, "SubnetId": lab.subnet.to_string(), "SecurityGroupId": [lab.group.to_string()], "Description": "of the template"}],
            "BlockDeviceMapping": [
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 30}},
                {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10}},
            ],
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 3},
            "TagSpecification": [{"ResourceType": "instance", "Tag": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "1"}]}],
            "Monitoring": {}, "DisableApiTermination": true,
        }))
        .await;
    let tags = |it: &InstanceItem| -> Vec<String> {
        let tags = it.tag_set.iter();
        tags.map(|tag| format!("{}={}", tag.key, tag.value))
            .collect()
    };
    let plain = lab.run_template(json!({})).await;
    let template = format!("aws:ec2launchtemplate:id={id}");
    let want = [
        "a=1",
        template.as_str(),
        "aws:ec2launchtemplate:version=1",
        "b=1",
    ];
    assert_eq!(tags(&plain), want);
    assert_eq!(plain.instance_type, "t3.micro");
    assert_eq!(
        plain.network_interface_set[0].description,
        "of the template"
    );
    assert_eq!(plain.metadata_options.http_put_response_hop_limit, 3);
    let record = lab.record(&plain.instance_id);
    assert_eq!(record.user_data.as_deref(), Some("aGk="));
    assert!(record.termination_protected);
    let sizes: Vec<i32> = record.all_volumes().map(|it| it.size).collect();
    assert_eq!(sizes, [30, 10]);

    let own = lab
        .run_template(json!({
            "InstanceType": "t3.small", "ClientToken": "once", "DisableApiTermination": false,
            "NetworkInterface": [{"DeviceIndex": 0, "Description": "of the request"}],
            "BlockDeviceMapping": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 11}}],
            "TagSpecification": [{"ResourceType": "instance", "Tag": [{"Key": "b", "Value": "2"}]}],
        }))
        .await;
    let want = [
        "a=1",
        template.as_str(),
        "aws:ec2launchtemplate:version=1",
        "b=2",
    ];
    assert_eq!(tags(&own), want);
    assert_eq!(
        (own.instance_type.as_str(), own.client_token.as_str()),
        ("t3.small", "once")
    );
    assert_eq!(own.network_interface_set[0].description, "of the request");
    assert_eq!(
        own.network_interface_set[0].group_set[0].group_id,
        lab.group.to_string()
    );
    let record = lab.record(&own.instance_id);
    assert!(!record.termination_protected);
    let sizes: Vec<i32> = record.all_volumes().map(|it| it.size).collect();
    assert_eq!(sizes, [30, 11]);

    let both = json!({"MinCount": 1, "MaxCount": 1, "SubnetId": lab.subnet.to_string(), "LaunchTemplate": {"LaunchTemplateId": id}});
    assert_eq!(
        lab.refusal(op::<RunInstances>(both)).await,
        "InvalidParameterCombination 400"
    );
    let absent = json!({"MinCount": 1, "MaxCount": 1, "LaunchTemplate": {"LaunchTemplateId": id, "Version": "7"}});
    assert_eq!(
        lab.refusal(op::<RunInstances>(absent)).await,
        "InvalidLaunchTemplateId.VersionNotFound 400"
    );

    let request = op::<GetLaunchTemplateData>(json!({"InstanceId": plain.instance_id}));
    let data = json_of(&lab.call(request).await.unwrap().launch_template_data);
    assert_eq!(data["imageId"], lab.image());
    assert_eq!(data["blockDeviceMappingSet"][1]["ebs"]["volumeSize"], 10);
    assert_eq!(
        data["tagSpecificationSet"][0]["tagSet"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(data["metadataOptions"]["httpTokens"], "required");
}

#[tokio::test]
async fn permissions_are_about_what_a_template_names_too() {
    let lab = Lab::new().await;
    let id = lab
        .template(json!({
            "ImageId": lab.image(), "InstanceType": "t3.micro", "SecurityGroupId": [lab.group.to_string()],
            "TagSpecification": [{"ResourceType": "instance", "Tag": [{"Key": "a", "Value": "1"}]}],
        }))
        .await;
    let asked = |request: Value| -> Vec<Permission> {
        let op: RunInstances = op(request);
        lath_authz::permissions(&lab.app.cell.db.view(), &caller(), &op)
    };
    let request = json!({
        "MinCount": 1, "MaxCount": 1, "SubnetId": lab.subnet.to_string(),
        "LaunchTemplate": {"LaunchTemplateName": "web", "Version": "$Latest"},
    });
    let asked = asked(request);
    let key = |it: &Permission, name: &str| {
        let mut all = it.keys.iter().filter(|(key, _)| key == name);
        all.next().map(|(_, values)| values.join(","))
    };
    let lines: Vec<String> = asked
        .iter()
        .map(|it| {
            let (_, resource) = it.resource.rsplit_once(':').unwrap();
            let of_template = key(it, "ec2:IsLaunchTemplateResource");
            format!(
                "{} {resource} {}",
                it.action,
                of_template.unwrap_or_default()
            )
        })
        .collect();
    let want = [
        format!("ec2:RunInstances image/{} true", lab.image()),
        format!("ec2:RunInstances subnet/{} false", lab.subnet),
        format!("ec2:RunInstances security-group/{} true", lab.group),
        "ec2:RunInstances network-interface/* true".to_owned(),
        "ec2:RunInstances volume/* true".to_owned(),
        format!("ec2:RunInstances launch-template/{id} true"),
        "ec2:RunInstances instance/* true".to_owned(),
        "ec2:CreateTags instance/* ".to_owned(),
    ];
    assert_eq!(lines, want);
    let arn = format!("arn:aws:ec2:us-east-1:123456789012:launch-template/{id}");
    let mut own = asked.iter().filter(|it| it.action == "ec2:RunInstances");
    assert!(own.all(|it| key(it, "ec2:LaunchTemplate").as_deref() == Some(&*arn)));
    assert_eq!(key(&asked[7], "aws:RequestTag/a").as_deref(), Some("1"));
}

#[test]
fn groups_of_interfaces_are_printed_as_aws_prints_them() {
    use crate::launch_templates::data::{GroupIds, Shown as _};
    let groups = GroupIds(vec!["sg-1".into(), "sg-2".into()]);
    let shaping = lath_wire::Shaping::Elements(lath_wire::ItemName::Fixed("item"));
    let doc = lath_wire::encode(&groups.shown(), shaping).unwrap();
    let text = |id: &str| ("groupId".to_owned(), lath_wire::Doc::String(id.to_owned()));
    assert_eq!(doc, lath_wire::Doc::Map(vec![text("sg-1"), text("sg-2")]));
}
