use std::time::Duration;

use lath_model::Timestamp;
use lath_store::{Record, Tx};
use serde::{Deserialize, Serialize};

/// How long a token protects its create.
const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// A used idempotency token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    scope: String,
    token: String,
    fingerprint: u64,
    resource: String,
    used_at: Timestamp,
}

impl Record for Token {
    const KIND: &'static str = "control.token";
    fn id(&self) -> String {
        format!("{}/{}", self.scope, self.token)
    }
}

/// What a token says of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenUse {
    /// Not used before: go on; the token now belongs to the new resource.
    New,
    /// Used by the same request: answer with this resource again.
    Repeat(String),
    /// Used by a different request: refuse.
    Mismatch,
}

/// Claims an idempotency token for the resource `new_id`, in the transaction that creates it.
///
/// `scope` is the operation's name (and account); `fingerprint` is a hash of the request's parameters
/// without the token.
pub fn claim_token(
    tx: &mut Tx,
    scope: &str,
    token: &str,
    fingerprint: u64,
    new_id: &str,
) -> TokenUse {
    let now = Timestamp::now();
    let known = tx.get::<Token>(&format!("{scope}/{token}"));
    match known.filter(|known| now.since(known.used_at) < RETENTION) {
        Some(known) if known.fingerprint == fingerprint => TokenUse::Repeat(known.resource.clone()),
        Some(_) => TokenUse::Mismatch,
        None => {
            tx.put(Token {
                scope: scope.to_owned(),
                token: token.to_owned(),
                fingerprint,
                resource: new_id.to_owned(),
                used_at: now,
            });
            TokenUse::New
        }
    }
}
