//! Tokens of Kubernetes clients: a presigned request in base64, from anybody who reaches an API server.

use std::time::{Duration, UNIX_EPOCH};

use lath_kubernetes::token::{Presigned, TokenError};
use lath_sigv4::{Credential, Credentials, LookupError, Secret};

use crate::text;

struct Keys;

impl Credentials for Keys {
    type Owner = ();
    fn lookup(&self, _: &str, _: Option<&str>) -> Result<Credential<()>, LookupError> {
        Ok(Credential {
            secret: Secret::new("secret"),
            owner: (),
        })
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let now = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    // Inputs that are no tokens are taken for the URL of one, which mutation finds sooner.
    for token in [text.to_owned(), Presigned::token_of(text)] {
        match Presigned::parse(&token) {
            Ok(presigned) => {
                let outcome = presigned.verify("blue", &Keys, now);
                // A signature cannot be guessed.
                assert!(outcome.is_err());
            }
            Err(error) => assert!(error != TokenError::Expired),
        }
    }
}
