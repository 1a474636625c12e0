//! With what CloudFormation calls the other services of its region: their operations, judged as requests are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lath_cloudformation::{Authority, Hands, PRINCIPAL};
use lath_control::Cell;
use lath_judge::Judge;
use lath_sigv4::Credentials as _;
use lath_wire::{ApiError, Behalf, Caller, Doc, Principal, Service};
use serde_json::{Map, Number, Value};
use uuid::Uuid;

/// The name of the sessions of stacks' roles.
const SESSION: &str = "AWSCloudFormation";

/// The other services.
pub(crate) struct ServiceHands {
    cell: Cell,
    judge: Arc<Judge>,
    services: OnceLock<Vec<Service>>,
    /// The session of each role, with its access key and token.
    roles: Mutex<HashMap<String, Held>>,
}

/// A session of a role: its principal, access key and token.
type Held = (Principal, String, String);

impl ServiceHands {
    pub(crate) fn new(cell: Cell, judge: Arc<Judge>) -> Self {
        Self {
            cell,
            judge,
            services: OnceLock::new(),
            roles: Mutex::default(),
        }
    }

    /// The services that can be called. They are known after who calls them.
    pub(crate) fn take(&self, services: Vec<Service>) {
        let _ = self.services.set(services);
    }

    fn session(&self, arn: &str) -> Result<Held, ApiError> {
        // Who changes a role's trust, or makes another of its name, ends what was begun with it.
        let unique_id = self.judge.trusted(PRINCIPAL, arn)?;
        let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = roles.get(arn)
            && held.0.user_id == format!("{unique_id}:{SESSION}")
            && self.judge.recalls(&held.1, &held.2)
        {
            return Ok(held.clone());
        }
        let held = self.judge.assume_for(PRINCIPAL, arn, SESSION)?;
        roles.insert(arn.to_owned(), held.clone());
        Ok(held)
    }

    fn caller(&self, authority: &Authority, service: &str) -> Result<(Caller, bool), ApiError> {
        let (principal, access_key_id, forwarded) = match authority {
            Authority::Caller {
                arn,
                user_id,
                access_key_id,
                session,
                ..
            } => {
                if let Some(token) = session
                    && !self.judge.recalls(access_key_id, token)
                {
                    let text = "The security token included in the request is expired";
                    return Err(ApiError::new("ExpiredToken", 403, text));
                }
                if session.is_none() && self.judge.lookup(access_key_id, None).is_err() {
                    let text = "The security token included in the request is invalid.";
                    return Err(ApiError::new("InvalidClientTokenId", 403, text));
                }
                let principal = Principal {
                    arn: arn.clone(),
                    user_id: user_id.clone(),
                };
                (principal, access_key_id.clone(), true)
            }
            Authority::Role { arn } => {
                let (principal, key, _) = self.session(arn)?;
                (principal, key, false)
            }
        };
        let caller = Caller {
            account: self.cell.account.clone(),
            region: self.cell.region.clone(),
            service: service.to_owned(),
            principal,
            access_key_id,
            request_id: Uuid::new_v4().to_string(),
            source_ip: None,
            from_vpc: None,
        };
        Ok((caller, forwarded))
    }
}

impl Hands for ServiceHands {
    fn authority(&self, caller: &Caller) -> Authority {
        Authority::Caller {
            account: caller.account.clone(),
            arn: caller.principal.arn.clone(),
            user_id: caller.principal.user_id.clone(),
            access_key_id: caller.access_key_id.clone(),
            session: self.judge.session_token(caller),
        }
    }

    fn check_role(&self, arn: &str) -> Result<(), ApiError> {
        self.session(arn).map(drop)
    }

    fn call<'a>(
        &'a self,
        authority: &'a Authority,
        service: &'a str,
        operation: &'a str,
        input: Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        async move {
            let (caller, forwarded) = self.caller(authority, service)?;
            let mut services = self.services.get().into_iter().flatten();
            let found = services.find(|it| it.info().signing_name == service);
            let found = found
                .ok_or_else(|| ApiError::internal(format!("{service} cannot be called yet")))?;
            let behalf = Behalf {
                service: PRINCIPAL,
                forwarded,
            };
            let judge = &*self.judge;
            let answer = found.invoke(judge, (&caller, behalf), operation, doc(input));
            answer.await.map(value)
        }
        .boxed()
    }
}

/// Scalars become texts: they are read as what the operation wants, as CloudFormation reads templates.
fn doc(value: Value) -> Doc {
    match value {
        Value::Null => Doc::Null,
        Value::Bool(it) => Doc::Text(it.to_string()),
        Value::Number(it) => Doc::Text(it.to_string()),
        Value::String(text) => Doc::Text(text),
        Value::Array(items) => Doc::List(items.into_iter().map(doc).collect()),
        Value::Object(members) => {
            let members = members.into_iter();
            Doc::Map(members.map(|(name, it)| (name, doc(it))).collect())
        }
    }
}

fn value(doc: Doc) -> Value {
    match doc {
        Doc::Null => Value::Null,
        Doc::Bool(it) => Value::Bool(it),
        Doc::Int(it) => Value::Number(it.into()),
        Doc::Float(it) => Number::from_f64(it).map_or(Value::Null, Value::Number),
        Doc::String(text) | Doc::Text(text) => Value::String(text),
        Doc::Blob(bytes) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
        Doc::Timestamp(at) => Value::String(at.iso8601_seconds()),
        Doc::List(items) => items.into_iter().map(value).collect(),
        Doc::Map(members) => {
            let members = members.into_iter().map(|(name, it)| (name, value(it)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}
