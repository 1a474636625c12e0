//! Tokens that `aws eks get-token` makes: a presigned `GetCallerIdentity`, which names the cluster in a signed header.
//! The rules are those of AWS's verifier (<https://github.com/kubernetes-sigs/aws-iam-authenticator>), which sends the
//! request to STS; here the signature is verified at once, so that no host is asked and control may be dead.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Uri};
use lath_sigv4::{Credentials, Payload, Request, SigError, Verified, percent_decode, verify};

/// What a token begins with.
const PREFIX: &str = "k8s-aws-v1.";
/// The longest token, in bytes.
const LONGEST: usize = 4096;
/// The most seconds that the presigned request may name.
const MOST_SECONDS: u64 = 900;
/// The header that names the cluster.
const CLUSTER_HEADER: &str = "x-k8s-aws-id";
/// What the query may hold, in lower case.
const PARAMETERS: [&str; 9] = [
    "action",
    "version",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Why a token proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than any token.
    #[error("the token is longer than {LONGEST} bytes")]
    TooLong,
    /// It is another kind of token.
    #[error("the token does not begin with {PREFIX}")]
    OtherKind,
    /// It holds no URL.
    #[error("the token holds no URL: {0}")]
    NoUrl(&'static str),
    /// The URL is another request.
    #[error("the token is no presigned GetCallerIdentity: {0}")]
    OtherRequest(String),
    /// It is too old.
    #[error("the token is older than fifteen minutes, or not valid yet")]
    Expired,
    /// Its signature is wrong.
    #[error("{0}")]
    Signature(String),
}

/// A token's request. What it claims is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presigned {
    /// Whom it was presigned for: a public endpoint of STS, or Lath's own as the client calls it.
    host: String,
    query: String,
}

impl Presigned {
    /// Reads a token.
    ///
    /// Any host will do. AWS's verifier lists those of STS because it sends the request there; here the host is only a
    /// part of what was signed, and a client calls Lath's endpoint by whatever name its network gives it.
    ///
    /// # Errors
    /// When it is no such token.
    pub fn parse(token: &str) -> Result<Self, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::TooLong);
        }
        let encoded = token.strip_prefix(PREFIX).ok_or(TokenError::OtherKind)?;
        let url = URL_SAFE_NO_PAD.decode(encoded);
        let url = url.map_err(|_| TokenError::NoUrl("it is not base64"))?;
        let url = String::from_utf8(url).map_err(|_| TokenError::NoUrl("it is not text"))?;
        let url: Uri = url
            .parse()
            .map_err(|_| TokenError::NoUrl("it cannot be parsed"))?;
        let known = [Scheme::HTTP, Scheme::HTTPS];
        if !url.scheme().is_some_and(|it| known.contains(it)) {
            return Err(TokenError::NoUrl("its scheme is not HTTP"));
        }
        let authority = url.authority().ok_or(TokenError::NoUrl("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(TokenError::NoUrl("it names a user"));
        }
        if url.path() != "/" {
            return Err(other(format!("the path is {:?}", url.path())));
        }
        let presigned = Self {
            host: authority.as_str().to_owned(),
            query: url.query().unwrap_or_default().to_owned(),
        };
        presigned.check_query()?;
        Ok(presigned)
    }

    /// The token that holds a URL, as clients make it.
    pub fn token_of(url: &str) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(url))
    }

    fn check_query(&self) -> Result<(), TokenError> {
        let mut seen = Vec::new();
        for pair in self.query.split('&').filter(|it| !it.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| String::from_utf8_lossy(&percent_decode(text)).into_owned();
            let (name, value) = (decode(name).to_ascii_lowercase(), decode(value));
            if !PARAMETERS.contains(&name.as_str()) {
                return Err(other(format!("the parameter {name:?} is not known")));
            }
            match name.as_str() {
                "action" if value != "GetCallerIdentity" => {
                    return Err(other(format!("the action is {value:?}")));
                }
                "x-amz-expires" => {
                    let seconds: Option<u64> = value.parse().ok();
                    if seconds.is_none_or(|it| it > MOST_SECONDS) {
                        return Err(other(format!("it is to be valid for {value:?} seconds")));
                    }
                }
                "x-amz-signedheaders" if !names_the_cluster(&value) => {
                    return Err(other(format!("{CLUSTER_HEADER} is not signed")));
                }
                _ => {}
            }
            if seen.contains(&name) {
                return Err(other(format!("the parameter {name:?} is repeated")));
            }
            seen.push(name);
        }
        for needed in ["action", "x-amz-date", "x-amz-signedheaders"] {
            if !seen.iter().any(|it| it == needed) {
                return Err(other(format!("the parameter {needed:?} is missing")));
            }
        }
        Ok(())
    }

    /// Who signed it for the cluster of that name.
    ///
    /// # Errors
    /// When the signature is wrong, for another cluster, or too old.
    pub fn verify<C: Credentials + ?Sized>(
        &self,
        cluster: &str,
        credentials: &C,
        now: SystemTime,
    ) -> Result<Verified<C::Owner>, TokenError> {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", self.host.as_str()), (CLUSTER_HEADER, cluster)] {
            let value = HeaderValue::from_str(value);
            headers.insert(
                name,
                value.map_err(|_| TokenError::NoUrl("its host is none"))?,
            );
        }
        let request = Request {
            method: "GET",
            path: "/",
            query: &self.query,
            headers: &headers,
            body: Payload::Bytes(b""),
        };
        let verified = verify(&request, credentials, now).map_err(|error| match error {
            SigError::Expired { .. }
            | SigError::NotYetCurrent { .. }
            | SigError::PresignExpired => TokenError::Expired,
            error => TokenError::Signature(error.to_string()),
        })?;
        let claim = &verified.claim;
        if claim.scope.service != "sts" {
            let service = &claim.scope.service;
            return Err(other(format!("it is signed for the service {service:?}")));
        }
        // Named twice, a header of the signature could have two values.
        let names = |name: &str| {
            claim
                .signed_headers
                .iter()
                .filter(|it| it.eq_ignore_ascii_case(name))
                .count()
        };
        if claim.signed_headers.len() != 2 || names("host") != 1 || names(CLUSTER_HEADER) != 1 {
            return Err(other(
                "headers other than host and x-k8s-aws-id are signed".to_owned(),
            ));
        }
        Ok(verified)
    }
}

fn other(reason: String) -> TokenError {
    TokenError::OtherRequest(reason)
}

fn names_the_cluster(signed: &str) -> bool {
    signed
        .split(';')
        .any(|it| it.eq_ignore_ascii_case(CLUSTER_HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use lath_sigv4::{Credential, LookupError, Secret};

    struct One;

    impl Credentials for One {
        type Owner = &'static str;

        fn lookup(
            &self,
            id: &str,
            _token: Option<&str>,
        ) -> Result<Credential<Self::Owner>, LookupError> {
            (id == "AKIAANN")
                .then(|| Credential {
                    secret: Secret::new("secret"),
                    owner: "ann",
                })
                .ok_or(LookupError::UnknownKey)
        }
    }

    /// As botocore's `get-token` makes it, from <https://github.com/aws/aws-cli>'s `eks/get_token.py`.
    fn made_by_python(cluster: &str, region: &str, key: &str, extra: &str) -> String {
        let program = format!(
            "import base64,botocore.session as s,botocore.signers,datetime\n\
             from botocore.auth import SigV4QueryAuth\n\
             from botocore.awsrequest import AWSRequest\n\
             from botocore.credentials import Credentials\n\
             r=AWSRequest('GET','https://sts.{region}.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15{extra}',\
             headers={{'x-k8s-aws-id':'{cluster}'}})\n\
             SigV4QueryAuth(Credentials('{key}','secret'),'sts','{region}',expires=60).add_auth(r)\n\
             print('k8s-aws-v1.'+base64.urlsafe_b64encode(r.prepare().url.encode()).decode().rstrip('='))"
        );
        let made = std::process::Command::new("python3")
            .args(["-c", &program])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    fn has_botocore() -> bool {
        let found = std::process::Command::new("python3")
            .args(["-c", "import botocore"])
            .status();
        found.is_ok_and(|it| it.success())
    }

    #[test]
    fn a_token_proves_its_signer_to_its_cluster_for_a_quarter_of_an_hour() {
        if !has_botocore() {
            use std::io::Write as _;
            writeln!(std::io::stderr(), "SKIPPED: python3 has no botocore").unwrap();
            return;
        }
        let now = lath_clock::Clock::system().system_time();
        let token = made_by_python("blue", "eu-west-1", "AKIAANN", "");
        let presigned = Presigned::parse(&token).unwrap();
        let owner = |cluster: &str, at| presigned.verify(cluster, &One, at).map(|it| it.owner);
        assert_eq!(owner("blue", now), Ok("ann"));
        assert_eq!(owner("blue", now + Duration::from_secs(14 * 60)), Ok("ann"));
        let late = owner("blue", now + Duration::from_secs(16 * 60));
        assert_eq!(late, Err(TokenError::Expired));
        assert!(matches!(owner("green", now), Err(TokenError::Signature(_))));
        let stranger = made_by_python("blue", "eu-west-1", "AKIABOB", "");
        let stranger = Presigned::parse(&stranger).unwrap();
        assert!(stranger.verify("blue", &One, now).is_err());
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = "https://sts.amazonaws.com/?Action=GetCallerIdentity&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id";
        assert!(Presigned::parse(&Presigned::token_of(good)).is_ok());
        for bad in [
            good.to_owned(),
            "k8s-aws-v1.###".to_owned(),
            Presigned::token_of("nothing"),
            Presigned::token_of(&good.replace("https:", "ftp:")),
            Presigned::token_of(&good.replace("sts.", "me@sts.")),
            Presigned::token_of(&good.replace(".com/", ".com/x")),
            Presigned::token_of(&good.replace("GetCallerIdentity", "AssumeRole")),
            Presigned::token_of(&good.replace("=60", "=901")),
            Presigned::token_of(&good.replace("=60", "=x")),
            Presigned::token_of(&good.replace("x-k8s-aws-id", "x-other")),
            Presigned::token_of(&format!("{good}&action=GetCallerIdentity")),
            Presigned::token_of(&format!("{good}&x-evil=1")),
            Presigned::token_of(&good.replace("Action=GetCallerIdentity&", "")),
            Presigned::token_of(&format!("{good}{}", "&".repeat(LONGEST))),
        ] {
            assert!(Presigned::parse(&bad).is_err(), "{bad}");
        }
    }
}
