//! What a request is about, as ARNs. Where nothing is named, `*`.

use lath_iam::records::{Group, InstanceProfile, Role, User};
use lath_model::Owner;
use lath_store::{Record, View};
use lath_wire::{Ask, Doc};

use crate::Identity;
use crate::judge::plain;

/// The resources that the caller must be allowed, all of them.
pub(crate) fn of(identity: &Identity, view: &View, ask: &Ask<'_>) -> Vec<String> {
    let place = Place {
        region: &ask.caller.region,
        account: identity.account(),
        owner: identity.owner(),
    };
    let mut named = match ask.caller.service.as_str() {
        "iam" => iam(view, &place, ask),
        "ec2" => ec2(&place, ask),
        "vpc-lattice" => lattice(&place, ask),
        "logs" => logs(&place, ask),
        "monitoring" => cloudwatch(&place, ask),
        "route53" => route53(ask),
        "eks" => eks(&place, ask),
        _ => Vec::new(),
    };
    let partition = identity.owner().partition.name();
    named
        .iter_mut()
        .for_each(|arn| settle_partition(arn, partition));
    named.sort();
    named.dedup();
    // Each is looked at, however many there are: a denial of one must not be lost in a crowd.
    if named.is_empty() {
        return vec!["*".to_owned()];
    }
    named
}

/// Services look past an ARN's partition; policies must not be got round by one that is not ours.
fn settle_partition(arn: &mut String, ours: &str) {
    let rest = arn.strip_prefix("arn:").and_then(|it| it.split_once(':'));
    if let Some((partition, rest)) = rest
        && partition != ours
    {
        *arn = format!("arn:{ours}:{rest}");
    }
}

/// The roles that a request hands to a service, and the service: `iam:PassRole` is needed on each.
pub(crate) fn passed(
    identity: &Identity,
    view: &View,
    ask: &Ask<'_>,
) -> Vec<(String, &'static str)> {
    let role = match (ask.caller.service.as_str(), ask.operation) {
        ("iam", "AddRoleToInstanceProfile") => text(ask.input, "RoleName"),
        (
            "ec2",
            "RunInstances" | "AssociateIamInstanceProfile" | "ReplaceIamInstanceProfileAssociation",
        ) => role_of_profile(view, ask.input),
        _ => None,
    };
    let arn = role.and_then(|name| known(view, &name, |it: &Role| it.arn(identity.owner())));
    // In China EC2 and IAM name EC2 differently: policies there list both.
    let service = match ask.caller.service.as_str() {
        "ec2" => identity.owner().partition.ec2_principal(),
        _ => "ec2.amazonaws.com",
    };
    arn.map(|arn| (arn, service)).into_iter().collect()
}

/// The role of the instance profile that a request names by its name or its ARN.
fn role_of_profile(view: &View, input: &Doc) -> Option<String> {
    let profile = input.get("IamInstanceProfile")?;
    let by_arn = text(profile, "Arn").and_then(|arn| Some(arn.rsplit_once('/')?.1.to_owned()));
    let name = text(profile, "Name").or(by_arn)?;
    view.get::<InstanceProfile>(&name.to_ascii_lowercase())?
        .role
        .clone()
}

struct Place<'a> {
    region: &'a str,
    account: &'a str,
    owner: Owner<'a>,
}

impl Place<'_> {
    fn arn(&self, service: &str, resource: &str) -> String {
        let Self {
            region, account, ..
        } = self;
        format!("arn:aws:{service}:{region}:{account}:{resource}")
    }
}

/// A member's text.
pub(crate) fn text(input: &Doc, member: &str) -> Option<String> {
    input.get(member).and_then(plain)
}

/// The items of a list in any of its forms: JSON's, and the numbered, wrapped or lone ones of forms.
pub(crate) fn items(doc: &Doc) -> Vec<&Doc> {
    match doc {
        Doc::List(items) => items.iter().collect(),
        Doc::Map(members) => {
            let numbered = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
            match &members[..] {
                [(name, inner)] if name == "member" || name == "item" => items(inner),
                all if all.iter().all(|(name, _)| numbered(name)) => {
                    all.iter().map(|(_, item)| item).collect()
                }
                _ => vec![doc],
            }
        }
        Doc::Null => Vec::new(),
        other => vec![other],
    }
}

// === IAM ===

fn iam(view: &View, place: &Place<'_>, ask: &Ask<'_>) -> Vec<String> {
    let account = place.account;
    let path = text(ask.input, "Path").unwrap_or_else(|| "/".into());
    let own = |kind: &str, name: &str| format!("arn:aws:iam::{account}:{kind}{path}{name}");
    let name = |member: &str| text(ask.input, member);
    match ask.operation {
        "UpdateUser" => {
            let named = name("UserName").unwrap_or_default();
            let before = known(view, &named, |it: &User| it.arn(place.owner));
            return moved(
                before.unwrap_or_else(|| own("user", &named)),
                name("NewPath"),
                name("NewUserName"),
            );
        }
        "UpdateGroup" => {
            let named = name("GroupName").unwrap_or_default();
            let before = known(view, &named, |it: &Group| it.arn(place.owner));
            return moved(
                before.unwrap_or_else(|| own("group", &named)),
                name("NewPath"),
                name("NewGroupName"),
            );
        }
        _ => {}
    }
    if ask.operation.ends_with("InstanceProfile")
        && let Some(profile) = name("InstanceProfileName")
    {
        let known = known(view, &profile, |it: &InstanceProfile| it.arn(place.owner));
        return vec![known.unwrap_or_else(|| own("instance-profile", &profile))];
    }
    if let Some(role) = name("RoleName") {
        let known = known(view, &role, |it: &Role| it.arn(place.owner));
        return vec![known.unwrap_or_else(|| own("role", &role))];
    }
    if let Some(group) = name("GroupName") {
        let known = known(view, &group, |it: &Group| it.arn(place.owner));
        return vec![known.unwrap_or_else(|| own("group", &group))];
    }
    if let Some(user) = name("UserName") {
        let known = known(view, &user, |it: &User| it.arn(place.owner));
        return vec![known.unwrap_or_else(|| own("user", &user))];
    }
    if let Some(arn) = name("PolicyArn").or_else(|| name("PolicySourceArn")) {
        return vec![arn];
    }
    if ask.operation == "CreatePolicy" {
        return name("PolicyName")
            .map(|policy| own("policy", &policy))
            .into_iter()
            .collect();
    }
    // What names no user is about whoever asks.
    let of_self = ask.operation.contains("AccessKey") || ask.operation == "GetUser";
    if of_self {
        return vec![ask.caller.principal.arn.clone()];
    }
    Vec::new()
}

/// What is renamed or moved, before and after: the caller needs the permission on both
/// (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateUser.html>).
fn moved(before: String, path: Option<String>, name: Option<String>) -> Vec<String> {
    let (kind, old) = before.split_once('/').unwrap_or((&before, ""));
    let (old_path, old_name) = match old.rsplit_once('/') {
        Some((path, name)) => (format!("/{path}/"), name),
        None => ("/".to_owned(), old),
    };
    let path = path.unwrap_or(old_path);
    let name = name.unwrap_or_else(|| old_name.to_owned());
    let after = format!("{kind}{path}{name}");
    vec![before, after]
}

fn known<R: Record>(view: &View, name: &str, arn: impl Fn(&R) -> String) -> Option<String> {
    let record = view.get::<R>(&name.to_ascii_lowercase())?;
    Some(arn(&record))
}

// === EC2 ===

/// Prefixes of ids and the kinds that ARNs have for them.
const EC2_KINDS: &[(&str, &str)] = &[
    ("vpc-", "vpc"),
    ("vpce-", "vpc-endpoint"),
    ("sgr-", "security-group-rule"),
    ("subnet-", "subnet"),
    ("sg-", "security-group"),
    ("rtb-", "route-table"),
    ("igw-", "internet-gateway"),
    ("nat-", "natgateway"),
    ("eni-", "network-interface"),
    ("eipalloc-", "elastic-ip"),
    ("i-", "instance"),
    ("ami-", "image"),
    ("key-", "key-pair"),
    ("pl-", "prefix-list"),
    ("acl-", "network-acl"),
    ("dopt-", "dhcp-options"),
    ("vol-", "volume"),
    ("tgw-rtb-", "transit-gateway-route-table"),
    ("tgw-attach-", "transit-gateway-attachment"),
    ("tgw-", "transit-gateway"),
];

/// What creates make, beside what they name.
const EC2_MADE: &[(&str, &[&str])] = &[
    ("AllocateAddress", &["elastic-ip"]),
    ("CreateDhcpOptions", &["dhcp-options"]),
    ("CreateInternetGateway", &["internet-gateway"]),
    ("CreateKeyPair", &["key-pair"]),
    ("CreateManagedPrefixList", &["prefix-list"]),
    ("CreateNatGateway", &["natgateway"]),
    ("CreateNetworkInterface", &["network-interface"]),
    ("CreateRouteTable", &["route-table"]),
    ("CreateSecurityGroup", &["security-group"]),
    ("CreateSubnet", &["subnet"]),
    ("CreateTransitGateway", &["transit-gateway"]),
    (
        "CreateTransitGatewayPeeringAttachment",
        &["transit-gateway-attachment"],
    ),
    (
        "CreateTransitGatewayRouteTable",
        &["transit-gateway-route-table"],
    ),
    (
        "CreateTransitGatewayVpcAttachment",
        &["transit-gateway-attachment"],
    ),
    ("CreateVpc", &["vpc"]),
    ("ImportKeyPair", &["key-pair"]),
    ("RunInstances", &["instance", "network-interface", "volume"]),
];

fn ec2(place: &Place<'_>, ask: &Ask<'_>) -> Vec<String> {
    let op = ask.operation;
    // Lists cannot be narrowed to resources.
    if op.starts_with("Describe") {
        return Vec::new();
    }
    let made = EC2_MADE.iter().find(|(name, _)| *name == op);
    let made = made.map_or(&[][..], |(_, kinds)| kinds);
    let mut arns: Vec<String> = made
        .iter()
        .map(|kind| match (*kind, text(ask.input, "KeyName")) {
            ("key-pair", Some(name)) => place.arn("ec2", &format!("key-pair/{name}")),
            _ => place.arn("ec2", &format!("{kind}/*")),
        })
        .collect();
    // A route is its table's, whatever it leads to.
    if op.ends_with("Route") {
        let tables = ["RouteTableId", "TransitGatewayRouteTableId"];
        let table = tables.iter().find_map(|member| text(ask.input, member));
        arns.extend(table.and_then(|id| ec2_arn(place, &id)));
        return arns;
    }
    let Doc::Map(members) = ask.input else {
        return arns;
    };
    for (name, value) in members.iter().filter(|(name, _)| names_ids(name)) {
        // A rule may name another group; it is not what is changed.
        if name == "SourceSecurityGroupName" {
            continue;
        }
        let ids = items(value).into_iter().filter_map(plain);
        arns.extend(ids.filter_map(|id| ec2_arn(place, &id)));
    }
    if op == "RunInstances"
        && let Some(name) = text(ask.input, "KeyName")
    {
        arns.push(place.arn("ec2", &format!("key-pair/{name}")));
    }
    if op == "DeleteKeyPair"
        && let Some(name) = text(ask.input, "KeyName")
    {
        arns.push(place.arn("ec2", &format!("key-pair/{name}")));
    }
    arns
}

fn names_ids(member: &str) -> bool {
    let known = ["Id", "Ids", "ResourceId", "SecurityGroup"];
    known.iter().any(|end| member.ends_with(end))
}

fn ec2_arn(place: &Place<'_>, id: &str) -> Option<String> {
    let kind = EC2_KINDS
        .iter()
        .find(|(prefix, _)| id.starts_with(prefix))?
        .1;
    let Place {
        region, account, ..
    } = place;
    match kind {
        // Images are nobody's account's.
        "image" => Some(format!("arn:aws:ec2:{region}::image/{id}")),
        _ => Some(format!("arn:aws:ec2:{region}:{account}:{kind}/{id}")),
    }
}

// === VPC Lattice ===

fn lattice(place: &Place<'_>, ask: &Ask<'_>) -> Vec<String> {
    let named = |member: &str| text(ask.input, member);
    let arn = |resource: String| place.arn("vpc-lattice", &resource);
    if let Some(arn) = named("resourceArn") {
        return vec![arn];
    }
    let made = match ask.operation {
        "CreateService" => Some("service/*"),
        "CreateServiceNetwork" => Some("servicenetwork/*"),
        "CreateTargetGroup" => Some("targetgroup/*"),
        _ => None,
    };
    if let Some(made) = made {
        return vec![arn(made.into())];
    }
    let kinds = [
        ("serviceIdentifier", "service"),
        ("serviceNetworkIdentifier", "servicenetwork"),
        ("targetGroupIdentifier", "targetgroup"),
        (
            "serviceNetworkVpcAssociationIdentifier",
            "servicenetworkvpcassociation",
        ),
        (
            "serviceNetworkServiceAssociationIdentifier",
            "servicenetworkserviceassociation",
        ),
        ("accessLogSubscriptionIdentifier", "accesslogsubscription"),
    ];
    let mut arns = Vec::new();
    for (member, kind) in kinds {
        let Some(id) = named(member) else { continue };
        let holder = whole(&id, kind, place);
        let below = [
            ("listenerIdentifier", "listener"),
            ("ruleIdentifier", "rule"),
        ];
        let below = below.iter().filter_map(|(member, kind)| {
            let id = named(member)?;
            let id = id.rsplit('/').next().unwrap_or_default().to_owned();
            Some(format!("/{kind}/{id}"))
        });
        let below: String = if kind == "service" {
            below.collect()
        } else {
            String::new()
        };
        arns.push(format!("{holder}{below}"));
    }
    if let Some(id) = named("resourceIdentifier") {
        let kind = if id.starts_with("sn-") {
            "servicenetwork"
        } else {
            "service"
        };
        arns.push(whole(&id, kind, place));
    }
    arns
}

/// An id or an ARN, as an ARN.
fn whole(id: &str, kind: &str, place: &Place<'_>) -> String {
    if id.starts_with("arn:") {
        return id.to_owned();
    }
    place.arn("vpc-lattice", &format!("{kind}/{id}"))
}

// === the others ===

fn logs(place: &Place<'_>, ask: &Ask<'_>) -> Vec<String> {
    let group = text(ask.input, "logGroupName").or_else(|| {
        let id = text(ask.input, "logGroupIdentifier")?;
        Some(id.rsplit("log-group:").next().unwrap_or(&id).to_owned())
    });
    if let Some(arn) = text(ask.input, "resourceArn") {
        return vec![arn];
    }
    let Some(group) = group else {
        return Vec::new();
    };
    let resource = match text(ask.input, "logStreamName") {
        Some(stream) => format!("log-group:{group}:log-stream:{stream}"),
        None => format!("log-group:{group}:*"),
    };
    vec![place.arn("logs", &resource)]
}

fn cloudwatch(place: &Place<'_>, ask: &Ask<'_>) -> Vec<String> {
    if ask.operation.starts_with("Describe") || ask.operation.starts_with("List") {
        return Vec::new();
    }
    let account = place.account;
    let named = |members: [&str; 2]| -> Vec<String> {
        let lists = members.into_iter().filter_map(|name| ask.input.get(name));
        lists.flat_map(items).filter_map(plain).collect()
    };
    let dashboards = named(["DashboardName", "DashboardNames"]).into_iter();
    let dashboards =
        dashboards.map(|name| format!("arn:aws:cloudwatch::{account}:dashboard/{name}"));
    let alarms = named(["AlarmName", "AlarmNames"]).into_iter();
    let alarms = alarms.map(|name| place.arn("cloudwatch", &format!("alarm:{name}")));
    dashboards.chain(alarms).collect()
}

fn route53(ask: &Ask<'_>) -> Vec<String> {
    let id = text(ask.input, "Id");
    let named = |kind: &str, id: String| {
        let id = id.rsplit('/').next().unwrap_or_default().to_owned();
        vec![format!("arn:aws:route53:::{kind}/{id}")]
    };
    let zone = text(ask.input, "HostedZoneId");
    match (ask.operation, id, zone) {
        ("GetChange", Some(id), _) => named("change", id),
        (_, Some(id), _) | (_, _, Some(id)) => named("hostedzone", id),
        _ => match (
            text(ask.input, "HealthCheckId"),
            text(ask.input, "ResourceType"),
            text(ask.input, "ResourceId"),
        ) {
            (Some(id), ..) => named("healthcheck", id),
            (None, Some(kind), Some(id)) => named(&kind, id),
            _ => Vec::new(),
        },
    }
}

/// Clusters, and what is in them: their ids at the end are the service's own.
fn eks(place: &Place<'_>, ask: &Ask<'_>) -> Vec<String> {
    if let Some(arn) = text(ask.input, "resourceArn") {
        return vec![arn];
    }
    let Some(cluster) = text(ask.input, "clusterName").or_else(|| text(ask.input, "name")) else {
        return Vec::new();
    };
    let inside = [("nodegroupName", "nodegroup"), ("addonName", "addon")];
    let found = inside.iter().find_map(|(member, kind)| {
        let name = text(ask.input, member)?;
        (!ask.operation.starts_with("Create")).then(|| format!("{kind}/{cluster}/{name}/*"))
    });
    let resource = found.unwrap_or_else(|| format!("cluster/{cluster}"));
    vec![place.arn("eks", &resource)]
}

#[cfg(test)]
mod tests {
    use lath_wire::{Caller, Principal};

    use super::*;
    use crate::RootKey;

    fn map(members: &[(&str, Doc)]) -> Doc {
        let members = members.iter();
        Doc::Map(
            members
                .map(|(name, it)| ((*name).into(), it.clone()))
                .collect(),
        )
    }

    fn texts(members: &[(&str, &str)]) -> Doc {
        let members = members.iter();
        let members = members.map(|(name, it)| ((*name).into(), Doc::Text((*it).into())));
        Doc::Map(members.collect())
    }

    fn found(service: &str, operation: &str, input: &Doc) -> Vec<String> {
        let identity = Identity::new(RootKey::random().unwrap(), "123456789012");
        let caller = Caller {
            account: "123456789012".into(),
            region: "eu-west-1".into(),
            service: service.into(),
            principal: Principal {
                arn: "arn:aws:iam::123456789012:user/ann".into(),
                user_id: "AIDA".into(),
            },
            access_key_id: "AKIA".into(),
            request_id: String::new(),
            source_ip: None,
        };
        let ask = Ask {
            caller: &caller,
            operation,
            input,
        };
        of(&identity, &identity.view(), &ask)
    }

    #[test]
    fn requests_are_about_the_arns_that_aws_documents() {
        let ec2 = "arn:aws:ec2:eu-west-1:123456789012:";
        let lattice = "arn:aws:vpc-lattice:eu-west-1:123456789012:";
        let eks = "arn:aws:eks:eu-west-1:123456789012:";
        type Row<'a> = (
            &'a str,
            &'a str,
            &'a [(&'a str, &'a str)],
            &'a str,
            &'a [&'a str],
        );
        let table: &[Row<'_>] = &[
            ("ec2", "DescribeVpcs", &[("VpcId", "vpc-1")], "", &["*"]),
            (
                "ec2",
                "DeleteVpc",
                &[("VpcId", "vpc-1")],
                ec2,
                &["vpc/vpc-1"],
            ),
            ("ec2", "CreateVpc", &[], ec2, &["vpc/*"]),
            (
                "ec2",
                "CreateSubnet",
                &[("VpcId", "vpc-1")],
                ec2,
                &["subnet/*", "vpc/vpc-1"],
            ),
            (
                "ec2",
                "CreateRoute",
                &[("RouteTableId", "rtb-1"), ("TransitGatewayId", "tgw-1")],
                ec2,
                &["route-table/rtb-1"],
            ),
            (
                "ec2",
                "AssociateTransitGatewayRouteTable",
                &[
                    ("TransitGatewayRouteTableId", "tgw-rtb-1"),
                    ("TransitGatewayAttachmentId", "tgw-attach-1"),
                ],
                ec2,
                &[
                    "transit-gateway-attachment/tgw-attach-1",
                    "transit-gateway-route-table/tgw-rtb-1",
                ],
            ),
            (
                "ec2",
                "ImportKeyPair",
                &[("KeyName", "k")],
                ec2,
                &["key-pair/k"],
            ),
            ("vpc-lattice", "ListServices", &[], "", &["*"]),
            (
                "vpc-lattice",
                "DeleteService",
                &[(
                    "serviceIdentifier",
                    "arn:other:vpc-lattice:eu-west-1:123456789012:service/svc-1",
                )],
                lattice,
                &["service/svc-1"],
            ),
            (
                "vpc-lattice",
                "CreateService",
                &[("name", "n")],
                lattice,
                &["service/*"],
            ),
            (
                "vpc-lattice",
                "GetRule",
                &[
                    ("serviceIdentifier", "svc-1"),
                    ("listenerIdentifier", "listener-1"),
                    ("ruleIdentifier", "rule-1"),
                ],
                lattice,
                &["service/svc-1/listener/listener-1/rule/rule-1"],
            ),
            (
                "vpc-lattice",
                "PutAuthPolicy",
                &[("resourceIdentifier", "sn-1")],
                lattice,
                &["servicenetwork/sn-1"],
            ),
            (
                "route53",
                "ChangeResourceRecordSets",
                &[("HostedZoneId", "/hostedzone/Z1")],
                "arn:aws:route53:::",
                &["hostedzone/Z1"],
            ),
            (
                "route53",
                "UpdateHealthCheck",
                &[("HealthCheckId", "h-1")],
                "arn:aws:route53:::",
                &["healthcheck/h-1"],
            ),
            (
                "route53",
                "GetChange",
                &[("Id", "/change/C1")],
                "arn:aws:route53:::",
                &["change/C1"],
            ),
            ("route53", "ListHostedZones", &[], "", &["*"]),
            (
                "eks",
                "DescribeCluster",
                &[("name", "c")],
                eks,
                &["cluster/c"],
            ),
            (
                "eks",
                "DeleteNodegroup",
                &[("clusterName", "c"), ("nodegroupName", "n")],
                eks,
                &["nodegroup/c/n/*"],
            ),
        ];
        for (service, operation, input, prefix, want) in table {
            let want: Vec<String> = want.iter().map(|it| format!("{prefix}{it}")).collect();
            assert_eq!(
                found(service, operation, &texts(input)),
                want,
                "{operation}"
            );
        }
    }

    #[test]
    fn every_one_of_many_resources_is_asked_about() {
        let ids = (0..999).map(|i| (i.to_string(), Doc::Text(format!("i-{i}"))));
        let input = map(&[("InstanceId", Doc::Map(ids.collect()))]);
        let found = found("ec2", "TerminateInstances", &input);
        assert_eq!(found.len(), 999);
        let denied = "arn:aws:ec2:eu-west-1:123456789012:instance/i-998";
        assert!(found.iter().any(|arn| arn == denied));
    }
}
