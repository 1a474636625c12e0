//! Node groups with launch templates; the observations are given.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_ec2_records::{Instance, NetworkInterface, ResourceTags, SecurityGroup};
use serde_json::{Value, json};

use crate::tests::{Lab, NODE_ROLE};

const GROUPS: &str = "/clusters/prod/node-groups";

/// What follows a template's name in a form, for each version.
fn data(members: &[(&str, &str)]) -> String {
    let pairs = members.iter();
    pairs
        .map(|(name, value)| format!("&LaunchTemplateData.{name}={value}"))
        .collect()
}

impl Lab {
    async fn template(&self, name: &str, members: &[(&str, &str)]) -> String {
        let form = format!(
            "Action=CreateLaunchTemplate&LaunchTemplateName={name}{}",
            data(members)
        );
        self.ec2(&form, "launchTemplateId").await
    }

    fn group(&self, template: &str, more: Value) -> Value {
        let mut request = json!({
            "nodegroupName": "n", "subnets": self.subnets, "nodeRole": NODE_ROLE,
            "scalingConfig": {"minSize": 1, "maxSize": 2, "desiredSize": 1},
            "launchTemplate": {"name": template},
        });
        let more = more.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(more);
        request
    }

    fn nodes(&self) -> Vec<std::sync::Arc<Instance>> {
        let view = self.app.cell.db.view();
        let all = view.list::<Instance>();
        all.filter(|it| it.cluster.is_some() && it.is_alive())
            .collect()
    }
}

#[tokio::test]
async fn nodes_are_what_their_groups_template_says_and_a_new_version_replaces_them() {
    let lab = Lab::new().await;
    lab.active().await;
    let vpc = lab
        .app
        .cell
        .db
        .view()
        .list::<SecurityGroup>()
        .next()
        .unwrap()
        .vpc
        .to_string();
    let form = format!("Action=CreateSecurityGroup&GroupName=g&GroupDescription=d&VpcId={vpc}");
    let group = lab.ec2(&form, "groupId").await;
    let script = STANDARD.encode("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n#!/bin/sh\r\n--b--\r\n");
    let id = lab
        .template(
            "web",
            &[
                ("InstanceType", "t3.large"),
                ("SecurityGroupId.1", &group),
                ("MetadataOptions.HttpPutResponseHopLimit", "3"),
                ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
                ("BlockDeviceMapping.1.Ebs.VolumeSize", "33"),
                ("TagSpecification.1.ResourceType", "instance"),
                ("TagSpecification.1.Tag.1.Key", "team"),
                ("TagSpecification.1.Tag.1.Value", "blue"),
                ("UserData", &script.replace('+', "%2B").replace('=', "%3D")),
            ],
        )
        .await;
    let made = lab.get("POST", GROUPS, lab.group("web", json!({}))).await;
    let shown = &made["nodegroup"];
    assert_eq!(
        shown["launchTemplate"],
        json!({"name": "web", "version": "1", "id": id})
    );
    assert!(shown.get("diskSize").is_none_or(Value::is_null), "{shown}");
    lab.settle(true).await;
    assert_eq!(
        lab.status(&format!("{GROUPS}/n"), "nodegroup").await,
        "ACTIVE"
    );
    let nodes = lab.nodes();
    let [node] = nodes.as_slice() else {
        panic!("{nodes:?}")
    };
    assert_eq!(
        (node.instance_type.as_str(), node.root_volume.size),
        ("t3.large", 33)
    );
    assert_eq!(
        (node.metadata.hop_limit, node.metadata.tokens_required),
        (3, true)
    );
    assert_eq!(node.user_data.as_deref(), Some(script.as_str()));
    let view = lab.app.cell.db.view();
    let interface = node.primary_interface.as_ref().unwrap().as_str();
    let groups = &view.get::<NetworkInterface>(interface).unwrap().groups;
    assert_eq!(
        groups.iter().map(|it| it.as_str()).collect::<Vec<_>>(),
        [group.as_str()]
    );
    let tags = view
        .get::<ResourceTags>(node.id.as_str())
        .unwrap()
        .tags
        .clone();
    assert_eq!(tags["team"], "blue");
    assert_eq!(tags["aws:ec2launchtemplate:id"], id);

    let form = format!(
        "Action=CreateLaunchTemplateVersion&LaunchTemplateId={id}&SourceVersion=1{}",
        data(&[("InstanceType", "t3.medium")])
    );
    lab.ec2(&form, "versionNumber").await;
    let update = json!({"launchTemplate": {"id": id, "version": "2"}});
    let path = format!("{GROUPS}/n/update-version");
    let begun = lab.get("POST", &path, update).await;
    let params = begun["update"]["params"].to_string();
    assert!(params.contains("LaunchTemplateVersion"), "{params}");
    lab.settle(true).await;
    let types: Vec<String> = lab
        .nodes()
        .iter()
        .map(|it| it.instance_type.clone())
        .collect();
    assert_eq!(types, ["t3.medium"]);
    // What becomes of the template does not matter to a group any more.
    lab.ec2(
        &format!("Action=DeleteLaunchTemplate&LaunchTemplateId={id}"),
        "launchTemplateId",
    )
    .await;
    let resize = json!({"scalingConfig": {"desiredSize": 2}});
    lab.get("POST", &format!("{GROUPS}/n/update-config"), resize)
        .await;
    lab.settle(false).await;
    let types: Vec<String> = lab
        .nodes()
        .iter()
        .map(|it| it.instance_type.clone())
        .collect();
    assert_eq!(types, ["t3.medium", "t3.medium"]);
}

#[tokio::test]
async fn what_a_group_and_its_template_may_not_both_say_is_refused_in_ekss_words() {
    let lab = Lab::new().await;
    lab.active().await;
    let subnet = lab.subnets[0].clone();
    let plain = STANDARD.encode("#!/bin/sh\n");
    for (name, members) in [
        ("typed", vec![("InstanceType", "t3.large")]),
        ("imaged", vec![("ImageId", "ami-0123456789abcdef0")]),
        ("profiled", vec![("IamInstanceProfile.Name", "p")]),
        (
            "placed",
            vec![
                ("NetworkInterface.1.DeviceIndex", "0"),
                ("NetworkInterface.1.SubnetId", subnet.as_str()),
            ],
        ),
        ("keyed", vec![("KeyName", "none")]),
        ("plain", vec![("UserData", plain.as_str())]),
        (
            "hibernating",
            vec![("HibernationOptions.Configured", "true")],
        ),
    ] {
        lab.template(name, &members).await;
    }
    for (template, more, want) in [
        (
            "typed",
            json!({"instanceTypes": ["t3.medium"]}),
            "Cannot specify instance types in launch template and API request",
        ),
        (
            "typed",
            json!({"diskSize": 30}),
            "Disk size must be specified within the launch template.",
        ),
        (
            "typed",
            json!({"remoteAccess": {}}),
            "Remote access configuration cannot be specified with a launch template.",
        ),
        (
            "imaged",
            json!({"amiType": "AL2023_x86_64_STANDARD"}),
            "You cannot specify an AMI Type other than CUSTOM, when specifying an image id in your launch template.",
        ),
        (
            "imaged",
            json!({"version": "1.37"}),
            "You cannot specify the field kubernetesVersion when using custom AMIs.",
        ),
        (
            "imaged",
            json!({}),
            "Lath does not support nodes of the image ami-0123456789abcdef0",
        ),
        (
            "profiled",
            json!({}),
            "Launch template profiled should not specify an instance profile.",
        ),
        (
            "placed",
            json!({}),
            "Launch template placed should not specify subnets.",
        ),
        (
            "hibernating",
            json!({}),
            "Launch template hibernating should not specify hibernation options.",
        ),
        (
            "keyed",
            json!({}),
            "The key pair 'none' does not exist (Service: AmazonEC2",
        ),
        (
            "plain",
            json!({}),
            "Ec2LaunchTemplateInvalidConfiguration: User data was not in the MIME multipart format.",
        ),
        (
            "absent",
            json!({}),
            "The specified launch template, with template name absent, does not exist.",
        ),
        (
            "typed",
            json!({"launchTemplate": {"name": "typed", "version": "7"}}),
            "Could not find the specified version 7",
        ),
        (
            "typed",
            json!({"launchTemplate": {}}),
            "You must specify either the launch template ID or the launch template name",
        ),
        (
            "typed",
            json!({"launchTemplate": null, "amiType": "CUSTOM"}),
            "Launch template details can't be null for Custom ami type node group",
        ),
    ] {
        let (status, text) = lab
            .refused("POST", GROUPS, lab.group(template, more.clone()))
            .await;
        assert_eq!(
            (status, text.starts_with(want)),
            (400, true),
            "{template} {more}: {text}"
        );
    }
    let without = lab.group("typed", json!({"launchTemplate": null}));
    lab.get("POST", GROUPS, without).await;
    lab.settle(false).await;
    let update = json!({"launchTemplate": {"name": "typed"}});
    let (status, text) = lab
        .refused("POST", &format!("{GROUPS}/n/update-version"), update)
        .await;
    assert_eq!(status, 400, "{text}");
}
