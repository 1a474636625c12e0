use lath_control::{TokenUse, claim_token};
use lath_store::Tx;

/// The token was used by a request with other parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch;

/// Claims a create's idempotency token for the resource `new_id`, in the transaction that makes it. `Some` is the id of
/// the resource that an earlier, equal request made: the create answers as the first one did. Without a token, or with
/// an empty one, every request is new.
///
/// `scope` is the operation, with the service's name where another service has one of the same name; `fingerprint` is
/// that of the parameters without the token ([`lath_control::fingerprint`]).
///
/// # Errors
/// [`Mismatch`], which the service words.
pub fn claim(
    tx: &mut Tx,
    scope: &str,
    token: Option<&str>,
    fingerprint: u64,
    new_id: &str,
) -> Result<Option<String>, Mismatch> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    match claim_token(tx, scope, token, fingerprint, new_id) {
        TokenUse::New => Ok(None),
        TokenUse::Repeat(id) => Ok(Some(id)),
        TokenUse::Mismatch => Err(Mismatch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use lath_store::{Db, StoreError};

    #[tokio::test]
    async fn a_token_answers_as_the_first_create_did() {
        let db = Db::in_memory();
        for (token, fingerprint, want) in [
            (None, 1, Ok(None)),
            (Some(""), 1, Ok(None)),
            (Some("t"), 1, Ok(None)),
            (Some("t"), 1, Ok(Some("lamp-3".to_owned()))),
            (Some("t"), 2, Err(Mismatch)),
        ] {
            let count = db.view().revision();
            let write = db.write(|tx| {
                let id = if count == 0 { "lamp-3" } else { "lamp-4" };
                Ok::<_, StoreError>(claim(tx, "CreateLamp", token, fingerprint, id))
            });
            assert_eq!(write.await.unwrap(), want, "{token:?} {fingerprint}");
        }
    }
}
