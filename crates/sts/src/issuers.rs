//! Where the keys of issuers are found: this installation's own issuers first, then whom a provider names.

use std::sync::Arc;

use lath_iam::records::OidcProvider;
use lath_oidc::{Asked, IssuerKeys, KeySet, NoKeys, Token};
use lath_store::View;
use serde_json::Value;

/// The set of keys of an issuer of this installation, by its URL; `None` when it is none of those.
pub type LocalKeys = Arc<dyn Fn(&View, &str) -> Option<Value> + Send + Sync>;

/// The sources of keys. The default has none, so that no token is proved.
#[derive(Clone, Default)]
pub struct Issuers {
    local: Option<LocalKeys>,
    remote: Option<Arc<dyn IssuerKeys>>,
}

impl Issuers {
    /// The issuers of this installation.
    #[must_use]
    pub fn with_local(mut self, local: LocalKeys) -> Self {
        self.local = Some(local);
        self
    }

    /// Everybody else's.
    #[must_use]
    pub fn with_remote(mut self, remote: Arc<dyn IssuerKeys>) -> Self {
        self.remote = Some(remote);
        self
    }

    /// The keys of the provider that a token names as its issuer.
    pub(crate) async fn keys(
        &self,
        view: &View,
        provider: &OidcProvider,
        token: &Token,
    ) -> Result<Arc<KeySet>, NoKeys> {
        let issuer = format!("https://{}", provider.url);
        if let Some(set) = self.local(view, &issuer) {
            return Ok(Arc::new(set));
        }
        let nobody = || NoKeys::Unusable("no issuers outside this installation are known".into());
        let remote = self.remote.as_ref().ok_or_else(nobody)?;
        let asked = Asked {
            issuer: &issuer,
            thumbprints: &provider.thumbprints,
            key_id: token.key_id(),
        };
        remote.keys(asked).await
    }

    /// The keys of an issuer of this installation.
    pub(crate) fn local(&self, view: &View, issuer: &str) -> Option<KeySet> {
        let set = self.local.as_ref()?(view, issuer)?;
        KeySet::parse(&set)
    }
}
