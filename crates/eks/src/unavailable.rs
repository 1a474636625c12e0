//! What EKS has at AWS and there is nothing of here: lists are empty, what names one finds none, and creating is refused.

use lath_service::{Refuses, operations};
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::record::key;
use crate::resource_types::*;
use crate::shape::wire;
use crate::{Eks, fault};

operations! {
    for Eks as "eks";
    read CreateFargateProfile: post "/clusters/{name}/fargate-profiles" 200 -> Never = refuse_fargate
        => on(&CLUSTER, |op, _| op.cluster_name.clone())
            .tagged(|_, _| Vec::new())
        => refusing ["" CreateFargateProfile];
    read ListFargateProfiles: get "/clusters/{name}/fargate-profiles" 200 -> ListFargateProfilesResponse = no_profiles
        => on(&CLUSTER, |op, _| op.cluster_name.clone());
    read DescribeFargateProfile: get "/clusters/{name}/fargate-profiles/{fargateProfileName}" 200 -> Never = absent
        => on(&FARGATE_PROFILE, |op, _| key(&op.cluster_name, &op.fargate_profile_name));
    read DeleteFargateProfile: delete "/clusters/{name}/fargate-profiles/{fargateProfileName}" 200 -> Never = absent
        => on(&FARGATE_PROFILE, |op, _| key(&op.cluster_name, &op.fargate_profile_name));
    read ListCapabilities: get "/clusters/{name}/capabilities" 200 -> ListCapabilitiesResponse = no_capabilities
        => on(&CLUSTER, |op, _| op.cluster_name.clone());
    read DescribeCapability: get "/clusters/{name}/capabilities/{capabilityName}" 200 -> Never = absent
        => on(&CAPABILITY, |op, _| key(&op.cluster_name, &op.capability_name));
    read DeleteCapability: delete "/clusters/{name}/capabilities/{capabilityName}" 200 -> Never = absent
        => on(&CAPABILITY, |op, _| key(&op.cluster_name, &op.capability_name));
    read ListEksAnywhereSubscriptions: get "/eks-anywhere-subscriptions" 200
        -> ListEksAnywhereSubscriptionsResponse = no_subscriptions
        => any();
    read DescribeEksAnywhereSubscription: get "/eks-anywhere-subscriptions/{id}" 200 -> Never = no_subscription
        => on(&SUBSCRIPTION, |op, _| op.id.clone());
    read DeleteEksAnywhereSubscription: delete "/eks-anywhere-subscriptions/{id}" 200 -> Never = no_subscription
        => on(&SUBSCRIPTION, |op, _| op.id.clone());
}

wire! {
    /// An answer that is never given.
    Never {}
    CreateFargateProfile {
        #[serde(rename = "name")]
        cluster_name: String,
        fargate_profile_name: String,
        pod_execution_role_arn: String,
    }
    ListFargateProfiles {
        #[serde(rename = "name")]
        cluster_name: String,
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    ListFargateProfilesResponse {
        fargate_profile_names: Vec<String>,
        next_token: Option<String>,
    }
    DescribeFargateProfile {
        #[serde(rename = "name")]
        cluster_name: String,
        fargate_profile_name: String,
    }
    DeleteFargateProfile {
        #[serde(rename = "name")]
        cluster_name: String,
        fargate_profile_name: String,
    }
    ListCapabilities {
        #[serde(rename = "name")]
        cluster_name: String,
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    CapabilitySummary { capability_name: Option<String>, }
    ListCapabilitiesResponse {
        capabilities: Vec<CapabilitySummary>,
        next_token: Option<String>,
    }
    DescribeCapability {
        #[serde(rename = "name")]
        cluster_name: String,
        capability_name: String,
    }
    DeleteCapability {
        #[serde(rename = "name")]
        cluster_name: String,
        capability_name: String,
    }
    ListEksAnywhereSubscriptions {
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    EksAnywhereSubscription { id: Option<String>, }
    ListEksAnywhereSubscriptionsResponse {
        subscriptions: Vec<EksAnywhereSubscription>,
        next_token: Option<String>,
    }
    DescribeEksAnywhereSubscription { id: String, }
    DeleteEksAnywhereSubscription { id: String, }
}

impl Refuses for CreateFargateProfile {
    fn names() -> Vec<String> {
        vec!["podExecutionRoleArn".to_owned()]
    }
}

/// What a request names: a thing in a cluster, of a kind of which there is none.
trait Named {
    /// The cluster, the words before the name, the name.
    fn named(&self) -> (&str, &'static str, &str);
}

macro_rules! names {
    ($($op:ident $words:literal $($member:ident).+;)*) => {$(
        impl Named for $op {
            fn named(&self) -> (&str, &'static str, &str) {
                (&self.cluster_name, $words, &self.$($member).+)
            }
        }
    )*};
}

names! {
    DescribeFargateProfile "No Fargate Profile found with name" fargate_profile_name;
    DeleteFargateProfile "No Fargate Profile found with name" fargate_profile_name;
    DescribeCapability "No capability found with name" capability_name;
    DeleteCapability "No capability found with name" capability_name;
}

fn absent(_: &Eks, view: &View, op: &impl Named) -> Result<Never, ApiError> {
    let (cluster, words, name) = op.named();
    fault::check_cluster(view, cluster)?;
    let shown: String = name.chars().take(100).collect();
    Err(fault::not_found(format!("{words}: {shown}.")))
}

fn refuse_fargate(_: &Eks, view: &View, op: &CreateFargateProfile) -> Result<Never, ApiError> {
    fault::check_cluster(view, &op.cluster_name)?;
    Err(fault::unsupported("Fargate: create a node group"))
}

fn no_profiles(
    _: &Eks,
    view: &View,
    op: &ListFargateProfiles,
) -> Result<ListFargateProfilesResponse, ApiError> {
    fault::check_cluster(view, &op.cluster_name)?;
    check_page(op.next_token.as_deref())?;
    Ok(ListFargateProfilesResponse::default())
}

fn no_capabilities(
    _: &Eks,
    view: &View,
    op: &ListCapabilities,
) -> Result<ListCapabilitiesResponse, ApiError> {
    fault::check_cluster(view, &op.cluster_name)?;
    check_page(op.next_token.as_deref())?;
    Ok(ListCapabilitiesResponse::default())
}

fn no_subscriptions(
    _: &Eks,
    _: &View,
    op: &ListEksAnywhereSubscriptions,
) -> Result<ListEksAnywhereSubscriptionsResponse, ApiError> {
    check_page(op.next_token.as_deref())?;
    Ok(ListEksAnywhereSubscriptionsResponse::default())
}

/// No list here ever had a second page.
fn check_page(next_token: Option<&str>) -> Result<(), ApiError> {
    match next_token {
        Some(_) => Err(fault::invalid_parameter("The nextToken is not valid.")),
        None => Ok(()),
    }
}

/// A request that names a subscription.
trait Subscribed {
    fn id(&self) -> &str;
}

impl Subscribed for DescribeEksAnywhereSubscription {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Subscribed for DeleteEksAnywhereSubscription {
    fn id(&self) -> &str {
        &self.id
    }
}

fn no_subscription(_: &Eks, _: &View, op: &impl Subscribed) -> Result<Never, ApiError> {
    let shown: String = op.id().chars().take(100).collect();
    Err(fault::not_found(format!(
        "No subscription found for id: {shown}."
    )))
}
