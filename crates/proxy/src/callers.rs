//! Who signs requests, and who was found to have sent one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use lath_policy::{Context, Facts, Kind, Policy, Principal};
use lath_sigv4::Credentials;

/// Who signed a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// Its own policies: what it is attached as, and the document.
    pub policies: Vec<(Kind, Arc<Policy>)>,
    /// What else is known of it, such as `aws:username`.
    pub facts: Context,
    /// Its tags: the values of `aws:PrincipalTag/...`.
    pub tags: BTreeMap<String, String>,
}

impl Facts for Caller {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        let one = |text: String| Some(vec![text]);
        match key {
            "aws:viaawsservice" => one("false".to_owned()),
            _ => match key.strip_prefix("aws:principaltag/") {
                Some(name) => self.tag(name).map(|value| vec![value.to_owned()]),
                None => self.facts.values(key),
            },
        }
    }
}

impl Caller {
    /// Who did not sign.
    pub(crate) fn anonymous() -> Self {
        Self {
            principal: Principal::Anonymous,
            policies: Vec::new(),
            facts: Context::default(),
            tags: BTreeMap::new(),
        }
    }

    fn tag(&self, name: &str) -> Option<&str> {
        let mut tags = self.tags.iter();
        let found = tags.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(found.1)
    }
}

/// Who sent a request, as far as anybody asked.
#[derive(Debug, Default)]
pub(crate) enum Sender {
    /// No policy asks.
    #[default]
    Unasked,
    /// A signature that proves nothing.
    Unknown,
    /// Who did not sign, or proved who it is.
    Known(Box<Caller>),
}

impl Sender {
    /// As access logs name it.
    pub(crate) fn resolved(&self) -> Option<String> {
        match self {
            Self::Unasked => None,
            Self::Unknown => Some("Unknown".to_owned()),
            Self::Known(caller) if caller.principal == Principal::Anonymous => {
                Some("Anonymous".to_owned())
            }
            Self::Known(caller) => Some(caller.principal.arn()),
        }
    }

    /// Who it was proved to be.
    pub(crate) fn proved(&self) -> Option<&Caller> {
        match self {
            Self::Known(caller) if caller.principal != Principal::Anonymous => Some(caller),
            _ => None,
        }
    }

    /// `x-amzn-lattice-identity`, for callers that proved who they are.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let arn = self.proved()?.principal.arn();
        HeaderValue::try_from(format!("Principal={arn}; Type=AWS_IAM")).ok()
    }
}

/// The keys that requests may be signed with.
#[derive(Clone)]
pub struct Callers(pub Arc<dyn Credentials<Owner = Caller>>);

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callers(..)")
    }
}
