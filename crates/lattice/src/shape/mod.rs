//! The operations and structures of the API, exactly as its model names them.

mod access_log;
mod association;
mod health_check;
mod listener;
mod network;
mod policy;
mod rule;
mod service;
mod tag;
mod target;
mod target_group;
mod unavailable;

pub(crate) use access_log::*;
pub(crate) use association::*;
pub(crate) use health_check::*;
use lath_wire::{Operation, Problems, Route};
pub(crate) use listener::*;
pub(crate) use network::*;
pub(crate) use policy::*;
pub(crate) use rule::*;
use serde::{Deserialize, Serialize};
pub(crate) use service::*;
pub(crate) use tag::*;
pub(crate) use target::*;
pub(crate) use target_group::*;

use crate::resource_types::*;

/// The second pass over a decoded request.
trait Check {
    fn check(&self, p: &mut Problems);
}

macro_rules! operations {
    ($(
        $op:ident $(as $action:literal)?: $method:ident $path:literal $status:literal -> $output:ty
            => $($need:ident($($of_need:tt)*)).+ $(, refusing $refused:path)?;
    )*) => {$(
        impl lath_authz::Authorized for $op {
            const SERVICE: &'static str = "vpc-lattice";
            $(const ACTION: &'static str = $action;)?

            fn access() -> lath_authz::Access<Self> {
                lath_authz::Access::<Self>::new()$(.$need($($of_need)*))+
            }
        }

        impl Operation for $op {
            const NAME: &'static str = stringify!($op);
            const ROUTE: Option<Route> = Some(Route::$method($path, $status));
            type Output = $output;

            fn validate(&self, problems: &mut Problems) {
                self.check(problems);
            }

            fn refused() -> Vec<String> {
                Vec::<Vec<String>>::from([$($refused())?]).concat()
            }
        }
    )*};
}

operations! {
    CreateServiceNetwork: post "/servicenetworks" 201 -> CreateServiceNetworkOutput
        => makes(&SERVICE_NETWORK)
            .with(AUTH_TYPE, |op, _| op.auth_type.unwrap_or_default().as_str())
            .with_tags(|op| &op.tags)
            .tagging(&SERVICE_NETWORK, |_, _| "*".into(), |op| &op.tags);
    GetServiceNetwork: get "/servicenetworks/{serviceNetworkIdentifier}" 200 -> GetServiceNetworkOutput
        => on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone());
    ListServiceNetworks: get "/servicenetworks" 200 -> ListServiceNetworksOutput => any();
    UpdateServiceNetwork: patch "/servicenetworks/{serviceNetworkIdentifier}" 200 -> UpdateServiceNetworkOutput
        => on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone())
            .with(AUTH_TYPE, |op, _| op.auth_type.as_str());
    DeleteServiceNetwork: delete "/servicenetworks/{serviceNetworkIdentifier}" 204 -> Empty
        => on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone());

    CreateService: post "/services" 201 -> CreateServiceOutput
        => makes(&SERVICE)
            .with(AUTH_TYPE, |op, _| op.auth_type.unwrap_or_default().as_str())
            .with_tags(|op| &op.tags)
            .tagging(&SERVICE, |_, _| "*".into(), |op| &op.tags);
    GetService: get "/services/{serviceIdentifier}" 200 -> GetServiceOutput
        => on(&SERVICE, |op, _| op.service_identifier.clone());
    ListServices: get "/services" 200 -> ListServicesOutput => any();
    UpdateService: patch "/services/{serviceIdentifier}" 200 -> UpdateServiceOutput
        => on(&SERVICE, |op, _| op.service_identifier.clone())
            .with(AUTH_TYPE, |op, at| auth_type_after(at, &op.service_identifier, op.auth_type));
    DeleteService: delete "/services/{serviceIdentifier}" 200 -> DeleteServiceOutput
        => on(&SERVICE, |op, _| op.service_identifier.clone());

    CreateListener: post "/services/{serviceIdentifier}/listeners" 201 -> ListenerOutput
        => on(&LISTENER, |op, at| listener_arn(at, &op.service_identifier, "*"))
            .with(PROTOCOL, |op, _| protocol_name(op.protocol))
            .with(TARGET_GROUPS, |op, at| groups(at, &op.default_action))
            .with_tags(|op| &op.tags)
            .tagging(&LISTENER, |op, at| listener_arn(at, &op.service_identifier, "*"), |op| &op.tags), refusing listener::refused;
    GetListener: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 200 -> GetListenerOutput
        => on(&LISTENER, |op, at| listener_arn(at, &op.service_identifier, &op.listener_identifier));
    ListListeners: get "/services/{serviceIdentifier}/listeners" 200 -> ListListenersOutput => any();
    UpdateListener: patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 200 -> ListenerOutput
        => on(&LISTENER, |op, at| listener_arn(at, &op.service_identifier, &op.listener_identifier))
            .with(TARGET_GROUPS, |op, at| groups(at, &op.default_action));
    DeleteListener: delete "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 204 -> Empty
        => on(&LISTENER, |op, at| listener_arn(at, &op.service_identifier, &op.listener_identifier));

    CreateRule: post "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 201 -> CreateRuleOutput
        => on(&RULE, |op, at| rule_arn(at, &op.service_identifier, &op.listener_identifier, "*"))
            .with(TARGET_GROUPS, |op, at| groups(at, &op.action))
            .with_tags(|op| &op.tags)
            .tagging(&RULE, |op, at| rule_arn(at, &op.service_identifier, &op.listener_identifier, "*"), |op| &op.tags);
    GetRule: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 200 -> GetRuleOutput
        => on(&RULE, |op, at| rule_arn(at, &op.service_identifier, &op.listener_identifier, &op.rule_identifier));
    ListRules: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 200 -> ListRulesOutput => any();
    UpdateRule: patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 200 -> RuleOutput
        => on(&RULE, |op, at| rule_arn(at, &op.service_identifier, &op.listener_identifier, &op.rule_identifier))
            .with(TARGET_GROUPS, |op, at| op.action.as_ref().map(|action| groups(at, action)));
    // AWS knows no action of this name: it wants that of one rule for each.
    BatchUpdateRule as "UpdateRule": patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 200 -> BatchUpdateRuleOutput
        => on_each(&RULE, &[TARGET_GROUPS], rules_of);
    DeleteRule: delete "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 204 -> Empty
        => on(&RULE, |op, at| rule_arn(at, &op.service_identifier, &op.listener_identifier, &op.rule_identifier));

    CreateTargetGroup: post "/targetgroups" 201 -> TargetGroupOutput
        => makes(&TARGET_GROUP)
            .with(VPC, |op, _| op.config.as_ref().and_then(|it| it.vpc_identifier.clone()))
            .with_tags(|op| &op.tags)
            .tagging(&TARGET_GROUP, |_, _| "*".into(), |op| &op.tags), refusing target_group::refused;
    GetTargetGroup: get "/targetgroups/{targetGroupIdentifier}" 200 -> GetTargetGroupOutput
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());
    ListTargetGroups: get "/targetgroups" 200 -> ListTargetGroupsOutput => any();
    UpdateTargetGroup: patch "/targetgroups/{targetGroupIdentifier}" 200 -> TargetGroupOutput
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());
    DeleteTargetGroup: delete "/targetgroups/{targetGroupIdentifier}" 200 -> DeleteTargetGroupOutput
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());
    RegisterTargets: post "/targetgroups/{targetGroupIdentifier}/registertargets" 200 -> TargetsOutput
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());
    DeregisterTargets: post "/targetgroups/{targetGroupIdentifier}/deregistertargets" 200 -> TargetsOutput
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());
    ListTargets: post "/targetgroups/{targetGroupIdentifier}/listtargets" 200 -> ListTargetsOutput
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());

    CreateServiceNetworkServiceAssociation: post "/servicenetworkserviceassociations" 200 -> CreateServiceAssociationOutput
        => makes(&SERVICE_ASSOCIATION)
            .with_all(NEW_SERVICE_ASSOCIATION, new_service_association)
            .with_tags(|op| &op.tags)
            .on(&SERVICE, |op, _| op.service_identifier.clone())
            .with_all(NEW_SERVICE_ASSOCIATION, new_service_association)
            .with_tags(|op| &op.tags)
            .on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone())
            .with_all(NEW_SERVICE_ASSOCIATION, new_service_association)
            .with_tags(|op| &op.tags)
            .tagging(&SERVICE_ASSOCIATION, |_, _| "*".into(), |op| &op.tags);
    GetServiceNetworkServiceAssociation: get "/servicenetworkserviceassociations/{serviceNetworkServiceAssociationIdentifier}" 200 -> GetServiceAssociationOutput
        => on(&SERVICE_ASSOCIATION, |op, _| op.service_network_service_association_identifier.clone());
    ListServiceNetworkServiceAssociations: get "/servicenetworkserviceassociations" 200 -> ListServiceAssociationsOutput
        => any()
            .with(SERVICE_ARN, |op, at| op.service_identifier.as_ref().map(|it| service_arn(at, it)))
            .with(NETWORK_ARN, |op, at| op.service_network_identifier.as_ref().map(|it| network_arn(at, it)));
    DeleteServiceNetworkServiceAssociation: delete "/servicenetworkserviceassociations/{serviceNetworkServiceAssociationIdentifier}" 200 -> DeleteServiceAssociationOutput
        => on(&SERVICE_ASSOCIATION, |op, _| op.service_network_service_association_identifier.clone());

    CreateServiceNetworkVpcAssociation: post "/servicenetworkvpcassociations" 200 -> CreateVpcAssociationOutput
        => makes(&VPC_ASSOCIATION)
            .with_all(NEW_VPC_ASSOCIATION, new_vpc_association)
            .with_tags(|op| &op.tags)
            .on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone())
            .with_all(NEW_VPC_ASSOCIATION, new_vpc_association)
            .with_tags(|op| &op.tags)
            .tagging(&VPC_ASSOCIATION, |_, _| "*".into(), |op| &op.tags)
            .also_any("ec2:DescribeVpcs", |_, _| true)
            .also_any("ec2:DescribeSecurityGroups", |op, _| !op.security_group_ids.is_empty());
    GetServiceNetworkVpcAssociation: get "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> GetVpcAssociationOutput
        => on(&VPC_ASSOCIATION, |op, _| op.service_network_vpc_association_identifier.clone());
    ListServiceNetworkVpcAssociations: get "/servicenetworkvpcassociations" 200 -> ListVpcAssociationsOutput
        => any()
            .with(VPC, |op, _| op.vpc_identifier.clone())
            .with(NETWORK_ARN, |op, at| op.service_network_identifier.as_ref().map(|it| network_arn(at, it)));
    UpdateServiceNetworkVpcAssociation: patch "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> UpdateVpcAssociationOutput
        => on(&VPC_ASSOCIATION, |op, _| op.service_network_vpc_association_identifier.clone())
            .with(SECURITY_GROUPS, |op, _| op.security_group_ids.clone())
            .untagged(|_, _| Vec::<String>::new())
            .also_any("ec2:DescribeVpcs", |_, _| true)
            .also_any("ec2:DescribeSecurityGroups", |_, _| true);
    DeleteServiceNetworkVpcAssociation: delete "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> DeleteVpcAssociationOutput
        => on(&VPC_ASSOCIATION, |op, _| op.service_network_vpc_association_identifier.clone());
    ListServiceNetworkVpcEndpointAssociations: get "/servicenetworkvpcendpointassociations" 200 -> ListEndpointAssociationsOutput => any();

    CreateAccessLogSubscription: post "/accesslogsubscriptions" 201 -> CreateAccessLogSubscriptionOutput
        => makes(&ACCESS_LOG_SUBSCRIPTION)
            .with_tags(|op| &op.tags)
            .on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_identifier))
            .with_tags(|op| &op.tags)
            .on(&SERVICE, |op, _| service_of(&op.resource_identifier))
            .with_tags(|op| &op.tags)
            .tagging(&ACCESS_LOG_SUBSCRIPTION, |_, _| "*".into(), |op| &op.tags)
            .also_any("logs:CreateLogDelivery", |_, _| true)
            .also_any("logs:GetLogDelivery", |_, _| true);
    GetAccessLogSubscription: get "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 200 -> AccessLogSubscriptionDetail
        => on(&ACCESS_LOG_SUBSCRIPTION, |op, _| op.access_log_subscription_identifier.clone())
            .also_any("logs:GetLogDelivery", |_, _| true);
    ListAccessLogSubscriptions: get "/accesslogsubscriptions" 200 -> ListAccessLogSubscriptionsOutput => any();
    UpdateAccessLogSubscription: patch "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 200 -> UpdateAccessLogSubscriptionOutput
        => on(&ACCESS_LOG_SUBSCRIPTION, |op, _| op.access_log_subscription_identifier.clone())
            .also_any("logs:GetLogDelivery", |_, _| true)
            .also_any("logs:UpdateLogDelivery", |_, _| true);
    DeleteAccessLogSubscription: delete "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 204 -> Empty
        => on(&ACCESS_LOG_SUBSCRIPTION, |op, _| op.access_log_subscription_identifier.clone())
            .also_any("logs:GetLogDelivery", |_, _| true)
            .also_any("logs:DeleteLogDelivery", |_, _| true);

    PutAuthPolicy: put "/authpolicy/{resourceIdentifier}" 200 -> PutAuthPolicyOutput
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_identifier))
            .on(&SERVICE, |op, _| service_of(&op.resource_identifier));
    GetAuthPolicy: get "/authpolicy/{resourceIdentifier}" 200 -> GetAuthPolicyOutput
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_identifier))
            .on(&SERVICE, |op, _| service_of(&op.resource_identifier));
    DeleteAuthPolicy: delete "/authpolicy/{resourceIdentifier}" 204 -> Empty
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_identifier))
            .on(&SERVICE, |op, _| service_of(&op.resource_identifier));
    PutResourcePolicy: put "/resourcepolicy/{resourceArn}" 200 -> Empty
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_arn))
            .on(&SERVICE, |op, _| service_of(&op.resource_arn));
    GetResourcePolicy: get "/resourcepolicy/{resourceArn}" 200 -> GetResourcePolicyOutput
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_arn))
            .on(&SERVICE, |op, _| service_of(&op.resource_arn));
    DeleteResourcePolicy: delete "/resourcepolicy/{resourceArn}" 204 -> Empty
        => on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_arn))
            .on(&SERVICE, |op, _| service_of(&op.resource_arn));

    ListTagsForResource: get "/tags/{resourceArn}" 200 -> ListTagsForResourceOutput => any();
    TagResource: post "/tags/{resourceArn}" 200 -> Empty
        => on_arn(|op| &op.resource_arn, |it| it.tagged(|op, _| pairs(&op.tags)));
    UntagResource: delete "/tags/{resourceArn}" 200 -> Empty
        => on_arn(|op| &op.resource_arn, |it| it.untagged(|op, _| op.tag_keys.clone()));
}

/// An output without members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Empty {}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum AuthType {
    #[default]
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "AWS_IAM")]
    AwsIam,
}

impl AuthType {
    /// As the wire prints it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::AwsIam => "AWS_IAM",
        }
    }
}

/// The states of services, target groups and service associations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
    Active,
    CreateInProgress,
    DeleteInProgress,
    CreateFailed,
    DeleteFailed,
}

impl Status {
    /// As the wire prints it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::CreateInProgress => "CREATE_IN_PROGRESS",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
            Self::CreateFailed => "CREATE_FAILED",
            Self::DeleteFailed => "DELETE_FAILED",
        }
    }
}

/// A name in the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DnsEntry {
    pub(crate) domain_name: Option<String>,
    pub(crate) hosted_zone_id: Option<String>,
}
