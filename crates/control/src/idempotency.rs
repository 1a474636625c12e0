use std::fmt::Debug;
use std::time::Duration;

use lath_model::Timestamp;
use lath_store::{Db, Record, StoreError, Tx};
use serde::{Deserialize, Serialize};

/// How many expired tokens one transaction forgets.
const SWEEP: usize = 500;

/// How long a token protects its create.
const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// A used idempotency token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
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

impl Token {
    fn is_expired(&self, now: Timestamp) -> bool {
        now.since(self.used_at) >= RETENTION
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
    let now = tx.now();
    let known = tx.get::<Token>(&format!("{scope}/{token}"));
    match known.filter(|known| !known.is_expired(now)) {
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

/// A hash of a request's parameters, for [`claim_token`]: FNV-1a of how they are printed. Tokens outlive
/// the process, so it does not change from one build to the next unless the parameters themselves do.
pub fn fingerprint(parameters: &impl Debug) -> u64 {
    format!("{parameters:?}")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// Forgets the tokens that protect nothing any more, a few hundred in each transaction so that no other
/// write waits for long; how many there were. To be called every few minutes.
///
/// # Errors
/// That the store failed; the rest is forgotten by the next call.
pub async fn sweep_tokens(db: &Db) -> Result<usize, StoreError> {
    let (view, now) = (db.view(), db.now());
    let expired: Vec<String> = view
        .list::<Token>()
        .filter(|token| token.is_expired(now))
        .map(|token| token.id())
        .collect();
    for some in expired.chunks(SWEEP) {
        db.write(|tx| {
            some.iter().for_each(|id| forget(tx, id, now));
            Ok::<_, StoreError>(())
        })
        .await?;
    }
    Ok(expired.len())
}

/// Deletes a token unless it was used again since it was found expired.
fn forget(tx: &mut Tx, id: &str, now: Timestamp) {
    if tx
        .get::<Token>(id)
        .is_some_and(|token| token.is_expired(now))
    {
        tx.delete::<Token>(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use lath_clock::ManualClock;

    async fn claim(db: &Db, token: &str, fingerprint: u64, new_id: &str) -> TokenUse {
        let write = db.write(|tx| {
            let used = claim_token(tx, "CreateVpc", token, fingerprint, new_id);
            Ok::<_, StoreError>(used)
        });
        write.await.unwrap()
    }

    #[tokio::test]
    async fn a_token_answers_the_first_resource_until_it_expires() {
        let hands = ManualClock::at(Timestamp::default());
        let db = Db::in_memory().with_clock(hands.clock());
        assert_eq!(claim(&db, "t", 1, "vpc-1").await, TokenUse::New);
        let repeat = TokenUse::Repeat("vpc-1".into());
        assert_eq!(claim(&db, "t", 1, "vpc-2").await, repeat);
        assert_eq!(claim(&db, "t", 2, "vpc-2").await, TokenUse::Mismatch);
        assert_eq!(sweep_tokens(&db).await.unwrap(), 0);
        hands.advance(RETENTION - Duration::from_millis(1));
        assert_eq!(claim(&db, "t", 1, "vpc-2").await, repeat);
        hands.advance(Duration::from_millis(1));
        assert_eq!(claim(&db, "t", 2, "vpc-2").await, TokenUse::New);
    }

    #[test]
    fn fingerprints_are_the_same_in_every_build() {
        assert_eq!(fingerprint(&("a", Some(1))), fingerprint(&("a", Some(1))));
        assert_ne!(fingerprint(&("a", Some(1))), fingerprint(&("a", Some(2))));
        // The published value of FNV-1a for `1`.
        assert_eq!(fingerprint(&1), 0xaf63_ac4c_8601_9afc);
    }

    #[tokio::test]
    async fn expired_tokens_are_swept_in_bounded_transactions() {
        let hands = ManualClock::at(Timestamp::default());
        let db = Db::in_memory().with_clock(hands.clock());
        for n in 0..(SWEEP * 2 + 1) {
            claim(&db, &n.to_string(), 1, "vpc-1").await;
        }
        let before = db.view().revision();
        hands.advance(RETENTION);
        let swept = sweep_tokens(&db).await.unwrap();
        assert_eq!(swept, SWEEP * 2 + 1);
        assert_eq!(db.view().list::<Token>().count(), 0);
        assert_eq!(db.view().revision(), before + 3);
    }
}
