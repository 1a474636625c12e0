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
        $op:ident: $method:ident $path:literal $status:literal -> $output:ty
            => $($need:ident($($of_need:tt)*)).+ $(, refusing $refused:path)?;
    )*) => {$(
        impl lath_authz::Authorized for $op {
            const SERVICE: &'static str = "vpc-lattice";

            fn access() -> lath_authz::Access<Self> {
                lath_authz::Access::new()$(.$need($($of_need)*))+
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
    CreateServiceNetwork: post "/servicenetworks" 201 -> CreateServiceNetworkOutput => any();
    GetServiceNetwork: get "/servicenetworks/{serviceNetworkIdentifier}" 200 -> GetServiceNetworkOutput => any();
    ListServiceNetworks: get "/servicenetworks" 200 -> ListServiceNetworksOutput => any();
    UpdateServiceNetwork: patch "/servicenetworks/{serviceNetworkIdentifier}" 200 -> UpdateServiceNetworkOutput => any();
    DeleteServiceNetwork: delete "/servicenetworks/{serviceNetworkIdentifier}" 204 -> Empty => any();

    CreateService: post "/services" 201 -> CreateServiceOutput => any();
    GetService: get "/services/{serviceIdentifier}" 200 -> GetServiceOutput => any();
    ListServices: get "/services" 200 -> ListServicesOutput => any();
    UpdateService: patch "/services/{serviceIdentifier}" 200 -> UpdateServiceOutput => any();
    DeleteService: delete "/services/{serviceIdentifier}" 200 -> DeleteServiceOutput => any();

    CreateListener: post "/services/{serviceIdentifier}/listeners" 201 -> ListenerOutput => any(), refusing listener::refused;
    GetListener: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 200 -> GetListenerOutput => any();
    ListListeners: get "/services/{serviceIdentifier}/listeners" 200 -> ListListenersOutput => any();
    UpdateListener: patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 200 -> ListenerOutput => any();
    DeleteListener: delete "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 204 -> Empty => any();

    CreateRule: post "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 201 -> CreateRuleOutput => any();
    GetRule: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 200 -> GetRuleOutput => any();
    ListRules: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 200 -> ListRulesOutput => any();
    UpdateRule: patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 200 -> RuleOutput => any();
    BatchUpdateRule: patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 200 -> BatchUpdateRuleOutput => any();
    DeleteRule: delete "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 204 -> Empty => any();

    CreateTargetGroup: post "/targetgroups" 201 -> TargetGroupOutput => any(), refusing target_group::refused;
    GetTargetGroup: get "/targetgroups/{targetGroupIdentifier}" 200 -> GetTargetGroupOutput => any();
    ListTargetGroups: get "/targetgroups" 200 -> ListTargetGroupsOutput => any();
    UpdateTargetGroup: patch "/targetgroups/{targetGroupIdentifier}" 200 -> TargetGroupOutput => any();
    DeleteTargetGroup: delete "/targetgroups/{targetGroupIdentifier}" 200 -> DeleteTargetGroupOutput => any();
    RegisterTargets: post "/targetgroups/{targetGroupIdentifier}/registertargets" 200 -> TargetsOutput => any();
    DeregisterTargets: post "/targetgroups/{targetGroupIdentifier}/deregistertargets" 200 -> TargetsOutput => any();
    ListTargets: post "/targetgroups/{targetGroupIdentifier}/listtargets" 200 -> ListTargetsOutput => any();

    CreateServiceNetworkServiceAssociation: post "/servicenetworkserviceassociations" 200 -> CreateServiceAssociationOutput => any();
    GetServiceNetworkServiceAssociation: get "/servicenetworkserviceassociations/{serviceNetworkServiceAssociationIdentifier}" 200 -> GetServiceAssociationOutput => any();
    ListServiceNetworkServiceAssociations: get "/servicenetworkserviceassociations" 200 -> ListServiceAssociationsOutput => any();
    DeleteServiceNetworkServiceAssociation: delete "/servicenetworkserviceassociations/{serviceNetworkServiceAssociationIdentifier}" 200 -> DeleteServiceAssociationOutput => any();

    CreateServiceNetworkVpcAssociation: post "/servicenetworkvpcassociations" 200 -> CreateVpcAssociationOutput => any();
    GetServiceNetworkVpcAssociation: get "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> GetVpcAssociationOutput => any();
    ListServiceNetworkVpcAssociations: get "/servicenetworkvpcassociations" 200 -> ListVpcAssociationsOutput => any();
    UpdateServiceNetworkVpcAssociation: patch "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> UpdateVpcAssociationOutput => any();
    DeleteServiceNetworkVpcAssociation: delete "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> DeleteVpcAssociationOutput => any();
    ListServiceNetworkVpcEndpointAssociations: get "/servicenetworkvpcendpointassociations" 200 -> ListEndpointAssociationsOutput => any();

    CreateAccessLogSubscription: post "/accesslogsubscriptions" 201 -> CreateAccessLogSubscriptionOutput => any();
    GetAccessLogSubscription: get "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 200 -> AccessLogSubscriptionDetail => any();
    ListAccessLogSubscriptions: get "/accesslogsubscriptions" 200 -> ListAccessLogSubscriptionsOutput => any();
    UpdateAccessLogSubscription: patch "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 200 -> UpdateAccessLogSubscriptionOutput => any();
    DeleteAccessLogSubscription: delete "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 204 -> Empty => any();

    PutAuthPolicy: put "/authpolicy/{resourceIdentifier}" 200 -> PutAuthPolicyOutput => any();
    GetAuthPolicy: get "/authpolicy/{resourceIdentifier}" 200 -> GetAuthPolicyOutput => any();
    DeleteAuthPolicy: delete "/authpolicy/{resourceIdentifier}" 204 -> Empty => any();
    PutResourcePolicy: put "/resourcepolicy/{resourceArn}" 200 -> Empty => any();
    GetResourcePolicy: get "/resourcepolicy/{resourceArn}" 200 -> GetResourcePolicyOutput => any();
    DeleteResourcePolicy: delete "/resourcepolicy/{resourceArn}" 204 -> Empty => any();

    ListTagsForResource: get "/tags/{resourceArn}" 200 -> ListTagsForResourceOutput => any();
    TagResource: post "/tags/{resourceArn}" 200 -> Empty => any();
    UntagResource: delete "/tags/{resourceArn}" 200 -> Empty => any();
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
