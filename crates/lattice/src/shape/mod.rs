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

/// The second pass over a decoded request.
trait Check {
    fn check(&self, p: &mut Problems);
}

macro_rules! operations {
    ($(
        $op:ident: $method:ident $path:literal $status:literal -> $output:ty $(, refusing $refused:path)?;
    )*) => {$(
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
    CreateServiceNetwork: post "/servicenetworks" 201 -> CreateServiceNetworkOutput;
    GetServiceNetwork: get "/servicenetworks/{serviceNetworkIdentifier}" 200 -> GetServiceNetworkOutput;
    ListServiceNetworks: get "/servicenetworks" 200 -> ListServiceNetworksOutput;
    UpdateServiceNetwork: patch "/servicenetworks/{serviceNetworkIdentifier}" 200 -> UpdateServiceNetworkOutput;
    DeleteServiceNetwork: delete "/servicenetworks/{serviceNetworkIdentifier}" 204 -> Empty;

    CreateService: post "/services" 201 -> CreateServiceOutput;
    GetService: get "/services/{serviceIdentifier}" 200 -> GetServiceOutput;
    ListServices: get "/services" 200 -> ListServicesOutput;
    UpdateService: patch "/services/{serviceIdentifier}" 200 -> UpdateServiceOutput;
    DeleteService: delete "/services/{serviceIdentifier}" 200 -> DeleteServiceOutput;

    CreateListener: post "/services/{serviceIdentifier}/listeners" 201 -> ListenerOutput, refusing listener::refused;
    GetListener: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 200 -> GetListenerOutput;
    ListListeners: get "/services/{serviceIdentifier}/listeners" 200 -> ListListenersOutput;
    UpdateListener: patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 200 -> ListenerOutput;
    DeleteListener: delete "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 204 -> Empty;

    CreateRule: post "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 201 -> CreateRuleOutput;
    GetRule: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 200 -> GetRuleOutput;
    ListRules: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 200 -> ListRulesOutput;
    UpdateRule: patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 200 -> RuleOutput;
    BatchUpdateRule: patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 200 -> BatchUpdateRuleOutput;
    DeleteRule: delete "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 204 -> Empty;

    CreateTargetGroup: post "/targetgroups" 201 -> TargetGroupOutput, refusing target_group::refused;
    GetTargetGroup: get "/targetgroups/{targetGroupIdentifier}" 200 -> GetTargetGroupOutput;
    ListTargetGroups: get "/targetgroups" 200 -> ListTargetGroupsOutput;
    UpdateTargetGroup: patch "/targetgroups/{targetGroupIdentifier}" 200 -> TargetGroupOutput;
    DeleteTargetGroup: delete "/targetgroups/{targetGroupIdentifier}" 200 -> DeleteTargetGroupOutput;
    RegisterTargets: post "/targetgroups/{targetGroupIdentifier}/registertargets" 200 -> TargetsOutput;
    DeregisterTargets: post "/targetgroups/{targetGroupIdentifier}/deregistertargets" 200 -> TargetsOutput;
    ListTargets: post "/targetgroups/{targetGroupIdentifier}/listtargets" 200 -> ListTargetsOutput;

    CreateServiceNetworkServiceAssociation: post "/servicenetworkserviceassociations" 200 -> CreateServiceAssociationOutput;
    GetServiceNetworkServiceAssociation: get "/servicenetworkserviceassociations/{serviceNetworkServiceAssociationIdentifier}" 200 -> GetServiceAssociationOutput;
    ListServiceNetworkServiceAssociations: get "/servicenetworkserviceassociations" 200 -> ListServiceAssociationsOutput;
    DeleteServiceNetworkServiceAssociation: delete "/servicenetworkserviceassociations/{serviceNetworkServiceAssociationIdentifier}" 200 -> DeleteServiceAssociationOutput;

    CreateServiceNetworkVpcAssociation: post "/servicenetworkvpcassociations" 200 -> CreateVpcAssociationOutput;
    GetServiceNetworkVpcAssociation: get "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> GetVpcAssociationOutput;
    ListServiceNetworkVpcAssociations: get "/servicenetworkvpcassociations" 200 -> ListVpcAssociationsOutput;
    UpdateServiceNetworkVpcAssociation: patch "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> UpdateVpcAssociationOutput;
    DeleteServiceNetworkVpcAssociation: delete "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> DeleteVpcAssociationOutput;
    ListServiceNetworkVpcEndpointAssociations: get "/servicenetworkvpcendpointassociations" 200 -> ListEndpointAssociationsOutput;

    CreateAccessLogSubscription: post "/accesslogsubscriptions" 201 -> CreateAccessLogSubscriptionOutput;
    GetAccessLogSubscription: get "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 200 -> AccessLogSubscriptionDetail;
    ListAccessLogSubscriptions: get "/accesslogsubscriptions" 200 -> ListAccessLogSubscriptionsOutput;
    UpdateAccessLogSubscription: patch "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 200 -> UpdateAccessLogSubscriptionOutput;
    DeleteAccessLogSubscription: delete "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 204 -> Empty;

    PutAuthPolicy: put "/authpolicy/{resourceIdentifier}" 200 -> PutAuthPolicyOutput;
    GetAuthPolicy: get "/authpolicy/{resourceIdentifier}" 200 -> GetAuthPolicyOutput;
    DeleteAuthPolicy: delete "/authpolicy/{resourceIdentifier}" 204 -> Empty;
    PutResourcePolicy: put "/resourcepolicy/{resourceArn}" 200 -> Empty;
    GetResourcePolicy: get "/resourcepolicy/{resourceArn}" 200 -> GetResourcePolicyOutput;
    DeleteResourcePolicy: delete "/resourcepolicy/{resourceArn}" 204 -> Empty;

    ListTagsForResource: get "/tags/{resourceArn}" 200 -> ListTagsForResourceOutput;
    TagResource: post "/tags/{resourceArn}" 200 -> Empty;
    UntagResource: delete "/tags/{resourceArn}" 200 -> Empty;
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
