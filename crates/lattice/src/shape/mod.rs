//! The operations and structures of the API, exactly as its model names them.

mod access_log;
mod association;
mod health_check;
mod listener;
mod network;
mod policy;
mod resource;
mod resource_configuration;
mod rule;
mod service;
mod tag;
mod target;
mod target_group;
mod unavailable;

pub(crate) use access_log::*;
pub(crate) use association::*;
pub(crate) use health_check::*;
pub(crate) use listener::*;
pub(crate) use network::*;
pub(crate) use policy::*;
pub(crate) use resource::*;
pub(crate) use resource_configuration::*;
pub(crate) use rule::*;
use serde::{Deserialize, Serialize};
pub(crate) use service::*;
pub(crate) use tag::*;
pub(crate) use target::*;
pub(crate) use target_group::*;

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
