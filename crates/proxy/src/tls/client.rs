//! A client's certificate: whom it names, and how targets and policies see it.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::{Arc, Weak};

use http::{HeaderMap, HeaderName, HeaderValue};
use lath_ca::Certificate;
use lath_model::Timestamp;
use rustls::pki_types::CertificateDer;

use super::trust::{Refused, Trust};

/// As many listeners' verdicts are kept with a connection: more than one where a client asks several services over it.
const MOST_VERDICTS: usize = 8;

// As Application Load Balancers name and write them
// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/mutual-authentication.html>).
const CHAIN: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert");
const SERIAL: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-serial-number");
const ISSUER: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-issuer");
const SUBJECT: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-subject");
const VALIDITY: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-validity");
const LEAF: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-leaf");

/// What a client presented in a handshake, or in the one whose session it resumes.
#[derive(Debug)]
pub(crate) struct Presented {
    chain: Vec<CertificateDer<'static>>,
    leaf: Certificate,
    /// Weak, so that connections that wait keep no lists of revoked numbers that were replaced.
    verdicts: RefCell<Vec<(Weak<Trust>, Admission)>>,
}

/// Whether a client is admitted, and until when that holds.
type Admission = Result<Timestamp, Refused>;

impl Presented {
    /// `None` where there is nothing, or nothing that can be read.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = Certificate::parse(chain.first()?).ok()?;
        Some(Self {
            chain: chain.iter().map(|it| it.clone().into_owned()).collect(),
            leaf,
            verdicts: RefCell::default(),
        })
    }

    /// Whether a listener that trusts these admits the client now.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn judged_by(&self, trust: &Arc<Trust>, now: Timestamp) -> Result<(), Refused> {
        let mut verdicts = self.verdicts.borrow_mut();
        let is_its = |it: &Weak<Trust>| std::ptr::eq(it.as_ptr(), Arc::as_ptr(trust));
        let known = verdicts.iter().find(|(it, _)| is_its(it));
        match known {
            Some((_, Ok(until))) if now < *until => return Ok(()),
            // What has ended or was revoked does not become good again.
            Some((_, Err(refused))) if refused.0 != rustls::CertificateError::NotValidYet => {
                return Err(refused.clone());
            }
            _ => {}
        }
        let verdict = trust.judge(&self.chain, now);
        verdicts.retain(|(it, _)| !is_its(it) && it.strong_count() > 0);
        if verdicts.len() == MOST_VERDICTS {
            drop(verdicts.remove(0));
        }
        verdicts.push((Arc::downgrade(trust), verdict.clone()));
        verdict.map(drop)
    }

    /// Says in a request's head whom a listener that trusts these admitted.
    pub(crate) fn write_to(&self, trust: &Trust, headers: &mut HeaderMap) {
        let mut insert = |name: HeaderName, value: String| {
            // What is written is ASCII without control characters.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        if !trust.verifies() {
            insert(CHAIN, self.chain.iter().map(|it| quoted(it)).collect());
            return;
        }
        let leaf = &self.leaf;
        insert(SERIAL, self.serial().to_ascii_uppercase());
        insert(ISSUER, leaf.issuer.rfc2253());
        insert(SUBJECT, leaf.subject.rfc2253());
        let (from, to) = (leaf.not_before, leaf.not_after);
        let (from, to) = (from.iso8601_seconds(), to.iso8601_seconds());
        insert(VALIDITY, format!("NotBefore={from};NotAfter={to}"));
        insert(LEAF, quoted(&leaf.der));
    }

    /// The values of a condition key, whose name is in lower case.
    pub(crate) fn fact(&self, key: &str) -> Option<Vec<String>> {
        let one = |value: Option<&str>| value.map(|it| vec![it.to_owned()]);
        let all = |values: &[String]| (!values.is_empty()).then(|| values.to_vec());
        let leaf = &self.leaf;
        match key.strip_prefix("lath:")? {
            "x509subject/cn" => one(leaf.subject.common_name()),
            "x509issuer/cn" => one(leaf.issuer.common_name()),
            "x509issuer/ou" => one(leaf.issuer.get("2.5.4.11")),
            "x509san/dns" => all(&leaf.dns_names),
            "x509san/uri" => all(&leaf.uris),
            "x509serialnumber" => Some(vec![self.serial()]),
            "spiffeid" => one(self.spiffe_id()),
            _ => None,
        }
    }

    /// Its number in hexadecimal, without the byte that says that it is positive: as OpenSSL writes it.
    fn serial(&self) -> String {
        let digits = self.leaf.serial.replace(':', "");
        match digits.trim_start_matches("00") {
            "" => digits,
            number => number.to_owned(),
        }
    }

    /// The workload that it names. A certificate with several URIs names none
    /// (<https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>, section 2).
    pub(crate) fn spiffe_id(&self) -> Option<&str> {
        let [only] = self.leaf.uris.as_slice() else {
            return None;
        };
        only.starts_with("spiffe://").then_some(only)
    }
}

/// A certificate as PEM, escaped as in a URL, but for `+`, `=` and `/`.
fn quoted(der: &[u8]) -> String {
    let pem = lath_ca::encode("CERTIFICATE", der);
    let mut out = String::with_capacity(pem.len() + pem.len() / 8);
    for byte in pem.bytes() {
        match byte {
            b'+' | b'=' | b'/' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            it if it.is_ascii_alphanumeric() => out.push(char::from(it)),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}
