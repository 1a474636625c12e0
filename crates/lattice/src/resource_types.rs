//! Lattice's resources and condition keys as policies name them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonvpclattice.html>).

use lath_acm::CERTIFICATE;
use lath_authz::{Access, Facts, RESOURCE_TAG, ResourceType, Scope};
use lath_model::arn::Arn;
use lath_model::lattice::ListenerProtocol;
use lath_store::View;
use lath_wire::Operation;

use crate::ident::{Identifier, Kind};
use crate::record::{ServiceAssociation, Tags, VpcAssociation};
use crate::shape::{
    AuthType, BatchUpdateRule, CreateServiceNetworkResourceAssociation,
    CreateServiceNetworkServiceAssociation, CreateServiceNetworkVpcAssociation, RuleAction,
    TagResource, UntagResource,
};
use crate::{balancing, gateway, gateway_routes, long_tag, tag, target_tls, traffic};

/// Whether callers are authenticated: as the resource has it after the request.
pub(crate) const AUTH_TYPE: &str = "vpc-lattice:AuthType";
/// The name of the operation that makes what is tagged.
pub(crate) const CREATE_ACTION: &str = "vpc-lattice:CreateAction";
/// A listener's protocol.
pub(crate) const PROTOCOL: &str = "vpc-lattice:Protocol";
/// The ids of the security groups that a request gives to an association.
pub(crate) const SECURITY_GROUPS: &str = "vpc-lattice:SecurityGroupIds";
/// The service of an association.
pub(crate) const SERVICE_ARN: &str = "vpc-lattice:ServiceArn";
/// The network of an association.
pub(crate) const NETWORK_ARN: &str = "vpc-lattice:ServiceNetworkArn";
/// The resource configuration of an association.
pub(crate) const RESOURCE_CONFIGURATION_ARN: &str = "vpc-lattice:ResourceConfigurationArn";
/// The endpoint that a list is about.
pub(crate) const VPC_ENDPOINT: &str = "vpc-lattice:VpcEndpointId";
/// The domain that is to be verified.
pub(crate) const DOMAIN_NAME: &str = "vpc-lattice:DomainName";
/// The groups that a request forwards to.
pub(crate) const TARGET_GROUPS: &str = "vpc-lattice:TargetGroupArns";
/// The id of the VPC of an association or target group.
pub(crate) const VPC: &str = "vpc-lattice:VpcId";
const PRIVATE_DNS: &str = "vpc-lattice:PrivateDnsPreference";
const PRIVATE_DOMAINS: &str = "vpc-lattice:PrivateDnsSpecifiedDomains";

macro_rules! types {
    ($($name:ident $kind:ident $label:literal [$($key:expr),*] $facts:expr;)*) => {$(
        pub(crate) const $name: ResourceType = ResourceType {
            name: $label,
            arn: |at, name| arn(at, Kind::$kind, name),
            keys: &[RESOURCE_TAG $(, $key)*],
            facts: |at, name| {
                let Some(key) = record_key(at, Kind::$kind, name) else {
                    return of_another_region(Kind::$kind, name, &[RESOURCE_TAG $(, $key)*]);
                };
                let of_type: fn(&Scope<'_>, &str) -> Facts = $facts;
                [tags(at.view, Kind::$kind, &key), of_type(at, &key)].concat()
            },
        };
    )*};
}

types! {
    SERVICE_NETWORK ServiceNetwork "ServiceNetwork" [] |_, _| Vec::new();
    SERVICE Service "Service" [] |_, _| Vec::new();
    LISTENER Listener "Listener" [] |_, _| Vec::new();
    RULE Rule "Rule" [] |_, _| Vec::new();
    TARGET_GROUP TargetGroup "TargetGroup" [] |_, _| Vec::new();
    VPC_ASSOCIATION VpcAssociation "ServiceNetworkVpcAssociation" [NETWORK_ARN, VPC] of_vpc_association;
    SERVICE_ASSOCIATION ServiceAssociation "ServiceNetworkServiceAssociation" [NETWORK_ARN, SERVICE_ARN] of_service_association;
    ACCESS_LOG_SUBSCRIPTION AccessLogSubscription "AccessLogSubscription" [] |_, _| Vec::new();
    RESOURCE_GATEWAY ResourceGateway "ResourceGateway" [] |_, _| Vec::new();
    RESOURCE_CONFIGURATION ResourceConfiguration "ResourceConfiguration" [] |_, _| Vec::new();
    RESOURCE_ASSOCIATION ResourceAssociation "ServiceNetworkResourceAssociation" [] |_, _| Vec::new();
    RESOURCE_ENDPOINT_ASSOCIATION ResourceEndpointAssociation "ResourceEndpointAssociation" [] |_, _| Vec::new();
    DOMAIN_VERIFICATION DomainVerification "DomainVerification" [] |_, _| Vec::new();
}

/// The ARN that a request's id or ARN means. What is neither is no resource's, and its handler refuses it.
fn arn(at: &Scope<'_>, kind: Kind, name: &str) -> String {
    let Some(ident) = Identifier::parse(kind, name) else {
        if name.starts_with("arn:") {
            return at.settled(name);
        }
        return at.arn("vpc-lattice", &kind.resource(&[name.to_owned()]));
    };
    // Whatever partition it gives: a policy must not be got round by one that is not ours.
    let (_, region, account) = ident
        .place()
        .unwrap_or_else(|| ("", at.region(), at.account()));
    let resource = kind.resource(ident.ids());
    Arn::new(at.partition(), "vpc-lattice", region, account, resource).to_string()
}

/// The ARN of a listener, which requests name beside its service; `*` for one that is to be made.
pub(crate) fn listener_arn(at: &Scope<'_>, service: &str, listener: &str) -> String {
    let service = arn(at, Kind::Service, service);
    format!("{service}/listener/{}", own_id(listener))
}

/// The ARN of a rule, which requests name beside its service and listener; `*` for one that is to be made.
pub(crate) fn rule_arn(at: &Scope<'_>, service: &str, listener: &str, rule: &str) -> String {
    let listener = listener_arn(at, service, listener);
    format!("{listener}/rule/{}", own_id(rule))
}

/// The id at the end of an ARN, or the id.
fn own_id(identifier: &str) -> &str {
    identifier.rsplit('/').next().unwrap_or(identifier)
}

/// A network that a request names, if it names one.
pub(crate) fn network_of(text: &str) -> Option<String> {
    Identifier::parse(Kind::ServiceNetwork, text).map(|_| text.to_owned())
}

/// A service that a request names where it could name a network or a resource configuration.
pub(crate) fn service_of(text: &str) -> Option<String> {
    let other = network_of(text).or_else(|| configuration_of(text));
    other.is_none().then(|| text.to_owned())
}

/// A resource configuration that a request names, if it names one.
pub(crate) fn configuration_of(text: &str) -> Option<String> {
    Identifier::parse(Kind::ResourceConfiguration, text).map(|_| text.to_owned())
}

/// The key of the record of a resource of this region.
fn record_key(at: &Scope<'_>, kind: Kind, name: &str) -> Option<String> {
    let ident = Identifier::parse(kind, name)?;
    let is_here = ident
        .place()
        .is_none_or(|(_, region, account)| (region, account) == (at.region(), at.account()));
    is_here.then(|| tag::record_key(&ident))
}

/// Another region's resources have tags, which are not known here. What is no identifier names nothing, and its handler
/// refuses it.
fn of_another_region(kind: Kind, name: &str, keys: &[&'static str]) -> Facts {
    match Identifier::parse(kind, name) {
        Some(_) => ResourceType::unknown(keys),
        None => Vec::new(),
    }
}

fn tags(view: &View, kind: Kind, key: &str) -> Facts {
    let tags = (kind.tags().read)(view, key).unwrap_or_default();
    let tags = tags.into_iter();
    tags.map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value]))
        .collect()
}

fn one(key: &str, value: impl Into<String>) -> (String, Vec<String>) {
    (key.to_owned(), vec![value.into()])
}

fn of_vpc_association(at: &Scope<'_>, id: &str) -> Facts {
    let Some(it) = at.view.get::<VpcAssociation>(id) else {
        return Vec::new();
    };
    let network = it.foreign_network.clone();
    let network = network.unwrap_or_else(|| it.network.to_string());
    vec![
        one(VPC, it.vpc.to_string()),
        one(NETWORK_ARN, arn(at, Kind::ServiceNetwork, &network)),
    ]
}

fn of_service_association(at: &Scope<'_>, id: &str) -> Facts {
    let Some(it) = at.view.get::<ServiceAssociation>(id) else {
        return Vec::new();
    };
    let network = it.foreign_network.clone();
    let network = network.unwrap_or_else(|| it.network.to_string());
    let service = it.foreign_service.clone();
    let service = service.unwrap_or_else(|| it.service.to_string());
    vec![
        one(NETWORK_ARN, arn(at, Kind::ServiceNetwork, &network)),
        one(SERVICE_ARN, arn(at, Kind::Service, &service)),
    ]
}

// === what requests say ===

/// The ARNs of the groups that an action forwards to.
pub(crate) fn groups(at: &Scope<'_>, action: &RuleAction) -> Vec<String> {
    let groups = action.forward.iter().flat_map(|it| &it.target_groups);
    groups
        .map(|it| arn(at, Kind::TargetGroup, &it.target_group_identifier))
        .collect()
}

/// The same of a rule that is made with these tags, which may have copies sent to further groups.
pub(crate) fn groups_of_new(at: &Scope<'_>, action: &RuleAction, tags: &Tags) -> Vec<String> {
    let mut groups = groups(at, action);
    groups.extend(mirrored(at, tags));
    groups
}

/// The ARNs of the groups that get copies of requests by a rule with these tags.
fn mirrored(at: &Scope<'_>, tags: &Tags) -> Vec<String> {
    let groups = traffic::mirrored(tags);
    groups
        .iter()
        .map(|it| arn(at, Kind::TargetGroup, it))
        .collect()
}

/// The rules that a request changes at once, each with the groups that it is to forward to.
pub(crate) fn rules_of(op: &BatchUpdateRule, at: &Scope<'_>) -> Vec<(String, Facts)> {
    let (service, listener) = (&op.service_identifier, &op.listener_identifier);
    let rules = op.rules.iter().map(|it| {
        let groups = it.action.as_ref().map(|action| groups(at, action));
        let groups = groups.filter(|groups| !groups.is_empty());
        let keys = groups.map(|groups| (TARGET_GROUPS.to_owned(), groups));
        let rule = rule_arn(at, service, listener, &it.rule_identifier);
        (rule, keys.into_iter().collect())
    });
    rules.collect()
}

/// A protocol as the wire prints it.
pub(crate) const fn protocol_name(protocol: ListenerProtocol) -> &'static str {
    match protocol {
        ListenerProtocol::Http => "HTTP",
        ListenerProtocol::Https => "HTTPS",
        ListenerProtocol::TlsPassthrough => "TLS_PASSTHROUGH",
    }
}

/// The ARN of a network.
pub(crate) fn network_arn(at: &Scope<'_>, identifier: &str) -> String {
    arn(at, Kind::ServiceNetwork, identifier)
}

/// The ARN of a service.
pub(crate) fn service_arn(at: &Scope<'_>, identifier: &str) -> String {
    arn(at, Kind::Service, identifier)
}

/// The auth type that a service has after an update.
pub(crate) fn auth_type_after(
    at: &Scope<'_>,
    identifier: &str,
    given: Option<AuthType>,
) -> Option<&'static str> {
    let kept = || {
        let key = record_key(at, Kind::Service, identifier)?;
        let service = at.view.get::<crate::record::Service>(&key)?;
        Some(service.auth_type)
    };
    given.or_else(kept).map(AuthType::as_str)
}

/// The keys of a new association with a service.
pub(crate) const NEW_SERVICE_ASSOCIATION: &[&str] = &[SERVICE_ARN, NETWORK_ARN];

/// The values of [`NEW_SERVICE_ASSOCIATION`].
pub(crate) fn new_service_association(
    op: &CreateServiceNetworkServiceAssociation,
    at: &Scope<'_>,
) -> Facts {
    vec![
        one(SERVICE_ARN, service_arn(at, &op.service_identifier)),
        one(NETWORK_ARN, network_arn(at, &op.service_network_identifier)),
    ]
}

/// The keys of a new association with a resource configuration.
pub(crate) const NEW_RESOURCE_ASSOCIATION: &[&str] = &[RESOURCE_CONFIGURATION_ARN, NETWORK_ARN];

/// The values of [`NEW_RESOURCE_ASSOCIATION`].
pub(crate) fn new_resource_association(
    op: &CreateServiceNetworkResourceAssociation,
    at: &Scope<'_>,
) -> Facts {
    let configuration = configuration_arn(at, &op.resource_configuration_identifier);
    vec![
        one(RESOURCE_CONFIGURATION_ARN, configuration),
        one(NETWORK_ARN, network_arn(at, &op.service_network_identifier)),
    ]
}

/// The ARN of a resource configuration.
pub(crate) fn configuration_arn(at: &Scope<'_>, identifier: &str) -> String {
    arn(at, Kind::ResourceConfiguration, identifier)
}

/// The keys of a new association with a VPC.
pub(crate) const NEW_VPC_ASSOCIATION: &[&str] = &[
    NETWORK_ARN,
    VPC,
    SECURITY_GROUPS,
    PRIVATE_DNS,
    PRIVATE_DOMAINS,
];

/// The values of [`NEW_VPC_ASSOCIATION`].
pub(crate) fn new_vpc_association(
    op: &CreateServiceNetworkVpcAssociation,
    at: &Scope<'_>,
) -> Facts {
    let dns = op.dns_options.as_ref();
    let preference = dns.and_then(|it| it.private_dns_preference);
    let preference = preference.map(|it| it.as_str().to_owned());
    let domains = dns.and_then(|it| it.private_dns_specified_domains.clone());
    let keys = vec![
        one(NETWORK_ARN, network_arn(at, &op.service_network_identifier)),
        one(VPC, &op.vpc_identifier),
        (SECURITY_GROUPS.to_owned(), op.security_group_ids.clone()),
        (PRIVATE_DNS.to_owned(), preference.into_iter().collect()),
        (PRIVATE_DOMAINS.to_owned(), domains.unwrap_or_default()),
    ];
    let given = keys.into_iter().filter(|(_, values)| !values.is_empty());
    given.collect()
}

/// A request's tags.
pub(crate) fn pairs(tags: &Tags) -> Vec<(String, String)> {
    let tags = tags.iter();
    tags.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A resource of this kind that an ARN names.
fn named(arn: &str, kind: Kind) -> Option<String> {
    let (found, _) = Identifier::parse_arn(arn)?;
    (found == kind).then(|| arn.to_owned())
}

/// The certificates that tags let a listener or a group present: who sets them could have them presented to servers of their own.
pub(crate) fn presented(tags: &Tags) -> Vec<String> {
    [gateway::presented(tags), target_tls::presented(tags)].concat()
}

/// Tags that are a rule's traffic policy need what changing the rule needs, or the listener for its default rule; so do those by
/// which a listener asks clients for certificates, or a service network takes identified workloads only, and canaries. Those that
/// attach a service to listeners need what changing the service needs, and each of the listeners. Those that
/// are a group's policy need what changing the group needs. Those that name certificates which are presented need leave to see each.
pub(crate) fn retagging(access: Access<TagResource>) -> Access<TagResource> {
    let of = |op: &TagResource, kind| {
        let asked = long_tag::is_asked(op.tags.keys());
        asked.then(|| named(&op.resource_arn, kind)).flatten()
    };
    access
        .also(UPDATE_RULE, &RULE, move |op, _| of(op, Kind::Rule))
        .with(TARGET_GROUPS, |op, at| mirrored(at, &op.tags))
        .also(UPDATE_LISTENER, &LISTENER, move |op, _| {
            of(op, Kind::Listener)
        })
        .with(TARGET_GROUPS, |op, at| mirrored(at, &op.tags))
        .also(UPDATE_NETWORK, &SERVICE_NETWORK, move |op, _| {
            of(op, Kind::ServiceNetwork)
        })
        .also(UPDATE_SERVICE, &SERVICE, move |op, _| of(op, Kind::Service))
        .also(UPDATE_LISTENER, &LISTENER, |op, _| {
            let service = named(&op.resource_arn, Kind::Service);
            let listeners = service.map(|_| gateway_routes::listeners(&op.tags));
            listeners.unwrap_or_default()
        })
        .also(UPDATE_GROUP, &TARGET_GROUP, |op, _| {
            let asked = [&balancing::TAG, &target_tls::TAG];
            let asked = asked.iter().any(|it| it.is_asked(op.tags.keys()));
            asked
                .then(|| named(&op.resource_arn, Kind::TargetGroup))
                .flatten()
        })
        .also(SEE_CERTIFICATE, &CERTIFICATE, |op, _| presented(&op.tags))
}

/// The same of taking them away.
pub(crate) fn untagging(access: Access<UntagResource>) -> Access<UntagResource> {
    let of = |op: &UntagResource, kind| {
        let asked = long_tag::is_asked(&op.tag_keys);
        asked.then(|| named(&op.resource_arn, kind)).flatten()
    };
    access
        .also(UPDATE_RULE, &RULE, move |op, _| of(op, Kind::Rule))
        .also(UPDATE_LISTENER, &LISTENER, move |op, _| {
            of(op, Kind::Listener)
        })
        .also(UPDATE_NETWORK, &SERVICE_NETWORK, move |op, _| {
            of(op, Kind::ServiceNetwork)
        })
        .also(UPDATE_SERVICE, &SERVICE, move |op, _| of(op, Kind::Service))
        .also(UPDATE_GROUP, &TARGET_GROUP, |op, _| {
            let asked = [&balancing::TAG, &target_tls::TAG];
            let asked = asked.iter().any(|it| it.is_asked(&op.tag_keys));
            asked
                .then(|| named(&op.resource_arn, Kind::TargetGroup))
                .flatten()
        })
}

pub(crate) const SEE_CERTIFICATE: &str = "acm:DescribeCertificate";
const UPDATE_RULE: &str = "vpc-lattice:UpdateRule";
const UPDATE_SERVICE: &str = "vpc-lattice:UpdateService";
pub(crate) const UPDATE_LISTENER: &str = "vpc-lattice:UpdateListener";
const UPDATE_NETWORK: &str = "vpc-lattice:UpdateServiceNetwork";
const UPDATE_GROUP: &str = "vpc-lattice:UpdateTargetGroup";

/// What Lattice's operations state beside what all do.
pub(crate) trait Needs<Op>: Sized {
    /// The need before is one of making something: its tags, and the operation's name as the key that has it.
    fn with_tags(self, tags: fn(&Op) -> &Tags) -> Self;

    /// Tagging what is made, where the request gives tags; `name` as of the resource type.
    fn tagging(
        self,
        resource_type: &'static ResourceType,
        name: fn(&Op, &Scope<'_>) -> String,
        tags: fn(&Op) -> &Tags,
    ) -> Self;

    /// The resource of whatever kind that an ARN names; `keys` adds to the need of each kind.
    fn on_arn(self, arn: fn(&Op) -> &str, keys: fn(Self) -> Self) -> Self;
}

impl<Op: Operation> Needs<Op> for Access<Op> {
    fn with_tags(self, tags: fn(&Op) -> &Tags) -> Self {
        self.tagged(move |op, _| pairs(tags(op)))
            .with(CREATE_ACTION, |_, _| Op::NAME)
    }

    fn tagging(
        self,
        resource_type: &'static ResourceType,
        name: fn(&Op, &Scope<'_>) -> String,
        tags: fn(&Op) -> &Tags,
    ) -> Self {
        let named = move |op: &Op, at: &Scope<'_>| (!tags(op).is_empty()).then(|| name(op, at));
        self.also("vpc-lattice:TagResource", resource_type, named)
            .with_tags(tags)
    }

    fn on_arn(self, arn: fn(&Op) -> &str, keys: fn(Self) -> Self) -> Self {
        Kind::all().fold(self, |access, kind| {
            let named = move |op: &Op, _: &Scope<'_>| {
                let text = arn(op);
                Identifier::parse_arn(text)
                    .filter(|(found, _)| *found == kind)
                    .map(|_| text.to_owned())
            };
            keys(access.on(kind.resource_type(), named))
        })
    }
}
