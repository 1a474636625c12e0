//! VPC Lattice. A create is idempotent by its token; resources are known by their ARNs.

use serde_json::{Value, json};

use super::{Call, Ctx, Kind, NOTHING, Named, State, added, call, camel, items, text_of};

const LATTICE: &str = "vpc-lattice";

const fn named(longest: usize) -> Option<Named> {
    Some(Named {
        property: "Name",
        longest,
        is_lower_case: true,
    })
}

fn by_status(item: &Value) -> State {
    match item.get("status").and_then(Value::as_str) {
        Some(status) if status.ends_with("_FAILED") => {
            let why = item.get("failureMessage").map(text_of);
            State::Failed(why.unwrap_or_else(|| status.to_owned()))
        }
        Some("ACTIVE") | None => State::Ready,
        Some(_) => State::Pending,
    }
}

fn tags(ctx: &Ctx<'_>) -> Vec<Call> {
    let (set, gone) = ctx.changed_tags();
    let mut calls = Vec::new();
    if !set.is_empty() {
        calls.push(call(
            LATTICE,
            "TagResource",
            json!({"resourceArn": ctx.id, "tags": set}),
        ));
    }
    if !gone.is_empty() {
        calls.push(call(
            LATTICE,
            "UntagResource",
            json!({"resourceArn": ctx.id, "tagKeys": gone}),
        ));
    }
    calls
}

/// The input of a create: all properties, with the tags and the token.
fn made(ctx: &Ctx<'_>, operation: &'static str, without: &[&str]) -> Call {
    let mut input = camel(ctx.properties, &["Tags"]);
    if let Value::Object(members) = &mut input {
        members.retain(|name, _| !without.contains(&name.as_str()));
        members.insert("tags".into(), ctx.tag_map());
        members.insert("clientToken".into(), json!(ctx.token));
    }
    call(LATTICE, operation, input)
}

fn made_named(ctx: &Ctx<'_>, operation: &'static str, without: &[&str]) -> Call {
    let mut call = made(ctx, operation, without);
    if let Value::Object(members) = &mut call.input {
        members.insert("name".into(), json!(ctx.id));
    }
    call
}

fn arn(_: &Ctx<'_>, answer: &Value) -> String {
    text_of(&answer["arn"])
}

const DNS: (&str, &str) = ("DnsEntry.DomainName", "/dnsEntry/domainName");
const DNS_ZONE: (&str, &str) = ("DnsEntry.HostedZoneId", "/dnsEntry/hostedZoneId");
const ARN: (&str, &str) = ("Arn", "/arn");
const ID: (&str, &str) = ("Id", "/id");
const STATUS: (&str, &str) = ("Status", "/status");
const CREATED: (&str, &str) = ("CreatedAt", "/createdAt");

fn targets(ctx: &Ctx<'_>) -> Vec<Call> {
    let mut calls = tags(ctx);
    let health = |it: Value| it.get("HealthCheck").cloned().unwrap_or(Value::Null);
    let (new, old) = (health(ctx.p("Config")), health(ctx.before("Config")));
    if ctx.old.is_some() && new != old && !new.is_null() {
        let input = json!({"targetGroupIdentifier": ctx.id, "healthCheck": camel(&new, &[])});
        calls.push(call(LATTICE, "UpdateTargetGroup", input));
    }
    let of = |targets: Vec<Value>| {
        let targets = camel(&Value::Array(targets), &[]);
        json!({"targetGroupIdentifier": ctx.id, "targets": targets})
    };
    let gone = added(&ctx.before("Targets"), &ctx.p("Targets"));
    if !gone.is_empty() {
        calls.push(call(LATTICE, "DeregisterTargets", of(gone)));
    }
    let new = added(&ctx.p("Targets"), &ctx.before("Targets"));
    if !new.is_empty() {
        calls.push(call(LATTICE, "RegisterTargets", of(new)));
    }
    calls
}

fn listener(ctx: &Ctx<'_>) -> Value {
    json!({"serviceIdentifier": ctx.p("ServiceIdentifier"), "listenerIdentifier": ctx.id})
}

fn rule(ctx: &Ctx<'_>) -> Value {
    json!({
        "serviceIdentifier": ctx.p("ServiceIdentifier"),
        "listenerIdentifier": ctx.p("ListenerIdentifier"),
        "ruleIdentifier": ctx.id,
    })
}

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "AWS::VpcLattice::ServiceNetwork",
        properties: "Name! AuthType SharingConfig! Tags",
        named: named(63),
        make: |ctx| made_named(ctx, "CreateServiceNetwork", &[]),
        id: arn,
        complete: |ctx| {
            let mut calls = tags(ctx);
            if ctx.old.is_some() && ctx.changes(&["AuthType"]) {
                let kind = match ctx.p("AuthType") {
                    Value::Null => json!("NONE"),
                    kind => kind,
                };
                calls.push(call(
                    LATTICE,
                    "UpdateServiceNetwork",
                    json!({"serviceNetworkIdentifier": ctx.id, "authType": kind}),
                ));
            }
            calls
        },
        read: Some(|ctx| {
            call(
                LATTICE,
                "GetServiceNetwork",
                json!({"serviceNetworkIdentifier": ctx.id}),
            )
        }),
        remove: |ctx| {
            vec![call(
                LATTICE,
                "DeleteServiceNetwork",
                json!({"serviceNetworkIdentifier": ctx.id}),
            )]
        },
        attributes: &[ARN, ID, CREATED],
        ..NOTHING
    },
    Kind {
        name: "AWS::VpcLattice::Service",
        properties: "Name! AuthType CertificateArn CustomDomainName! Tags",
        named: named(40),
        make: |ctx| made_named(ctx, "CreateService", &[]),
        id: arn,
        complete: |ctx| {
            let mut calls = tags(ctx);
            if ctx.old.is_some() && ctx.changes(&["AuthType", "CertificateArn"]) {
                calls.push(call(
                    LATTICE,
                    "UpdateService",
                    json!({
                        "serviceIdentifier": ctx.id,
                        "authType": ctx.p("AuthType"),
                        "certificateArn": ctx.p("CertificateArn"),
                    }),
                ));
            }
            calls
        },
        read: Some(|ctx| call(LATTICE, "GetService", json!({"serviceIdentifier": ctx.id}))),
        state: |_, item| by_status(item),
        remove: |ctx| {
            vec![call(
                LATTICE,
                "DeleteService",
                json!({"serviceIdentifier": ctx.id}),
            )]
        },
        attributes: &[ARN, ID, STATUS, CREATED, DNS, DNS_ZONE],
        ..NOTHING
    },
    Kind {
        name: "AWS::VpcLattice::TargetGroup",
        properties: "Name! Type!* Config Targets Tags",
        named: named(128),
        make: |ctx| made_named(ctx, "CreateTargetGroup", &["targets"]),
        id: arn,
        complete: targets,
        // Only its health check changes in place.
        replaces: |old, new| {
            let rest = |it: &Value| {
                let mut config = it.get("Config").cloned().unwrap_or(Value::Null);
                if let Value::Object(members) = &mut config {
                    members.remove("HealthCheck");
                }
                config
            };
            rest(old) != rest(new)
        },
        read: Some(|ctx| {
            call(
                LATTICE,
                "GetTargetGroup",
                json!({"targetGroupIdentifier": ctx.id}),
            )
        }),
        state: |_, item| by_status(item),
        remove: |ctx| {
            let mut calls = Vec::new();
            let targets = items(&ctx.p("Targets"));
            if !targets.is_empty() {
                let targets = camel(&Value::Array(targets), &[]);
                let input = json!({"targetGroupIdentifier": ctx.id, "targets": targets});
                calls.push(call(LATTICE, "DeregisterTargets", input));
            }
            calls.push(call(
                LATTICE,
                "DeleteTargetGroup",
                json!({"targetGroupIdentifier": ctx.id}),
            ));
            calls
        },
        attributes: &[ARN, ID, STATUS, CREATED],
        ..NOTHING
    },
    Kind {
        name: "AWS::VpcLattice::Listener",
        properties: "Name! ServiceIdentifier! Protocol!* Port! DefaultAction* Tags",
        named: named(63),
        make: |ctx| made_named(ctx, "CreateListener", &[]),
        id: arn,
        complete: |ctx| {
            let mut calls = tags(ctx);
            if ctx.old.is_some() && ctx.changes(&["DefaultAction"]) {
                let mut input = listener(ctx);
                input["defaultAction"] = camel(&ctx.p("DefaultAction"), &[]);
                calls.push(call(LATTICE, "UpdateListener", input));
            }
            calls
        },
        read: Some(|ctx| call(LATTICE, "GetListener", listener(ctx))),
        remove: |ctx| vec![call(LATTICE, "DeleteListener", listener(ctx))],
        attributes: &[
            ARN,
            ID,
            ("ServiceArn", "/serviceArn"),
            ("ServiceId", "/serviceId"),
        ],
        ..NOTHING
    },
    Kind {
        name: "AWS::VpcLattice::Rule",
        properties: "Name! ServiceIdentifier! ListenerIdentifier! Match* Priority* Action* Tags",
        named: named(63),
        make: |ctx| made_named(ctx, "CreateRule", &[]),
        id: arn,
        complete: |ctx| {
            let mut calls = tags(ctx);
            if ctx.old.is_some() && ctx.changes(&["Match", "Priority", "Action"]) {
                let mut input = rule(ctx);
                input["match"] = camel(&ctx.p("Match"), &[]);
                input["priority"] = ctx.p("Priority");
                input["action"] = camel(&ctx.p("Action"), &[]);
                calls.push(call(LATTICE, "UpdateRule", input));
            }
            calls
        },
        read: Some(|ctx| call(LATTICE, "GetRule", rule(ctx))),
        remove: |ctx| vec![call(LATTICE, "DeleteRule", rule(ctx))],
        attributes: &[ARN, ID],
        ..NOTHING
    },
    Kind {
        name: "AWS::VpcLattice::ServiceNetworkVpcAssociation",
        properties: "ServiceNetworkIdentifier!* VpcIdentifier!* SecurityGroupIds PrivateDnsEnabled! Tags",
        make: |ctx| made(ctx, "CreateServiceNetworkVpcAssociation", &[]),
        id: arn,
        complete: |ctx| {
            let mut calls = tags(ctx);
            if ctx.old.is_some() && ctx.changes(&["SecurityGroupIds"]) {
                calls.push(call(
                    LATTICE,
                    "UpdateServiceNetworkVpcAssociation",
                    json!({
                        "serviceNetworkVpcAssociationIdentifier": ctx.id,
                        "securityGroupIds": items(&ctx.p("SecurityGroupIds")),
                    }),
                ));
            }
            calls
        },
        read: Some(|ctx| {
            call(
                LATTICE,
                "GetServiceNetworkVpcAssociation",
                json!({"serviceNetworkVpcAssociationIdentifier": ctx.id}),
            )
        }),
        state: |_, item| by_status(item),
        remove: |ctx| {
            vec![call(
                LATTICE,
                "DeleteServiceNetworkVpcAssociation",
                json!({"serviceNetworkVpcAssociationIdentifier": ctx.id}),
            )]
        },
        attributes: &[
            ARN,
            ID,
            STATUS,
            CREATED,
            ("VpcId", "/vpcId"),
            ("ServiceNetworkArn", "/serviceNetworkArn"),
            ("ServiceNetworkId", "/serviceNetworkId"),
            ("ServiceNetworkName", "/serviceNetworkName"),
        ],
        ..NOTHING
    },
    Kind {
        name: "AWS::VpcLattice::ServiceNetworkServiceAssociation",
        properties: "ServiceIdentifier!* ServiceNetworkIdentifier!* Tags",
        make: |ctx| made(ctx, "CreateServiceNetworkServiceAssociation", &[]),
        id: arn,
        complete: tags,
        read: Some(|ctx| {
            let input = json!({"serviceNetworkServiceAssociationIdentifier": ctx.id});
            call(LATTICE, "GetServiceNetworkServiceAssociation", input)
        }),
        state: |_, item| by_status(item),
        remove: |ctx| {
            let input = json!({"serviceNetworkServiceAssociationIdentifier": ctx.id});
            vec![call(
                LATTICE,
                "DeleteServiceNetworkServiceAssociation",
                input,
            )]
        },
        attributes: &[
            ARN,
            ID,
            STATUS,
            CREATED,
            DNS,
            DNS_ZONE,
            ("ServiceArn", "/serviceArn"),
            ("ServiceId", "/serviceId"),
            ("ServiceName", "/serviceName"),
            ("ServiceNetworkArn", "/serviceNetworkArn"),
            ("ServiceNetworkId", "/serviceNetworkId"),
            ("ServiceNetworkName", "/serviceNetworkName"),
        ],
        ..NOTHING
    },
    Kind {
        name: "AWS::VpcLattice::AuthPolicy",
        properties: "ResourceIdentifier!* Policy*",
        make: |ctx| {
            policy(
                ctx,
                "PutAuthPolicy",
                "resourceIdentifier",
                "ResourceIdentifier",
            )
        },
        id: |ctx, _| ctx.text("ResourceIdentifier"),
        complete: |ctx| match ctx.old {
            Some(_) => vec![policy(
                ctx,
                "PutAuthPolicy",
                "resourceIdentifier",
                "ResourceIdentifier",
            )],
            None => Vec::new(),
        },
        remove: |ctx| {
            vec![call(
                LATTICE,
                "DeleteAuthPolicy",
                json!({"resourceIdentifier": ctx.id}),
            )]
        },
        ..NOTHING
    },
    Kind {
        name: "AWS::VpcLattice::ResourcePolicy",
        properties: "ResourceArn!* Policy*",
        make: |ctx| policy(ctx, "PutResourcePolicy", "resourceArn", "ResourceArn"),
        id: |ctx, _| ctx.text("ResourceArn"),
        complete: |ctx| match ctx.old {
            Some(_) => vec![policy(
                ctx,
                "PutResourcePolicy",
                "resourceArn",
                "ResourceArn",
            )],
            None => Vec::new(),
        },
        remove: |ctx| {
            vec![call(
                LATTICE,
                "DeleteResourcePolicy",
                json!({"resourceArn": ctx.id}),
            )]
        },
        ..NOTHING
    },
    Kind {
        name: "AWS::VpcLattice::AccessLogSubscription",
        properties: "ResourceIdentifier! DestinationArn* ServiceNetworkLogType! Tags",
        make: |ctx| made(ctx, "CreateAccessLogSubscription", &[]),
        id: arn,
        complete: |ctx| {
            let mut calls = tags(ctx);
            if ctx.old.is_some() && ctx.changes(&["DestinationArn"]) {
                calls.push(call(
                    LATTICE,
                    "UpdateAccessLogSubscription",
                    json!({
                        "accessLogSubscriptionIdentifier": ctx.id,
                        "destinationArn": ctx.p("DestinationArn"),
                    }),
                ));
            }
            calls
        },
        read: Some(|ctx| {
            call(
                LATTICE,
                "GetAccessLogSubscription",
                json!({"accessLogSubscriptionIdentifier": ctx.id}),
            )
        }),
        remove: |ctx| {
            vec![call(
                LATTICE,
                "DeleteAccessLogSubscription",
                json!({"accessLogSubscriptionIdentifier": ctx.id}),
            )]
        },
        attributes: &[
            ARN,
            ID,
            ("ResourceArn", "/resourceArn"),
            ("ResourceId", "/resourceId"),
        ],
        ..NOTHING
    },
];

fn policy(ctx: &Ctx<'_>, operation: &'static str, member: &str, property: &str) -> Call {
    call(
        LATTICE,
        operation,
        json!({member: ctx.p(property), "policy": ctx.document("Policy")}),
    )
}
