//! Instances of EC2, and templates of their launches.

use serde_json::{Map, Value, json};

use super::ec2::{first, own, tagged, tags};
use super::{Call, Ctx, Kind, NOTHING, Named, State, call, text_of};

const EC2: &str = "ec2";

/// The members of a launch whose names on the wire are those of one item.
const SINGULAR: [(&str, &str); 11] = [
    ("BlockDeviceMappings", "BlockDeviceMapping"),
    ("NetworkInterfaces", "NetworkInterface"),
    ("TagSpecifications", "TagSpecification"),
    ("Tags", "Tag"),
    ("SecurityGroupIds", "SecurityGroupId"),
    ("SecurityGroups", "SecurityGroup"),
    ("Groups", "SecurityGroupId"),
    ("GroupSet", "SecurityGroupId"),
    ("LicenseSpecifications", "LicenseSpecification"),
    ("Ipv4Prefixes", "Ipv4Prefix"),
    ("Ipv6Prefixes", "Ipv6Prefix"),
];

fn launched(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(launched).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let singular = SINGULAR.iter().find(|(many, _)| many == name);
                let name = singular.map_or(name.as_str(), |(_, one)| one);
                (name.to_owned(), launched(value))
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn new_version(ctx: &Ctx<'_>) -> Vec<Call> {
    let mut calls = tags(ctx);
    if ctx.old.is_some() && ctx.changes(&["LaunchTemplateData", "VersionDescription"]) {
        calls.push(call(
            EC2,
            "CreateLaunchTemplateVersion",
            json!({
                "LaunchTemplateId": ctx.id,
                "VersionDescription": ctx.p("VersionDescription"),
                "LaunchTemplateData": launched(&ctx.p("LaunchTemplateData")),
                // The same after a restart, another for another update.
                "ClientToken": ctx.token,
            }),
        ));
    }
    calls
}

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "AWS::EC2::LaunchTemplate",
        properties: "LaunchTemplateName! LaunchTemplateData* VersionDescription TagSpecifications!",
        named: Some(Named {
            property: "LaunchTemplateName",
            longest: 128,
            is_lower_case: false,
        }),
        make: |ctx| {
            let mut specifications = tagged(ctx, "launch-template");
            let own = launched(&ctx.p("TagSpecifications"));
            let given = own.pointer("/0/Tag").and_then(Value::as_array).cloned();
            if let Some(Value::Array(all)) = specifications.pointer_mut("/0/Tag") {
                let mut new: Vec<Value> = given.unwrap_or_default();
                // Those that CloudFormation gives are not changed.
                new.retain(|tag| {
                    !text_of(&tag["Key"])
                        .to_ascii_lowercase()
                        .starts_with("aws:")
                });
                all.retain(|it| !new.iter().any(|tag| tag["Key"] == it["Key"]));
                all.extend(new);
            }
            call(
                EC2,
                "CreateLaunchTemplate",
                json!({
                    "LaunchTemplateName": ctx.id,
                    "VersionDescription": ctx.p("VersionDescription"),
                    "LaunchTemplateData": launched(&ctx.p("LaunchTemplateData")),
                    "ClientToken": ctx.token,
                    "TagSpecification": specifications,
                }),
            )
        },
        id: |_, answer| text_of(&answer["launchTemplate"]["launchTemplateId"]),
        find: Some(|ctx| call(EC2, "DescribeLaunchTemplates", json!({"Filter": own(ctx)}))),
        found: |_, answer| first(answer, "launchTemplates", "launchTemplateId"),
        complete: new_version,
        read: Some(|ctx| {
            call(
                EC2,
                "DescribeLaunchTemplates",
                json!({"LaunchTemplateId": [ctx.id]}),
            )
        }),
        item: "/launchTemplates/0",
        remove: |ctx| {
            vec![call(
                EC2,
                "DeleteLaunchTemplate",
                json!({"LaunchTemplateId": ctx.id}),
            )]
        },
        attributes: &[
            ("LaunchTemplateId", "/launchTemplateId"),
            ("LatestVersionNumber", "/latestVersionNumber"),
            ("DefaultVersionNumber", "/defaultVersionNumber"),
        ],
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::Instance",
        properties: "ImageId! InstanceType! KeyName! SubnetId! SecurityGroupIds! SecurityGroups! PrivateIpAddress! UserData! \
                     IamInstanceProfile! LaunchTemplate! NetworkInterfaces! AvailabilityZone! BlockDeviceMappings! Tags",
        make: |ctx| {
            let mut input = launched(ctx.properties);
            if let Value::Object(members) = &mut input {
                members.remove("Tag");
                if let Some(profile) = members.remove("IamInstanceProfile") {
                    members.insert("IamInstanceProfile".into(), json!({"Name": profile}));
                }
                if let Some(zone) = members.remove("AvailabilityZone") {
                    members.insert("Placement".into(), json!({"AvailabilityZone": zone}));
                }
                members.insert("MinCount".into(), json!(1));
                members.insert("MaxCount".into(), json!(1));
                members.insert("ClientToken".into(), json!(ctx.token));
                members.insert("TagSpecification".into(), tagged(ctx, "instance"));
            }
            call(EC2, "RunInstances", input)
        },
        id: |_, answer| text_of(&answer["instancesSet"][0]["instanceId"]),
        find: Some(|ctx| call(EC2, "DescribeInstances", json!({"Filter": own(ctx)}))),
        found: |_, answer| {
            let all = answer.get("reservationSet")?.as_array()?;
            all.iter()
                .find_map(|it| first(it, "instancesSet", "instanceId"))
        },
        complete: tags,
        read: Some(|ctx| call(EC2, "DescribeInstances", json!({"InstanceId": [ctx.id]}))),
        item: "/reservationSet/0/instancesSet/0",
        state: |_, item| match item.pointer("/instanceState/name").and_then(Value::as_str) {
            Some("running") => State::Ready,
            Some("terminated") => State::Gone,
            Some("pending" | "shutting-down") => State::Pending,
            other => State::Failed(format!(
                "The instance is {}",
                other.unwrap_or("in no state")
            )),
        },
        remove: |ctx| {
            vec![call(
                EC2,
                "TerminateInstances",
                json!({"InstanceId": [ctx.id]}),
            )]
        },
        attributes: &[
            ("InstanceId", "/instanceId"),
            ("AvailabilityZone", "/placement/availabilityZone"),
            ("PrivateDnsName", "/privateDnsName"),
            ("PrivateIp", "/privateIpAddress"),
            ("PublicDnsName", "/dnsName"),
            ("PublicIp", "/ipAddress"),
            ("VpcId", "/vpcId"),
        ],
        ..NOTHING
    },
];
