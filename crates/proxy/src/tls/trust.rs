//! Which clients a listener admits by their certificates.
//!
//! A client is judged in its handshake and at each request, because a certificate may end or be revoked while its connection is
//! open, and a session that is resumed shows no certificate again. What was found is kept with the connection for as long as
//! the listener trusts the same and nothing of the chain has ended.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lath_ca::Certificate;
use lath_feed::{MutualTls, MutualTlsMode};
use lath_model::Timestamp;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
};
use webpki::{Cert, EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};

/// The most certificates that a client may present.
const MOST_CERTIFICATES: usize = 10;

/// The most bytes that they may have together. A ticket has all of them, and a ClientHello that brings one back may not be longer than
/// [`crate::client_hello::LONGEST`]; targets get them in a header.
const LONGEST_CHAIN: usize = 12 * 1024;

/// In milliseconds.
const SECOND: i64 = 1000;

/// Whom a listener admits.
pub(crate) struct Trust {
    source: MutualTls,
    anchors: Vec<Anchor>,
    revoked: HashSet<Number>,
    /// What the names of the installation's workloads begin with, and the authority that alone may certify them.
    reserved: Option<(String, TrustAnchor<'static>)>,
    provider: Arc<CryptoProvider>,
}

/// An authority that is trusted.
struct Anchor {
    trust: TrustAnchor<'static>,
    end: Timestamp,
}

/// A certificate among all: its issuer's name, DER without the outermost tag, and its serial number without leading zeros.
#[derive(PartialEq, Eq, Hash)]
struct Number(Vec<u8>, Vec<u8>);

impl Number {
    fn of(certificate: &Cert<'_>) -> Self {
        Self(
            certificate.issuer().to_vec(),
            trimmed(certificate.serial()).to_vec(),
        )
    }
}

fn trimmed(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|it| **it == 0).count();
    &serial[zeros..]
}

/// Why a client is not admitted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refused(pub(crate) CertificateError);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            CertificateError::Expired => "it has ended",
            CertificateError::NotValidYet => "it is not valid yet",
            CertificateError::Revoked => "it is revoked",
            CertificateError::UnknownIssuer => "no authority that is trusted issued it",
            CertificateError::BadSignature => "a signature in its chain is wrong",
            CertificateError::InvalidPurpose => "it is not for clients",
            CertificateError::BadEncoding => "it is malformed, or its chain is too long",
            _ => "it cannot be verified",
        })
    }
}

impl Trust {
    /// What a listener trusts. An authority that cannot be read is left out, so that its clients are not admitted.
    pub(crate) fn of(source: &MutualTls) -> Self {
        let mut revoked = HashSet::new();
        for list in &source.revoked {
            let Some(authority) = one(&list.authority) else {
                tracing::error!(
                    "an authority whose list of revoked certificates came is malformed"
                );
                continue;
            };
            let Ok(read) = EndEntityCert::try_from(&authority) else {
                continue;
            };
            let serials = list.serials.iter().filter_map(|it| bytes(it));
            let subject = read.subject();
            revoked.extend(serials.map(|it| Number(subject.to_vec(), trimmed(&it).to_vec())));
        }
        let anchors = source.anchors.iter().filter_map(|pem| {
            let der = one(pem)?;
            let found = anchor(&der, &revoked);
            if found.is_none() {
                tracing::error!("an authority that a listener trusts is malformed, or was revoked");
            }
            found
        });
        let reserved = source.reserved.as_ref().and_then(|it| {
            let authority = one(&it.authority)?;
            let anchor = anchor_from_trusted_cert(&authority).ok()?.to_owned();
            Some((format!("spiffe://{}/", it.trust_domain), anchor))
        });
        Self {
            reserved,
            anchors: anchors.collect(),
            revoked,
            source: source.clone(),
            provider: lath_health::tls::provider(),
        }
    }

    /// Whether it was made of the same.
    pub(crate) fn is_of(&self, source: &MutualTls) -> bool {
        self.source == *source
    }

    /// Whether clients' certificates are verified.
    pub(crate) fn verifies(&self) -> bool {
        self.source.mode == MutualTlsMode::Verify
    }

    /// Whether a client with this chain is admitted, and until when that needs no second look.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Timestamp, Refused> {
        let refused = |error| Err(Refused(error));
        let length: usize = chain.iter().map(|it| it.len()).sum();
        let [leaf, above @ ..] = chain else {
            return refused(CertificateError::UnknownIssuer);
        };
        if chain.len() > MOST_CERTIFICATES || length > LONGEST_CHAIN {
            return refused(CertificateError::BadEncoding);
        }
        let read: Result<Vec<_>, _> = chain.iter().map(|it| Certificate::parse(it)).collect();
        let Ok(read) = read else {
            return refused(CertificateError::BadEncoding);
        };
        let far = Timestamp::from_millis(i64::MAX);
        if !self.verifies() {
            return Ok(far);
        }
        let ends = read.iter().map(|it| end(it.not_after));
        let ignores = self.source.ignore_expiry;
        let leaf = EndEntityCert::try_from(leaf);
        let leaf = leaf.map_err(|_| Refused(CertificateError::BadEncoding))?;
        let standing = |it: &&Anchor| ignores || it.end > now;
        let standing: Vec<_> = self.anchors.iter().filter(standing).collect();
        let anchors: Vec<_> = standing.iter().map(|it| it.trust.clone()).collect();
        let verify = |at: Timestamp| self.verify(&leaf, above, &anchors, at);
        match verify(now) {
            Err(Refused(CertificateError::Expired)) if ignores => {
                // As it was in the last second of what ended first.
                let last = ends.clone().min().unwrap_or(now).as_millis() - SECOND;
                verify(Timestamp::from_millis(last))?;
            }
            judged => judged?,
        }
        if ignores {
            return Ok(far);
        }
        let ends = ends.chain(standing.iter().map(|it| it.end));
        Ok(ends.filter(|end| *end > now).min().unwrap_or(now))
    }

    fn verify(
        &self,
        leaf: &EndEntityCert<'_>,
        above: &[CertificateDer<'_>],
        anchors: &[TrustAnchor<'_>],
        at: Timestamp,
    ) -> Result<(), Refused> {
        let seconds = u64::try_from(at.as_millis().div_euclid(1000)).unwrap_or(0);
        let is_sound = |path: &VerifiedPath<'_>| {
            let mut certificates =
                std::iter::once(&**path.end_entity()).chain(path.intermediate_certificates());
            match () {
                () if certificates.any(|it| self.revoked.contains(&Number::of(it))) => {
                    Err(webpki::Error::CertRevoked)
                }
                () if self.is_usurped(path) => Err(webpki::Error::NameConstraintViolation),
                () => Ok(()),
            }
        };
        let verified = leaf.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            anchors,
            above,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            KeyUsage::client_auth(),
            None,
            Some(&is_sound),
        );
        verified.map(drop).map_err(|error| Refused(reason(&error)))
    }
}

impl Trust {
    /// Whether a path certifies a name that another authority alone may certify.
    fn is_usurped(&self, path: &VerifiedPath<'_>) -> bool {
        let Some((start, authority)) = &self.reserved else {
            return false;
        };
        let anchor = path.anchor();
        let is_its = anchor.subject == authority.subject
            && anchor.subject_public_key_info == authority.subject_public_key_info;
        let mut names = path.end_entity().valid_uri_names();
        !is_its
            && names.any(|it| {
                it.get(..start.len())
                    .is_some_and(|it| it.eq_ignore_ascii_case(start))
            })
    }
}

/// The only certificate in a PEM text.
fn one(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

fn anchor(der: &CertificateDer<'_>, revoked: &HashSet<Number>) -> Option<Anchor> {
    let read = EndEntityCert::try_from(der).ok()?;
    let is_revoked = revoked.contains(&Number::of(&read));
    let trust = anchor_from_trusted_cert(der).ok()?.to_owned();
    let end = end(Certificate::parse(der).ok()?.not_after);
    (!is_revoked).then_some(Anchor { trust, end })
}

/// When something is not valid any more: its last second is valid to its end (RFC 5280 section 4.1.2.5), as webpki has it too.
fn end(not_after: Timestamp) -> Timestamp {
    Timestamp::from_millis(not_after.as_millis().saturating_add(SECOND))
}

/// Bytes in hexadecimal.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let is_odd = text.len() % 2 == 1;
    let even = match is_odd {
        true => format!("0{text}"),
        false => text.to_owned(),
    };
    let pairs = even.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

fn reason(error: &webpki::Error) -> CertificateError {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } | E::InvalidCertValidity => CertificateError::Expired,
        E::CertNotValidYet { .. } => CertificateError::NotValidYet,
        E::CertRevoked => CertificateError::Revoked,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) | E::CaUsedAsEndEntity => CertificateError::InvalidPurpose,
        _ => CertificateError::ApplicationVerificationFailure,
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("mode", &self.source.mode)
            .finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Trust {
    fn client_auth_mandatory(&self) -> bool {
        self.verifies()
    }

    /// A client is not told whom the listener trusts.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(leaf).chain(above).cloned().collect();
        let millis = i64::try_from(now.as_secs().saturating_mul(1000)).unwrap_or(i64::MAX);
        let judged = self.judge(&chain, Timestamp::from_millis(millis));
        judged.map_err(|refused| Error::InvalidCertificate(refused.0))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    #[test]
    fn the_last_second_of_a_certificate_is_the_end_of_a_verdict() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2031, 1, 1);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let key = KeyPair::generate().unwrap();
        let chain = [params.signed_by(&key, &authority).unwrap().der().clone()];
        let mut source = MutualTls {
            mode: MutualTlsMode::Verify,
            anchors: vec![authority.pem()],
            ignore_expiry: false,
            revoked: Vec::new(),
            reserved: None,
        };
        let trust = Trust::of(&source);
        let last = Certificate::parse(&chain[0]).unwrap().not_after;
        let at = |millis: i64| Timestamp::from_millis(last.as_millis() + millis);
        for now in [-1, 0, 1, 999] {
            assert_eq!(trust.judge(&chain, at(now)), Ok(at(1000)), "{now}");
        }
        let expired = Refused(CertificateError::Expired);
        assert_eq!(trust.judge(&chain, at(1000)), Err(expired));
        source.ignore_expiry = true;
        assert!(Trust::of(&source).judge(&chain, at(1000)).is_ok());
    }
}
