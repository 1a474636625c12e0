//! Verification of a signed request.

use std::time::{Duration, SystemTime};

use crate::claim::incomplete;
use crate::{Claim, Payload, Request, Secret, SigError, canonical, date, key};

/// What a key is: its secret, and whose it is.
#[derive(Debug, Clone)]
pub struct Credential<Owner> {
    /// The secret access key.
    pub secret: Secret,
    /// Whose key it is, in the caller's terms.
    pub owner: Owner,
}

/// Why a key is not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupError {
    /// No such key, or it is inactive.
    UnknownKey,
    /// The session token is missing, or not this key's, or not expected.
    BadToken,
    /// The session has ended.
    ExpiredToken,
}

/// Where keys are found.
pub trait Credentials: Send + Sync {
    /// What the caller wants to know about a key's holder.
    type Owner;

    /// Finds a key by its id, checking the session token that came with it.
    ///
    /// # Errors
    /// Why the key is not usable.
    fn lookup(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
    ) -> Result<Credential<Self::Owner>, LookupError>;
}

/// A proved claim.
#[derive(Debug, Clone)]
pub struct Verified<Owner> {
    /// What was claimed and is now proved.
    pub claim: Claim,
    /// Whose key it is.
    pub owner: Owner,
}

/// Verifies a request's signature at `now`.
///
/// The date must lie within five minutes of `now` (fifteen for EC2 and S3, as AWS does), a presigned
/// one within its `X-Amz-Expires`.
///
/// # Errors
/// Why the request is not believed.
pub fn verify<C: Credentials + ?Sized>(
    request: &Request<'_>,
    credentials: &C,
    now: SystemTime,
) -> Result<Verified<C::Owner>, SigError> {
    let claim = Claim::read(request)?;
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
    let dated = claim.is_presigned() || signed("x-amz-date") || signed("date");
    if !dated {
        return Err(incomplete(
            "'x-amz-date' must be a 'SignedHeader' in the AWS Authorization.",
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

fn tolerance_minutes(service: &str) -> u64 {
    if matches!(service, "ec2" | "s3") {
        15
    } else {
        5
    }
}

fn check_time(claim: &Claim, signed: SystemTime, now: SystemTime) -> Result<(), SigError> {
    let minutes = tolerance_minutes(&claim.scope.service);
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
    match claim.expires {
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
    let text = canonical::string_to_sign(&claim.date, &claim.scope, &canonical);
    if key::same(
        &key::signature(secret, &claim.scope, &text),
        &claim.signature,
    ) {
        Ok(())
    } else {
        Err(SigError::Mismatch)
    }
}

/// The hash that the signer used: the announced one if it is true of the body, else the body's.
fn payload_hash(request: &Request<'_>, claim: &Claim) -> Result<String, SigError> {
    let Some(announced) = request.headers.get("x-amz-content-sha256") else {
        let unsigned = claim.is_presigned() && claim.scope.service == "s3";
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
