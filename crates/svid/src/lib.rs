//! Who workloads are, and certificates that prove it: X.509-SVIDs of SPIFFE
//! (<https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>), issued on the node by an authority of its region below
//! the installation's root, so that control may be dead.
//!
//! ```
//! use lath_svid::names;
//!
//! let id = names::instance("lath-0a1b2c3d", ("111122223333", "us-east-1"), Some("till"), "i-0123456789abcdef0");
//! assert_eq!(id, "spiffe://lath-0a1b2c3d/111122223333/us-east-1/role/till/i-0123456789abcdef0");
//! ```
//!
//! Not here: who asks (the metadata service, the agent inside nodes), and what a certificate is good for.

pub mod names;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lath_ca::{
    Certificate, Constraint, KeyAlgorithm, PrivateKey, Profile, SignatureAlgorithm, Signer, Subject,
};
use lath_feed::{Instance, Snapshot, WorkloadAuthority};
use lath_model::Timestamp;
use lath_model::id::VpcId;

/// How long a certificate is valid. It is replaced when half of that is left.
pub const LIFE: Duration = Duration::from_secs(3600);

/// Clocks may be late.
const SLACK: Duration = Duration::from_secs(300);

/// The most identities that are kept.
const MOST: usize = 4096;

/// A workload's certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Svid {
    /// Grows with each that is issued: connections that were made with one are found by it.
    pub serial: u64,
    /// Whom it names.
    pub spiffe_id: String,
    /// The certificate, and the authority's below the root, DER.
    pub chain: Vec<Vec<u8>>,
    /// Its key.
    pub key: PrivateKey,
    /// When it ends.
    pub not_after: Timestamp,
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Svid({})", self.spiffe_id)
    }
}

impl Svid {
    /// The certificate and the authority's, PEM.
    pub fn chain_pem(&self) -> String {
        let chain = self.chain.iter();
        chain
            .map(|der| lath_ca::encode("CERTIFICATE", der))
            .collect()
    }
}

/// Issues certificates to the workloads of a node.
#[derive(Default)]
pub struct Issuer(Mutex<Open>);

#[derive(Default)]
struct Open {
    of: Option<Arc<WorkloadAuthority>>,
    signer: Option<(Signer, Timestamp)>,
    issued: HashMap<String, Arc<Svid>>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issuer(..)")
    }
}

impl Issuer {
    /// The certificate for a name that this authority certifies: the one that was issued before while more than half of its life
    /// is left, else a new one with a new key. `None`: the authority has ended or cannot sign, which the log says.
    pub fn issue(
        &self,
        authority: &Arc<WorkloadAuthority>,
        spiffe_id: &str,
        now: Timestamp,
    ) -> Option<Arc<Svid>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !open
            .of
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, authority))
        {
            let is_same = open.of.as_ref() == Some(authority);
            open.of = Some(Arc::clone(authority));
            if !is_same {
                open.issued.clear();
                open.signer = signer(authority);
            }
        }
        let is_fresh = |it: &Arc<Svid>| it.not_after.since(now) > LIFE / 2;
        if let Some(known) = open.issued.get(spiffe_id).filter(|it| is_fresh(it)) {
            return Some(Arc::clone(known));
        }
        let (signer, end) = open.signer.as_ref()?;
        let not_after = now.plus(LIFE).min(*end);
        let made = (not_after > now).then(|| sign(signer, spiffe_id, now, not_after));
        let Some(made) = made.flatten().map(Arc::new) else {
            tracing::error!(
                spiffe.id = spiffe_id,
                "a workload cannot be given a certificate: its region's authority has ended or cannot sign"
            );
            return None;
        };
        if open.issued.len() >= MOST {
            open.issued.retain(|_, it| is_fresh(it));
        }
        if open.issued.len() >= MOST {
            open.issued.clear();
        }
        open.issued.insert(spiffe_id.to_owned(), Arc::clone(&made));
        Some(made)
    }
}

fn signer(authority: &WorkloadAuthority) -> Option<(Signer, Timestamp)> {
    let key = PrivateKey::from_pem(authority.certificate.key.0.as_bytes()).ok()?;
    let chain = Certificate::all_from_pem(authority.certificate.chain.as_bytes()).ok()?;
    let end = chain.first()?.not_after;
    let chain = chain.into_iter().map(|it| it.der).collect();
    let algorithm = SignatureAlgorithm::of(key.algorithm());
    Some((Signer::open(&key, algorithm, chain).ok()?, end))
}

fn sign(signer: &Signer, spiffe_id: &str, now: Timestamp, not_after: Timestamp) -> Option<Svid> {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let key = PrivateKey::generate(KeyAlgorithm::P256).ok()?;
    let profile = Profile {
        // Without a common name, which some take for a host's.
        subject: Subject::default().with("2.5.4.10", "Lath"),
        names: Vec::new(),
        uris: vec![spiffe_id.to_owned()],
        not_before: Timestamp::from_millis(now.as_millis() - SLACK.as_millis() as i64),
        not_after,
        constraint: Constraint::Leaf,
        // digitalSignature.
        key_usages: 1,
        extended_key_usages: ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]
            .map(str::to_owned)
            .to_vec(),
        names_no_hosts: false,
    };
    let leaf = signer.sign(key.public(), key.algorithm(), &profile).ok()?;
    let above = signer.chain().iter().cloned();
    Some(Svid {
        serial: SERIAL.fetch_add(1, Relaxed),
        spiffe_id: spiffe_id.to_owned(),
        not_after: leaf.not_after,
        chain: std::iter::once(leaf.der).chain(above).collect(),
        key,
    })
}

/// The name of an instance; `None` where the installation gives workloads none.
pub fn instance(snapshot: &Snapshot, instance: &Instance) -> Option<String> {
    let domain = &snapshot.workload_authority.as_ref()?.trust_domain;
    let profile = instance.metadata.profile.as_ref();
    let role = profile.and_then(|it| it.role.as_deref());
    let place = (snapshot.account.as_str(), snapshot.region.as_str());
    Some(names::instance(domain, place, role, instance.id.as_str()))
}

/// The name of the instance that has an address of a VPC. A pod's address is its node's.
pub fn at(snapshot: &Snapshot, vpc: &VpcId, address: IpAddr) -> Option<String> {
    let IpAddr::V4(address) = address else {
        return None;
    };
    let found = owner(snapshot, vpc, address)?;
    instance(snapshot, found)
}

fn owner<'a>(snapshot: &'a Snapshot, vpc: &VpcId, address: Ipv4Addr) -> Option<&'a Instance> {
    let interface = snapshot.interface_at(vpc, address)?;
    let workload = &interface.attachment.as_ref()?.workload;
    snapshot.instances.get(workload.instance()?).map(|it| &**it)
}
