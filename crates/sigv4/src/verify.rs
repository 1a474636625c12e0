//! Verification of a signed request.

use std::time::{Duration, SystemTime};

use crate::claim::incomplete;
use crate::{
    Algorithm, Claim, Payload, Request, Secret, SigError, asymmetric, canonical, date, key,
};

/// A key's secret and owner.
#[derive(Debug, Clone)]
pub struct Credential<Owner> {
    /// The secret access key.
    pub secret: Secret,
    /// The owner, of a type that the caller chooses.
    pub owner: Owner,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupError {
    /// The key does not exist or is inactive.
    UnknownKey,
    /// The session token is missing, unexpected, or belongs to another key.
    BadToken,
    /// The session has expired.
    ExpiredToken,
}

/// Looks up keys.
pub trait Credentials: Send + Sync {
    /// The type of a key's owner.
    type Owner;

    /// Finds a key by its id and checks the session token that came with it.
    ///
    /// # Errors
    /// When the key cannot be used.
    fn lookup(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
    ) -> Result<Credential<Self::Owner>, LookupError>;
}

/// A verified claim.
#[derive(Debug, Clone)]
pub struct Verified<Owner> {
    /// The claim.
    pub claim: Claim,
    /// The owner of the key.
    pub owner: Owner,
}

/// Verifies a request's SigV4 signature at `now`.
///
/// The date must be within five minutes of `now` (fifteen for EC2 and S3, as in AWS), and for a presigned
/// request within its `X-Amz-Expires`, if any. Presigned requests to STS are always valid for fifteen minutes,
/// because the tokens of Kubernetes clients are such requests and rely on it
/// (<https://github.com/kubernetes-sigs/aws-iam-authenticator>).
///
/// # Errors
/// When the signature is not valid.
pub fn verify<C: Credentials + ?Sized>(
    request: &Request<'_>,
    credentials: &C,
    now: SystemTime,
) -> Result<Verified<C::Owner>, SigError> {
    let claim = Claim::read(request)?;
    if claim.algorithm != Algorithm::HmacSha256 {
        return Err(incomplete(
            "Unsupported algorithm: this service takes AWS4-HMAC-SHA256 only.",
        ));
    }
    prove(claim, request, credentials, now)
}

/// Like [`verify`], for services that also accept SigV4A. They must check the region themselves
/// ([`Claim::covers_region`]).
///
/// # Errors
/// When the signature is not valid.
pub fn verify_any<C: Credentials + ?Sized>(
    request: &Request<'_>,
    credentials: &C,
    now: SystemTime,
) -> Result<Verified<C::Owner>, SigError> {
    prove(Claim::read(request)?, request, credentials, now)
}

fn prove<C: Credentials + ?Sized>(
    claim: Claim,
    request: &Request<'_>,
    credentials: &C,
    now: SystemTime,
) -> Result<Verified<C::Owner>, SigError> {
    check_headers(&claim, request)?;
    let signed = check_scope_date(&claim)?;
    let credential = credentials
        .lookup(&claim.access_key_id, claim.session_token.as_deref())
        .map_err(|refusal| match refusal {
            LookupError::UnknownKey => SigError::UnknownKey,
            LookupError::BadToken => SigError::BadToken,
            LookupError::ExpiredToken => SigError::ExpiredToken,
        })?;
    check_time(&claim, signed, now)?;
    check_signature(&claim, request, &credential.secret)?;
    Ok(Verified {
        claim,
        owner: credential.owner,
    })
}

fn check_headers(claim: &Claim, request: &Request<'_>) -> Result<(), SigError> {
    let signed = |name: &str| {
        claim
            .signed_headers
            .iter()
            .any(|s| s.eq_ignore_ascii_case(name))
    };
    if !signed("host") {
        return Err(incomplete(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    let dated = claim.presigned || signed("x-amz-date") || signed("date");
    if !dated {
        return Err(incomplete(
            "'x-amz-date' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    if claim.algorithm == Algorithm::EcdsaP256Sha256
        && !claim.presigned
        && !signed("x-amz-region-set")
    {
        return Err(incomplete(
            "'x-amz-region-set' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    if request.headers.contains_key("x-amz-target") && !signed("x-amz-target") {
        return Err(incomplete(
            "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    Ok(())
}

fn check_scope_date(claim: &Claim) -> Result<SystemTime, SigError> {
    let signed = date::parse(&claim.date).ok_or_else(|| {
        incomplete(&format!(
            "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
            claim.date.chars().take(64).collect::<String>()
        ))
    })?;
    if claim.date.get(..8) == Some(claim.scope.date.as_str()) {
        Ok(signed)
    } else {
        Err(incomplete(&format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}', from '{}'.",
            claim.scope.date,
            &claim.date[..8],
            claim.date
        )))
    }
}

fn tolerance_minutes(claim: &Claim) -> u64 {
    match claim.scope.service.as_str() {
        "ec2" | "s3" => 15,
        "sts" if claim.presigned => 15,
        _ => 5,
    }
}

fn check_time(claim: &Claim, signed: SystemTime, now: SystemTime) -> Result<(), SigError> {
    let minutes = tolerance_minutes(claim);
    let tolerance = Duration::from_secs(minutes * 60);
    let newest = now + tolerance;
    if signed > newest {
        return Err(SigError::NotYetCurrent {
            signed,
            newest,
            now,
            minutes,
        });
    }
    match claim.expires.filter(|_| claim.scope.service != "sts") {
        Some(seconds) if now > signed + Duration::from_secs(seconds) => {
            Err(SigError::PresignExpired)
        }
        None if signed + tolerance < now => Err(SigError::Expired {
            signed,
            oldest: now - tolerance,
            now,
            minutes,
        }),
        _ => Ok(()),
    }
}

fn check_signature(claim: &Claim, request: &Request<'_>, secret: &Secret) -> Result<(), SigError> {
    let normalize = canonical::normalizes(&claim.scope.service);
    let hash = payload_hash(request, claim)?;
    let canonical = canonical::request(request, &claim.signed_headers, &hash, normalize)?;
    let text = canonical::string_to_sign(claim.algorithm, &claim.date, &claim.scope, &canonical);
    let signature = &claim.signature;
    let same = match claim.algorithm {
        Algorithm::HmacSha256 => key::same(&key::signature(secret, &claim.scope, &text), signature),
        Algorithm::EcdsaP256Sha256 => {
            asymmetric::verifies(secret, &claim.access_key_id, &text, signature)
        }
    };
    same.then_some(()).ok_or(SigError::Mismatch)
}

/// The hash that the signer used: the announced one if it is true of the body, else the body's.
fn payload_hash(request: &Request<'_>, claim: &Claim) -> Result<String, SigError> {
    let Some(announced) = request.headers.get("x-amz-content-sha256") else {
        let unsigned = claim.presigned && claim.scope.service == "s3";
        let body = if unsigned {
            Payload::Unsigned
        } else {
            request.body
        };
        return Ok(body.hash());
    };
    let announced = announced.to_str().map_err(|_| SigError::Mismatch)?;
    if announced == "UNSIGNED-PAYLOAD" {
        return Ok(announced.to_owned());
    }
    if announced.starts_with("STREAMING-") {
        return Err(incomplete("Chunk-signed bodies are not accepted here."));
    }
    let actual = request.body.hash();
    if key::same(&actual, &announced.to_ascii_lowercase()) {
        Ok(actual)
    } else {
        Err(SigError::Mismatch)
    }
}
