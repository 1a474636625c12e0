//! What Lattice's resources are called: prefixes, ARNs, and the identifiers that callers may give.

use lath_authz::ResourceType;
use lath_control::Cell;
use lath_model::arn::Arn;
use lath_service::TagsOf;
use lath_wire::ApiError;

use crate::fault;
use crate::record::{
    AccessLogSubscription, Listener, Rule, Service, ServiceAssociation, ServiceNetwork,
    TargetGroup, VpcAssociation,
};
use crate::resource::{
    DomainVerification, ResourceAssociation, ResourceConfiguration, ResourceEndpointAssociation,
    ResourceGateway,
};
use crate::resource_types::{
    ACCESS_LOG_SUBSCRIPTION, DOMAIN_VERIFICATION, LISTENER, RESOURCE_ASSOCIATION,
    RESOURCE_CONFIGURATION, RESOURCE_ENDPOINT_ASSOCIATION, RESOURCE_GATEWAY, RULE, SERVICE,
    SERVICE_ASSOCIATION, SERVICE_NETWORK, TARGET_GROUP, VPC_ASSOCIATION,
};

/// The kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ServiceNetwork,
    Service,
    Listener,
    Rule,
    TargetGroup,
    VpcAssociation,
    ServiceAssociation,
    AccessLogSubscription,
    ResourceGateway,
    ResourceConfiguration,
    ResourceAssociation,
    ResourceEndpointAssociation,
    DomainVerification,
}

/// What is said of a kind, in one place.
struct Row {
    kind: Kind,
    /// The steps of the ARN's resource part: path segment and id prefix.
    steps: &'static [(&'static str, &'static str)],
    /// The `resourceType` of errors.
    type_name: &'static str,
    /// What policies know of it; its name is how messages call it.
    resource_type: &'static ResourceType,
    tags: TagsOf,
}

/// Every kind, in the order of [`Kind`].
const KINDS: [Row; 13] = [
    Row {
        kind: Kind::ServiceNetwork,
        steps: &[("servicenetwork", "sn")],
        type_name: "SERVICE_NETWORK",
        resource_type: &SERVICE_NETWORK,
        tags: TagsOf::of::<ServiceNetwork>(),
    },
    Row {
        kind: Kind::Service,
        steps: &[("service", "svc")],
        type_name: "SERVICE",
        resource_type: &SERVICE,
        tags: TagsOf::of::<Service>(),
    },
    Row {
        kind: Kind::Listener,
        steps: &[("service", "svc"), ("listener", "listener")],
        type_name: "LISTENER",
        resource_type: &LISTENER,
        tags: TagsOf::of::<Listener>(),
    },
    Row {
        kind: Kind::Rule,
        steps: &[
            ("service", "svc"),
            ("listener", "listener"),
            ("rule", "rule"),
        ],
        type_name: "RULE",
        resource_type: &RULE,
        tags: TagsOf::of::<Rule>(),
    },
    Row {
        kind: Kind::TargetGroup,
        steps: &[("targetgroup", "tg")],
        type_name: "TARGET_GROUP",
        resource_type: &TARGET_GROUP,
        tags: TagsOf::of::<TargetGroup>(),
    },
    Row {
        kind: Kind::VpcAssociation,
        steps: &[("servicenetworkvpcassociation", "snva")],
        type_name: "SERVICE_NETWORK_VPC_ASSOCIATION",
        resource_type: &VPC_ASSOCIATION,
        tags: TagsOf::of::<VpcAssociation>(),
    },
    Row {
        kind: Kind::ServiceAssociation,
        steps: &[("servicenetworkserviceassociation", "snsa")],
        type_name: "SERVICE_NETWORK_SERVICE_ASSOCIATION",
        resource_type: &SERVICE_ASSOCIATION,
        tags: TagsOf::of::<ServiceAssociation>(),
    },
    Row {
        kind: Kind::AccessLogSubscription,
        steps: &[("accesslogsubscription", "als")],
        type_name: "ACCESS_LOG_SUBSCRIPTION",
        resource_type: &ACCESS_LOG_SUBSCRIPTION,
        tags: TagsOf::of::<AccessLogSubscription>(),
    },
    Row {
        kind: Kind::ResourceGateway,
        steps: &[("resourcegateway", "rgw")],
        type_name: "RESOURCE_GATEWAY",
        resource_type: &RESOURCE_GATEWAY,
        tags: TagsOf::of::<ResourceGateway>(),
    },
    Row {
        kind: Kind::ResourceConfiguration,
        steps: &[("resourceconfiguration", "rcfg")],
        type_name: "RESOURCE_CONFIGURATION",
        resource_type: &RESOURCE_CONFIGURATION,
        tags: TagsOf::of::<ResourceConfiguration>(),
    },
    Row {
        kind: Kind::ResourceAssociation,
        steps: &[("servicenetworkresourceassociation", "snra")],
        type_name: "SERVICE_NETWORK_RESOURCE_ASSOCIATION",
        resource_type: &RESOURCE_ASSOCIATION,
        tags: TagsOf::of::<ResourceAssociation>(),
    },
    Row {
        kind: Kind::ResourceEndpointAssociation,
        steps: &[("resourceendpointassociation", "rea")],
        type_name: "RESOURCE_ENDPOINT_ASSOCIATION",
        resource_type: &RESOURCE_ENDPOINT_ASSOCIATION,
        tags: TagsOf::of::<ResourceEndpointAssociation>(),
    },
    Row {
        kind: Kind::DomainVerification,
        steps: &[("domainverification", "dv")],
        type_name: "DOMAIN_VERIFICATION",
        resource_type: &DOMAIN_VERIFICATION,
        tags: TagsOf::of::<DomainVerification>(),
    },
];

impl Kind {
    /// Every kind.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        &KINDS[self as usize]
    }

    /// What policies know of it.
    pub(crate) fn resource_type(self) -> &'static ResourceType {
        self.row().resource_type
    }

    /// The tags of its records.
    pub(crate) fn tags(self) -> TagsOf {
        self.row().tags
    }

    fn steps(self) -> &'static [(&'static str, &'static str)] {
        self.row().steps
    }

    /// The id's prefix, such as `svc`.
    pub(crate) fn prefix(self) -> &'static str {
        self.steps().last().expect("every kind has a step").1
    }

    /// The resource part of an ARN with these ids, outermost first.
    pub(crate) fn resource(self, ids: &[String]) -> String {
        let steps = self.steps().iter().zip(ids);
        let steps: Vec<String> = steps
            .map(|((step, _), id)| format!("{step}/{id}"))
            .collect();
        steps.join("/")
    }

    /// The `resourceType` of errors.
    pub(crate) fn type_name(self) -> &'static str {
        self.row().type_name
    }

    /// How messages call it.
    pub(crate) fn label(self) -> &'static str {
        self.resource_type().name
    }
}

/// An identifier as given: an id, or an ARN with the ids of its parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identifier {
    /// Partition, region and account, of an ARN.
    place: Option<(String, String, String)>,
    /// The ids in the ARN's order; a bare id stands alone.
    ids: Vec<String>,
}

impl Identifier {
    /// Reads an id or ARN of this kind.
    pub(crate) fn parse(kind: Kind, text: &str) -> Option<Self> {
        if !text.starts_with("arn:") {
            return well_formed(kind.prefix(), text).then(|| Self {
                place: None,
                ids: vec![text.to_owned()],
            });
        }
        let arn: Arn = text.parse().ok()?;
        let ids = ids_of(kind, &arn.resource)?;
        (arn.service == "vpc-lattice" && !arn.region.is_empty()).then_some(Self {
            place: Some((arn.partition, arn.region, arn.account)),
            ids,
        })
    }

    /// Reads an ARN of whatever kind it is.
    pub(crate) fn parse_arn(text: &str) -> Option<(Kind, Self)> {
        if !text.starts_with("arn:") {
            return None;
        }
        Kind::all().find_map(|kind| Self::parse(kind, text).map(|ident| (kind, ident)))
    }

    /// Whether it names something of this cell; bare ids always do.
    pub(crate) fn is_of(&self, cell: &Cell) -> bool {
        self.place
            .as_ref()
            .is_none_or(|(partition, region, account)| {
                partition == cell.partition().name()
                    && *region == cell.region
                    && *account == cell.account
            })
    }

    /// Partition, region and account of an ARN.
    pub(crate) fn place(&self) -> Option<(&str, &str, &str)> {
        let (partition, region, account) = self.place.as_ref()?;
        Some((partition, region, account))
    }

    /// The resource's own id.
    pub(crate) fn id(&self) -> &str {
        self.ids.last().expect("an identifier has an id")
    }

    /// The ids in the ARN's order; a bare id stands alone.
    pub(crate) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The ids of the parents, outermost first; empty for a bare id.
    pub(crate) fn parents(&self) -> &[String] {
        &self.ids[..self.ids.len() - 1]
    }
}

fn ids_of(kind: Kind, resource: &str) -> Option<Vec<String>> {
    let mut parts = resource.split('/');
    let ids = kind
        .steps()
        .iter()
        .map(|(segment, prefix)| {
            let id = (parts.next()? == *segment).then(|| parts.next())??;
            well_formed(prefix, id).then(|| id.to_owned())
        })
        .collect::<Option<Vec<String>>>()?;
    parts.next().is_none().then_some(ids)
}

/// `<prefix>-` and 17 characters of `[0-9a-z]`.
fn well_formed(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|tail| {
            tail.len() == 17
                && tail
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        })
}

/// The identifier of a resource that this cell may hold, and whose parents are the wanted ones.
///
/// # Errors
/// `ResourceNotFoundException` for what cannot be here: other accounts, regions and parents.
pub(crate) fn resolve(
    cell: &Cell,
    kind: Kind,
    text: &str,
    parents: &[&str],
) -> Result<String, ApiError> {
    let missing = || fault::not_found(kind, text);
    let ident = Identifier::parse(kind, text).ok_or_else(missing)?;
    let parents_agree = ident.parents().is_empty() || ident.parents() == parents;
    if !ident.is_of(cell) || !parents_agree {
        return Err(missing());
    }
    Ok(ident.id().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_kinds() {
        assert!(Kind::all().all(|kind| kind.row().kind == kind));
    }

    #[test]
    fn identifiers_are_ids_or_arns_of_their_kind() {
        let svc = "svc-0123456789abcdef0";
        let listener = "listener-0123456789abcdef1";
        let arn = "arn:aws:vpc-lattice:us-east-1:123456789012:";
        for (kind, text, want) in [
            (Kind::Service, svc.to_owned(), Some(svc)),
            (Kind::Service, format!("{arn}service/{svc}"), Some(svc)),
            (
                Kind::Listener,
                format!("{arn}service/{svc}/listener/{listener}"),
                Some(listener),
            ),
            (Kind::Service, format!("{arn}service/{svc}/x"), None),
            (Kind::Listener, format!("{arn}service/{svc}"), None),
            (Kind::Service, "svc-0123".to_owned(), None),
            (Kind::Service, "tg-0123456789abcdef0".to_owned(), None),
            (Kind::Service, String::new(), None),
            (Kind::Service, "arn:".to_owned(), None),
        ] {
            let got = Identifier::parse(kind, &text);
            assert_eq!(got.as_ref().map(Identifier::id), want, "{text}");
        }
    }
}
