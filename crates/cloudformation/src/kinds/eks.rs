//! EKS. A create is idempotent by its token: called again after a restart, it answers as it did.

use serde_json::{Value, json};

use super::{Call, Ctx, Kind, NOTHING, Named, State, added, call, camel, items, text_of};

const EKS: &str = "eks";

const fn named(property: &'static str, longest: usize) -> Option<Named> {
    Some(Named {
        property,
        longest,
        is_lower_case: false,
    })
}

fn by_status(item: &Value) -> State {
    match item.get("status").and_then(Value::as_str) {
        Some("CREATE_FAILED" | "FAILED" | "DELETE_FAILED") => {
            let issues = items(item.pointer("/health/issues").unwrap_or(&Value::Null));
            let texts: Vec<String> = issues.iter().map(|it| text_of(&it["message"])).collect();
            State::Failed(if texts.is_empty() {
                "it could not be made".into()
            } else {
                texts.join("; ")
            })
        }
        Some("ACTIVE" | "DEGRADED") | None => State::Ready,
        Some(_) => State::Pending,
    }
}

fn tags(ctx: &Ctx<'_>, arn: &str) -> Vec<Call> {
    let (set, gone) = ctx.changed_tags();
    let mut calls = Vec::new();
    if !set.is_empty() {
        calls.push(call(
            EKS,
            "TagResource",
            json!({"resourceArn": arn, "tags": set}),
        ));
    }
    if !gone.is_empty() {
        calls.push(call(
            EKS,
            "UntagResource",
            json!({"resourceArn": arn, "tagKeys": gone}),
        ));
    }
    calls
}

/// The properties that a template has beside the operation's.
fn configured(ctx: &Ctx<'_>) -> Value {
    let mut input = camel(ctx.properties, &["Tags", "Labels"]);
    if let Value::Object(members) = &mut input {
        members.insert("tags".into(), ctx.tag_map());
        members.insert("clientRequestToken".into(), json!(ctx.token));
    }
    input
}

/// CloudFormation names logs by lists of structures.
fn logging(value: &Value) -> Value {
    let Some(types) = value.pointer("/ClusterLogging/EnabledTypes") else {
        return Value::Null;
    };
    let on: Vec<Value> = items(types).iter().map(|it| it["Type"].clone()).collect();
    let all = [
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    ];
    let off: Vec<&str> = all
        .into_iter()
        .filter(|it| !on.iter().any(|on| on == it))
        .collect();
    let mut setups = Vec::new();
    if !on.is_empty() {
        setups.push(json!({"types": on, "enabled": true}));
    }
    if !off.is_empty() {
        setups.push(json!({"types": off, "enabled": false}));
    }
    json!({"clusterLogging": setups})
}

/// The structure of a cluster's networks as the operations take it.
fn networks(value: &Value) -> Value {
    camel(value, &[])
}

fn cluster(ctx: &Ctx<'_>) -> Vec<Call> {
    if ctx.old.is_none() {
        return Vec::new();
    }
    let mut calls = tags(ctx, &ctx.attribute("Arn"));
    // By its token a call is answered again after a restart as it was.
    let update = |member: &str, value: Value| {
        let token = format!("{}-UpdateClusterConfig-{member}", ctx.token);
        let input = json!({"name": ctx.id, "clientRequestToken": token, member: value});
        call(EKS, "UpdateClusterConfig", input)
    };
    if ctx.changes(&["Version"]) && !ctx.p("Version").is_null() {
        calls.push(call(
            EKS,
            "UpdateClusterVersion",
            json!({
                "name": ctx.id,
                "version": ctx.p("Version"),
                "clientRequestToken": format!("{}-UpdateClusterVersion", ctx.token),
            }),
        ));
    }
    if ctx.changes(&["Logging"]) {
        calls.push(
            // What an update that failed did not come to needs not be undone.
            update("logging", logging(&ctx.p("Logging")))
                .done_by(&["InvalidParameterException: No changes needed"]),
        );
    }
    if ctx.changes(&["ResourcesVpcConfig"]) {
        calls.push(update(
            "resourcesVpcConfig",
            networks(&ctx.p("ResourcesVpcConfig")),
        ));
    }
    if ctx.changes(&["AccessConfig"]) {
        let mode = ctx.p("AccessConfig").get("AuthenticationMode").cloned();
        calls.push(update("accessConfig", json!({"authenticationMode": mode})));
    }
    if ctx.changes(&["DeletionProtection"]) {
        calls.push(update("deletionProtection", ctx.p("DeletionProtection")));
    }
    calls
}

/// `CLUSTER/NAME` and `PRINCIPAL|CLUSTER`.
fn parts(ctx: &Ctx<'_>, between: char) -> (String, String) {
    let (first, second) = ctx.id.split_once(between).unwrap_or((ctx.id, ""));
    (first.to_owned(), second.to_owned())
}

/// The name that a node group has: its own, or the one that was chosen before it was made.
fn group_name(ctx: &Ctx<'_>) -> String {
    match ctx.id.split_once('/') {
        Some((_, name)) => name.to_owned(),
        None => ctx.id.to_owned(),
    }
}

fn group(ctx: &Ctx<'_>) -> Vec<Call> {
    if ctx.old.is_none() {
        return Vec::new();
    }
    let (cluster, name) = (ctx.p("ClusterName"), group_name(ctx));
    let mut calls = tags(ctx, &ctx.attribute("Arn"));
    if ctx.changes(&[
        "ScalingConfig",
        "UpdateConfig",
        "Labels",
        "Taints",
        "NodeRepairConfig",
    ]) {
        let labels = ctx.changes(&["Labels"]).then(|| {
            let (new, old) = (ctx.p("Labels"), ctx.before("Labels"));
            let keys = |it: &Value| it.as_object().cloned().unwrap_or_default();
            let gone: Vec<String> = keys(&old)
                .keys()
                .filter(|key| new.get(key.as_str()).is_none())
                .cloned()
                .collect();
            json!({"addOrUpdateLabels": keys(&new), "removeLabels": gone})
        });
        let taints = ctx.changes(&["Taints"]).then(|| {
            let set = added(&ctx.p("Taints"), &ctx.before("Taints"));
            let gone = added(&ctx.before("Taints"), &ctx.p("Taints"));
            json!({"addOrUpdateTaints": camel(&set.into(), &[]), "removeTaints": camel(&gone.into(), &[])})
        });
        calls.push(call(
            EKS,
            "UpdateNodegroupConfig",
            json!({
                "name": cluster,
                "nodegroupName": name,
                "scalingConfig": camel(&ctx.p("ScalingConfig"), &[]),
                "updateConfig": camel(&ctx.p("UpdateConfig"), &[]),
                "nodeRepairConfig": camel(&ctx.p("NodeRepairConfig"), &[]),
                "labels": labels,
                "taints": taints,
            }),
        ));
    }
    if ctx.changes(&["Version", "ReleaseVersion", "LaunchTemplate"]) {
        calls.push(call(
            EKS,
            "UpdateNodegroupVersion",
            json!({
                "name": cluster,
                "nodegroupName": name,
                "version": ctx.p("Version"),
                "releaseVersion": ctx.p("ReleaseVersion"),
                "launchTemplate": camel(&ctx.p("LaunchTemplate"), &[]),
                "force": ctx.p("ForceUpdateEnabled"),
            }),
        ));
    }
    calls
}

fn addon(ctx: &Ctx<'_>) -> Vec<Call> {
    if ctx.old.is_none() {
        return Vec::new();
    }
    let mut calls = tags(ctx, &ctx.attribute("Arn"));
    if ctx.changes(&[
        "AddonVersion",
        "ConfigurationValues",
        "ServiceAccountRoleArn",
        "PodIdentityAssociations",
    ]) {
        calls.push(call(
            EKS,
            "UpdateAddon",
            json!({
                "name": ctx.p("ClusterName"),
                "addonName": ctx.p("AddonName"),
                "addonVersion": ctx.p("AddonVersion"),
                "configurationValues": ctx.p("ConfigurationValues"),
                "serviceAccountRoleArn": ctx.p("ServiceAccountRoleArn"),
                "resolveConflicts": ctx.p("ResolveConflicts"),
                "podIdentityAssociations": camel(&ctx.p("PodIdentityAssociations"), &[]),
            }),
        ));
    }
    calls
}

fn entry(ctx: &Ctx<'_>) -> Vec<Call> {
    let (principal, cluster) = (ctx.p("PrincipalArn"), ctx.p("ClusterName"));
    let at = |more: Value| {
        let mut input = more;
        input["name"] = cluster.clone();
        input["principalArn"] = principal.clone();
        input
    };
    let mut calls = Vec::new();
    if ctx.old.is_some() {
        calls.extend(tags(ctx, &ctx.attribute("AccessEntryArn")));
        if ctx.changes(&["KubernetesGroups", "Username"]) {
            let groups = items(&ctx.p("KubernetesGroups"));
            calls.push(call(
                EKS,
                "UpdateAccessEntry",
                at(json!({"kubernetesGroups": groups, "username": ctx.p("Username")})),
            ));
        }
    }
    for policy in added(&ctx.p("AccessPolicies"), &ctx.before("AccessPolicies")) {
        let scope = camel(&policy["AccessScope"], &[]);
        calls.push(call(
            EKS,
            "AssociateAccessPolicy",
            at(json!({"policyArn": policy["PolicyArn"], "accessScope": scope})),
        ));
    }
    let arns: Vec<Value> = items(&ctx.p("AccessPolicies"))
        .iter()
        .map(|it| it["PolicyArn"].clone())
        .collect();
    for policy in items(&ctx.before("AccessPolicies")) {
        if !arns.contains(&policy["PolicyArn"]) {
            let gone = call(
                EKS,
                "DisassociateAccessPolicy",
                at(json!({"policyArn": policy["PolicyArn"]})),
            );
            calls.push(gone.done_by(&["ResourceNotFoundException"]));
        }
    }
    calls
}

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "AWS::EKS::Cluster",
        properties: "Name! RoleArn!* ResourcesVpcConfig* Version KubernetesNetworkConfig! Logging EncryptionConfig! AccessConfig \
                     BootstrapSelfManagedAddons! UpgradePolicy! ZonalShiftConfig! RemoteNetworkConfig! ComputeConfig! StorageConfig! \
                     DeletionProtection OutpostConfig! Tags",
        named: named("Name", 100),
        make: |ctx| {
            let mut input = configured(ctx);
            input["name"] = json!(ctx.id);
            input["logging"] = logging(&ctx.p("Logging"));
            call(EKS, "CreateCluster", input)
        },
        complete: cluster,
        read: Some(|ctx| call(EKS, "DescribeCluster", json!({"name": ctx.id}))),
        item: "/cluster",
        state: |_, item| by_status(item),
        remove: |ctx| vec![call(EKS, "DeleteCluster", json!({"name": ctx.id}))],
        attributes: &[
            ("Arn", "/arn"),
            ("Endpoint", "/endpoint"),
            ("CertificateAuthorityData", "/certificateAuthority/data"),
            (
                "ClusterSecurityGroupId",
                "/resourcesVpcConfig/clusterSecurityGroupId",
            ),
            ("OpenIdConnectIssuerUrl", "/identity/oidc/issuer"),
            (
                "KubernetesNetworkConfig.ServiceIpv4Cidr",
                "/kubernetesNetworkConfig/serviceIpv4Cidr",
            ),
        ],
        ..NOTHING
    },
    Kind {
        name: "AWS::EKS::Nodegroup",
        properties: "ClusterName!* NodegroupName! NodeRole!* Subnets!* AmiType! CapacityType! DiskSize! ForceUpdateEnabled \
                     InstanceTypes! Labels LaunchTemplate NodeRepairConfig ReleaseVersion RemoteAccess! ScalingConfig Taints \
                     UpdateConfig Version Tags",
        named: named("NodegroupName", 63),
        make: |ctx| {
            let mut input = configured(ctx);
            if let Value::Object(members) = &mut input {
                members.remove("clusterName");
                members.remove("forceUpdateEnabled");
                members.insert("name".into(), ctx.p("ClusterName"));
                members.insert("nodegroupName".into(), json!(group_name(ctx)));
            }
            call(EKS, "CreateNodegroup", input)
        },
        id: |ctx, _| format!("{}/{}", ctx.text("ClusterName"), group_name(ctx)),
        complete: group,
        read: Some(|ctx| {
            let (cluster, name) = parts(ctx, '/');
            call(
                EKS,
                "DescribeNodegroup",
                json!({"name": cluster, "nodegroupName": name}),
            )
        }),
        item: "/nodegroup",
        state: |_, item| by_status(item),
        remove: |ctx| {
            let (cluster, name) = parts(ctx, '/');
            vec![call(
                EKS,
                "DeleteNodegroup",
                json!({"name": cluster, "nodegroupName": name}),
            )]
        },
        attributes: &[
            ("Arn", "/nodegroupArn"),
            ("ClusterName", "/clusterName"),
            ("NodegroupName", "/nodegroupName"),
            ("Id", "/nodegroupName"),
        ],
        ..NOTHING
    },
    Kind {
        name: "AWS::EKS::Addon",
        properties: "ClusterName!* AddonName!* AddonVersion ConfigurationValues PreserveOnDelete ResolveConflicts \
                     ServiceAccountRoleArn PodIdentityAssociations NamespaceConfig! Tags",
        make: |ctx| {
            let mut input = configured(ctx);
            if let Value::Object(members) = &mut input {
                members.remove("clusterName");
                members.remove("preserveOnDelete");
                members.insert("name".into(), ctx.p("ClusterName"));
            }
            call(EKS, "CreateAddon", input)
        },
        id: |ctx, _| format!("{}|{}", ctx.text("ClusterName"), ctx.text("AddonName")),
        complete: addon,
        read: Some(|ctx| {
            let (cluster, name) = parts(ctx, '|');
            call(
                EKS,
                "DescribeAddon",
                json!({"name": cluster, "addonName": name}),
            )
        }),
        item: "/addon",
        state: |_, item| by_status(item),
        remove: |ctx| {
            let (cluster, name) = parts(ctx, '|');
            let preserve = ctx.p("PreserveOnDelete");
            vec![call(
                EKS,
                "DeleteAddon",
                json!({"name": cluster, "addonName": name, "preserve": preserve}),
            )]
        },
        attributes: &[("Arn", "/addonArn")],
        ..NOTHING
    },
    Kind {
        name: "AWS::EKS::AccessEntry",
        properties: "ClusterName!* PrincipalArn!* Type! KubernetesGroups Username AccessPolicies Tags",
        make: |ctx| {
            let mut input = configured(ctx);
            if let Value::Object(members) = &mut input {
                members.remove("clusterName");
                members.remove("accessPolicies");
                members.insert("name".into(), ctx.p("ClusterName"));
            }
            call(EKS, "CreateAccessEntry", input)
        },
        id: |ctx, _| format!("{}|{}", ctx.text("PrincipalArn"), ctx.text("ClusterName")),
        complete: entry,
        read: Some(|ctx| {
            let (principal, cluster) = parts(ctx, '|');
            call(
                EKS,
                "DescribeAccessEntry",
                json!({"name": cluster, "principalArn": principal}),
            )
        }),
        item: "/accessEntry",
        remove: |ctx| {
            let (principal, cluster) = parts(ctx, '|');
            vec![call(
                EKS,
                "DeleteAccessEntry",
                json!({"name": cluster, "principalArn": principal}),
            )]
        },
        attributes: &[("AccessEntryArn", "/accessEntryArn")],
        ..NOTHING
    },
    Kind {
        name: "AWS::EKS::PodIdentityAssociation",
        properties: "ClusterName!* Namespace!* ServiceAccount!* RoleArn* DisableSessionTags TargetRoleArn Tags",
        make: |ctx| {
            let mut input = configured(ctx);
            if let Value::Object(members) = &mut input {
                members.remove("clusterName");
                members.insert("name".into(), ctx.p("ClusterName"));
            }
            call(EKS, "CreatePodIdentityAssociation", input)
        },
        id: |_, answer| text_of(&answer["association"]["associationArn"]),
        complete: |ctx| {
            if ctx.old.is_none() {
                return Vec::new();
            }
            let mut calls = tags(ctx, ctx.id);
            if ctx.changes(&["RoleArn", "DisableSessionTags", "TargetRoleArn"]) {
                calls.push(call(
                    EKS,
                    "UpdatePodIdentityAssociation",
                    json!({
                        "name": ctx.p("ClusterName"),
                        "associationId": association(ctx),
                        "roleArn": ctx.p("RoleArn"),
                        "disableSessionTags": ctx.p("DisableSessionTags"),
                        "targetRoleArn": ctx.p("TargetRoleArn"),
                    }),
                ));
            }
            calls
        },
        read: Some(|ctx| {
            let input = json!({"name": ctx.p("ClusterName"), "associationId": association(ctx)});
            call(EKS, "DescribePodIdentityAssociation", input)
        }),
        item: "/association",
        remove: |ctx| {
            let input = json!({"name": ctx.p("ClusterName"), "associationId": association(ctx)});
            vec![call(EKS, "DeletePodIdentityAssociation", input)]
        },
        attributes: &[
            ("AssociationArn", "/associationArn"),
            ("AssociationId", "/associationId"),
        ],
        ..NOTHING
    },
];

/// The id at the end of an association's ARN.
fn association(ctx: &Ctx<'_>) -> String {
    ctx.id.rsplit('/').next().unwrap_or_default().to_owned()
}
