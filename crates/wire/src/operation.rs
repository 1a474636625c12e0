//! Operations, who calls them and who handles them.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;

use lath_model::id::VpcId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ApiError;
use crate::path::Template;

/// A request is a value; its fields are the operation's input.
pub trait Operation: DeserializeOwned + Send + 'static {
    /// AWS's name of it, such as `CreateService`.
    const NAME: &'static str;
    /// REST services only: method, path template, success status.
    const ROUTE: Option<Route> = None;
    /// Whether requests may be unsigned, as few of AWS's operations let them: the request itself proves who calls, and the
    /// handler judges that. Without a signature no judge is asked, and the [`Caller`] is anonymous.
    const UNSIGNED: bool = false;
    /// What it answers. `DeserializeOwned` lets the model-oracle test ask the type for its members.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// The second pass after decoding: lengths, ranges and patterns. Reports every problem.
    fn validate(&self, _problems: &mut Problems) {}

    /// Members of the input that are read and refused when they are set, as paths of the model's names such as
    /// `NetworkInterface.Ipv6AddressCount`; where only some values are refused, with them: `type: LAMBDA, ALB`.
    /// The compatibility table lists them.
    fn refused() -> Vec<String> {
        Vec::new()
    }

    /// Whether it answers of something that will change by itself, such as a cluster in `CREATING`. A client's waiter gets
    /// such an answer late: most ask again only after 30 s.
    fn is_unsettled(_output: &Self::Output) -> bool {
        false
    }

    /// The member that is the request's body as it came, where that is no structure (REST services only).
    const PAYLOAD: Option<&'static str> = None;
    /// Headers of the request that are members of the input, by their names (REST services only).
    const FROM_HEADERS: &'static [&'static str] = &[];

    /// The answer, where it is bytes and no structure.
    fn raw(_output: &Self::Output) -> Option<Raw> {
        None
    }

    /// The output's members that travel as headers, such as `Location`.
    fn headers(_output: &Self::Output) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// An answer that is no structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// Where a REST operation lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// A template such as `/services/{serviceIdentifier}`. Labels are named for their members.
    pub path: &'static str,
    /// The status of a success.
    pub status: u16,
}

impl Route {
    /// A GET.
    pub const fn get(path: &'static str, status: u16) -> Self {
        Self {
            method: "GET",
            path,
            status,
        }
    }
    /// A POST.
    pub const fn post(path: &'static str, status: u16) -> Self {
        Self {
            method: "POST",
            path,
            status,
        }
    }
    /// A PUT.
    pub const fn put(path: &'static str, status: u16) -> Self {
        Self {
            method: "PUT",
            path,
            status,
        }
    }
    /// A PATCH.
    pub const fn patch(path: &'static str, status: u16) -> Self {
        Self {
            method: "PATCH",
            path,
            status,
        }
    }
    /// A DELETE.
    pub const fn delete(path: &'static str, status: u16) -> Self {
        Self {
            method: "DELETE",
            path,
            status,
        }
    }

    /// The labels of a request's raw path if it matches, percent-decoded after splitting.
    pub fn labels(&self, method: &str, path: &str) -> Option<BTreeMap<&'static str, String>> {
        Template::of(self).labels(method, path)
    }
}

/// What an operation means.
pub trait Handle<Op: Operation>: Send + Sync + 'static {
    /// Does it.
    fn handle(
        &self,
        caller: &Caller,
        op: Op,
    ) -> impl Future<Output = Result<Op::Output, ApiError>> + Send;
}

/// Who calls, as the signature proved.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The account that the key belongs to.
    pub account: String,
    /// The region of the credential scope.
    pub region: String,
    /// The signing name of the credential scope, such as `ec2`.
    pub service: String,
    /// Who.
    pub principal: Principal,
    /// The access key's id.
    pub access_key_id: String,
    /// The request's id, which the answer carries.
    pub request_id: String,
    /// Where the request came from; `None` where that is a VPC, whose owner chooses its addresses.
    pub source_ip: Option<IpAddr>,
    /// The VPC that it came from.
    pub from_vpc: Option<FromVpc>,
}

/// Where a request from a VPC came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromVpc {
    /// The VPC.
    pub vpc: VpcId,
    /// The address in it.
    pub address: IpAddr,
}

impl Caller {
    /// The sender of an unsigned request.
    pub fn nobody(
        region: impl Into<String>,
        service: impl Into<String>,
        request_id: impl Into<String>,
        source_ip: Option<IpAddr>,
    ) -> Self {
        Self {
            account: String::new(),
            region: region.into(),
            service: service.into(),
            principal: Principal {
                arn: String::new(),
                user_id: String::new(),
            },
            access_key_id: String::new(),
            request_id: request_id.into(),
            source_ip,
            from_vpc: None,
        }
    }
}

/// A principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Such as `arn:aws:iam::123456789012:root`.
    pub arn: String,
    /// Such as the account id, `AIDA...` or `AROA...:session`.
    pub user_id: String,
}

/// Whose an access key is.
#[derive(Debug, Clone)]
pub struct KeyOwner {
    /// The account's id.
    pub account: String,
    /// Who in it.
    pub principal: Principal,
}

/// One thing wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The member's path, such as `action.forward.targetGroups.1.weight`.
    pub member: String,
    /// What is wrong with it.
    pub message: String,
    /// Its value, where messages may repeat it.
    pub value: Option<String>,
}

/// All that is wrong with a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl From<Vec<Problem>> for Problems {
    fn from(found: Vec<Problem>) -> Self {
        Self(found)
    }
}

impl Problems {
    /// Adds one.
    pub fn add(&mut self, member: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            member: member.into(),
            message: message.into(),
            value: None,
        });
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems, in the order they were found.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}
