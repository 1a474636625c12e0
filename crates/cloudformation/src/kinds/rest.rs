//! Route 53 and log groups.

use serde_json::{Value, json};

use super::{Call, Ctx, Kind, NOTHING, Named, State, call, items, tag_list, text_of};

const ROUTE53: &str = "route53";
const LOGS: &str = "logs";

/// A record set of a template as Route 53 takes it.
fn record(properties: &Value) -> Value {
    let mut record = properties.clone();
    if let Value::Object(members) = &mut record {
        for other in ["HostedZoneId", "HostedZoneName", "Comment"] {
            members.remove(other);
        }
        if let Some(values) = members.get_mut("ResourceRecords") {
            *values = items(values)
                .into_iter()
                .map(|it| json!({"Value": it}))
                .collect();
        }
        if let Some(alias) = members
            .get_mut("AliasTarget")
            .and_then(Value::as_object_mut)
        {
            alias.entry("EvaluateTargetHealth").or_insert(json!(false));
        }
    }
    record
}

fn change(ctx: &Ctx<'_>, action: &str, properties: &Value) -> Call {
    let zone = text_of(&properties["HostedZoneId"]);
    let zone = zone.strip_prefix("/hostedzone/").unwrap_or(&zone);
    call(
        ROUTE53,
        "ChangeResourceRecordSets",
        json!({
            "Id": zone,
            "ChangeBatch": {
                "Comment": ctx.p("Comment"),
                "Changes": [{"Action": action, "ResourceRecordSet": record(properties)}],
            },
        }),
    )
}

fn zone_tags(ctx: &Ctx<'_>) -> Value {
    let given = items(&ctx.p("HostedZoneTags"));
    let pair = |it: &Value| Some((text_of(it.get("Key")?), text_of(it.get("Value")?)));
    let mut tags = ctx.stack_tags.clone();
    tags.extend(given.iter().filter_map(pair));
    tag_list(&tags, "Key", "Value")
}

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "AWS::Route53::HostedZone",
        properties: "Name!* HostedZoneConfig VPCs! HostedZoneTags!",
        make: |ctx| {
            let vpc = items(&ctx.p("VPCs")).into_iter().next();
            call(
                ROUTE53,
                "CreateHostedZone",
                json!({
                    "Name": ctx.p("Name"),
                    "CallerReference": ctx.token,
                    "HostedZoneConfig": ctx.p("HostedZoneConfig"),
                    "VPC": vpc,
                }),
            )
        },
        id: |_, answer| {
            let id = text_of(&answer["HostedZone"]["Id"]);
            id.strip_prefix("/hostedzone/").unwrap_or(&id).to_owned()
        },
        find: Some(|ctx| {
            call(
                ROUTE53,
                "ListHostedZonesByName",
                json!({"dnsname": ctx.p("Name")}),
            )
        }),
        found: |ctx, answer| {
            let zones = items(answer.get("HostedZones")?);
            let own = zones.iter().find(|it| it["CallerReference"] == ctx.token)?;
            let id = text_of(&own["Id"]);
            Some(id.strip_prefix("/hostedzone/").unwrap_or(&id).to_owned())
        },
        complete: |ctx| {
            let mut calls = Vec::new();
            if ctx.old.is_none() {
                for vpc in items(&ctx.p("VPCs")).into_iter().skip(1) {
                    let input = json!({"Id": ctx.id, "VPC": vpc});
                    calls.push(
                        call(ROUTE53, "AssociateVPCWithHostedZone", input)
                            .done_by(&["ConflictingDomainExists"]),
                    );
                }
                let tags = zone_tags(ctx);
                if tags.as_array().is_some_and(|it| !it.is_empty()) {
                    calls.push(call(
                        ROUTE53,
                        "ChangeTagsForResource",
                        json!({
                            "ResourceType": "hostedzone",
                            "ResourceId": ctx.id,
                            "AddTags": tags,
                        }),
                    ));
                }
            } else if ctx.changes(&["HostedZoneConfig"]) {
                let comment = ctx.p("HostedZoneConfig").get("Comment").cloned();
                calls.push(call(
                    ROUTE53,
                    "UpdateHostedZoneComment",
                    json!({"Id": ctx.id, "Comment": comment}),
                ));
            }
            calls
        },
        read: Some(|ctx| call(ROUTE53, "GetHostedZone", json!({"Id": ctx.id}))),
        remove: |ctx| vec![call(ROUTE53, "DeleteHostedZone", json!({"Id": ctx.id}))],
        attributes: &[
            ("Id", "/HostedZone/Id"),
            ("NameServers", "/DelegationSet/NameServers"),
        ],
        ..NOTHING
    },
    Kind {
        name: "AWS::Route53::RecordSet",
        properties: "HostedZoneId!* Name!* Type!* TTL ResourceRecords AliasTarget SetIdentifier! Weight Region Failover GeoLocation \
                     HealthCheckId MultiValueAnswer CidrRoutingConfig Comment",
        // After a restart it may be there already, and is the same then.
        make: |ctx| change(ctx, "CREATE", ctx.properties),
        id: |ctx, _| ctx.text("Name"),
        find: Some(|ctx| {
            let zone = ctx.text("HostedZoneId");
            let zone = zone.strip_prefix("/hostedzone/").unwrap_or(&zone);
            let (name, kind) = (ctx.p("Name"), ctx.p("Type"));
            call(
                ROUTE53,
                "ListResourceRecordSets",
                json!({"Id": zone, "name": name, "type": kind}),
            )
        }),
        found: |ctx, answer| {
            let (name, mut wanted) = (ctx.text("Name"), record(ctx.properties));
            let name = format!("{}.", name.trim_end_matches('.')).to_lowercase();
            wanted["Name"] = json!(name);
            let all = items(answer.get("ResourceRecordSets")?);
            // Only one that is exactly this could be its own.
            let same = |it: &&Value| {
                it["Name"] == wanted["Name"]
                    && it["Type"] == wanted["Type"]
                    && text_of(&it["SetIdentifier"]) == text_of(&wanted["SetIdentifier"])
                    && it["ResourceRecords"] == wanted["ResourceRecords"]
            };
            all.iter().find(same).map(|_| ctx.text("Name"))
        },
        complete: |ctx| match ctx.old {
            Some(_) => vec![change(ctx, "UPSERT", ctx.properties)],
            None => Vec::new(),
        },
        remove: |ctx| {
            vec![
                change(ctx, "DELETE", ctx.properties)
                    .done_by(&["InvalidChangeBatch", "NoSuchHostedZone"]),
            ]
        },
        ..NOTHING
    },
    Kind {
        name: "AWS::Logs::LogGroup",
        properties: "LogGroupName! RetentionInDays LogGroupClass! Tags",
        named: Some(Named {
            property: "LogGroupName",
            longest: 512,
            is_lower_case: false,
        }),
        make: |ctx| {
            call(
                LOGS,
                "CreateLogGroup",
                json!({
                    "logGroupName": ctx.id,
                    "logGroupClass": ctx.p("LogGroupClass"),
                    "tags": ctx.tag_map(),
                }),
            )
        },
        find: Some(|ctx| call(LOGS, "ListTagsLogGroup", json!({"logGroupName": ctx.id}))),
        found: |ctx, answer| {
            let own = answer.get("tags")?.get("aws:cloudformation:stack-id")? == ctx.stack_arn;
            own.then(|| ctx.id.to_owned())
        },
        complete: |ctx| {
            let mut calls = Vec::new();
            if ctx.changes(&["RetentionInDays"]) {
                calls.push(match ctx.p("RetentionInDays") {
                    Value::Null => call(
                        LOGS,
                        "DeleteRetentionPolicy",
                        json!({"logGroupName": ctx.id}),
                    ),
                    days => call(
                        LOGS,
                        "PutRetentionPolicy",
                        json!({"logGroupName": ctx.id, "retentionInDays": days}),
                    ),
                });
            }
            let (set, gone) = ctx.changed_tags();
            if !set.is_empty() {
                calls.push(call(
                    LOGS,
                    "TagLogGroup",
                    json!({"logGroupName": ctx.id, "tags": set}),
                ));
            }
            if !gone.is_empty() {
                calls.push(call(
                    LOGS,
                    "UntagLogGroup",
                    json!({"logGroupName": ctx.id, "tags": gone}),
                ));
            }
            calls
        },
        read: Some(|ctx| {
            call(
                LOGS,
                "DescribeLogGroups",
                json!({"logGroupNamePrefix": ctx.id}),
            )
        }),
        item: "/logGroups/0",
        // It is searched for by a prefix, which others have too.
        state: |ctx, item| {
            if item["logGroupName"] == ctx.id {
                State::Ready
            } else {
                State::Gone
            }
        },
        remove: |ctx| {
            vec![call(
                LOGS,
                "DeleteLogGroup",
                json!({"logGroupName": ctx.id}),
            )]
        },
        attributes: &[("Arn", "/arn")],
        ..NOTHING
    },
];
