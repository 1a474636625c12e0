//! What is signed here is believed by OpenSSL, and what OpenSSL signs is read here.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lath_ca::{
    Authority, Certificate, Constraint, KeyAlgorithm, PrivateKey, Profile, SignatureAlgorithm,
    Signer, SigningRequest, Subject, issued, signing_request, verify,
};
use lath_model::Timestamp;
use lath_session::SealingKey;

const YEAR: Duration = Duration::from_secs(86400 * 365);

fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn openssl(directory: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new("openssl");
    command
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_installations_authority_signs_what_openssl_believes() {
    let authority = Authority::random(now()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    file(at, "root.pem", &authority.root_pem());
    let long = format!("{}.example.com", "a".repeat(60));
    for names in [&["*.example.com", "example.com"][..], &[&long]] {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let usable = authority.issue(&names, YEAR, now()).unwrap();
        assert_eq!(usable.names, names);
        let leaf = Certificate::parse(&usable.chain[0]).unwrap();
        assert_eq!(leaf.public, usable.key.public());
        assert!(verify(&leaf, std::slice::from_ref(authority.root())));
        assert!(!verify(&leaf, &[]) && !verify(&leaf, std::slice::from_ref(&leaf)));
        file(at, "leaf.pem", &leaf.pem());
        let strict = [
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-verify_hostname",
        ];
        let name = names[0].replace('*', "shop");
        let output = openssl(
            at,
            &[&strict[..], &[&name, "-CAfile", "root.pem", "leaf.pem"]].concat(),
        );
        assert!(output.status.success(), "{output:?}");
    }
    assert_ne!(
        Authority::random(now()).unwrap().root().subject,
        authority.root().subject
    );
}

#[test]
fn keys_are_opened_with_the_installations_key_only() {
    let sealing = SealingKey::random();
    let stored = Authority::generate(&sealing, now()).unwrap();
    assert!(Authority::open(&stored, SealingKey::random()).is_none());
    let authority = Authority::open(&stored, sealing).unwrap();
    for algorithm in [KeyAlgorithm::P384, KeyAlgorithm::Rsa2048] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let sealed = authority.seal(&key);
        assert!(authority.unseal(&sealed).unwrap() == key);
        assert!(Authority::random(now()).unwrap().unseal(&sealed).is_none());
        assert_eq!(format!("{sealed:?}"), "Sealed(..)");
    }
}

/// What `openssl` believes, it believes of the machine's time.
fn now() -> Timestamp {
    lath_clock::Clock::system().now()
}

fn profile(subject: &Subject, constraint: Constraint) -> Profile {
    let now = now();
    Profile {
        subject: subject.clone(),
        uris: Vec::new(),
        names_no_hosts: false,
        names: Vec::new(),
        not_before: now,
        not_after: now.plus(YEAR),
        constraint,
        key_usages: 0b110_0000,
        extended_key_usages: Vec::new(),
    }
}

/// A root that signs itself, an authority below it, and a leaf; each pair of algorithms signs once.
#[test]
fn authorities_of_every_kind_sign_chains() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (top, below) in [
        (KeyAlgorithm::P384, KeyAlgorithm::Rsa2048),
        (KeyAlgorithm::Rsa3072, KeyAlgorithm::P521),
        (KeyAlgorithm::P521, KeyAlgorithm::P256),
    ] {
        let name = Subject::common("Root").with("2.5.4.6", "US");
        let key = PrivateKey::generate(top).unwrap();
        let way = SignatureAlgorithm::of(top);
        let request = signing_request(&key, way, &name).unwrap();
        let request = SigningRequest::from_pem(request.as_bytes()).unwrap();
        assert_eq!((&request.subject, request.key_algorithm), (&name, top));
        let root = Signer::unsigned(&key, way, &name).unwrap();
        let root = root
            .sign(
                &request.public,
                top,
                &profile(&name, Constraint::Authority(Some(0))),
            )
            .unwrap();
        assert!(verify(&root, &[]));

        let signer = Signer::open(&key, way, vec![root.der.clone()]).unwrap();
        let lower = PrivateKey::generate(below).unwrap();
        let name = Subject::common("Lower");
        let middle = signer
            .sign(
                lower.public(),
                below,
                &profile(&name, Constraint::Authority(None)),
            )
            .unwrap();
        assert!(issued(&root, &middle) && !issued(&middle, &root));
        let signer = Signer::open(
            &lower,
            SignatureAlgorithm::of(below),
            vec![middle.der.clone()],
        );
        let leaf_key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let leaf = signer
            .unwrap()
            .sign(
                leaf_key.public(),
                KeyAlgorithm::P256,
                &profile(&Subject::common("leaf"), Constraint::Leaf),
            )
            .unwrap();
        // The root allows no authority below it.
        assert!(verify(&leaf, std::slice::from_ref(&middle)));
        assert!(!verify(&leaf, &[middle.clone(), root.clone()]));
        file(at, "root.pem", &root.pem());
        file(at, "middle.pem", &middle.pem());
        let output = openssl(
            at,
            &[
                "verify",
                "-x509_strict",
                "-CAfile",
                "root.pem",
                "middle.pem",
            ],
        );
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn what_openssl_makes_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let output = openssl(
        at,
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "key.pem",
            "-out",
            "c.pem",
            "-days",
            "30",
            "-subj",
            "/C=US/O=Example/CN=www.example.com",
            "-addext",
            "subjectAltName=DNS:www.example.com,DNS:*.example.com",
            "-addext",
            "extendedKeyUsage=serverAuth",
        ],
    );
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read(at.join("c.pem")).unwrap();
    let read = Certificate::all_from_pem(&text).unwrap().remove(0);
    let key = PrivateKey::from_pem(&std::fs::read(at.join("key.pem")).unwrap()).unwrap();
    assert_eq!(read.public, key.public());
    assert_eq!(
        read.subject.to_string(),
        "C=US,O=Example,CN=www.example.com"
    );
    assert_eq!(read.dns_names, ["www.example.com", "*.example.com"]);
    assert_eq!(read.key_algorithm, Some(KeyAlgorithm::Rsa2048));
    assert_eq!(read.signature_algorithm, "SHA256WITHRSA");
    assert_eq!(read.usages.extended, ["1.3.6.1.5.5.7.3.1"]);
    assert!(read.names_itself() && verify(&read, &[]));
    // One bit of the signature.
    let mut forged = read.der.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!(!verify(&Certificate::parse(&forged).unwrap(), &[]));
    assert!(Certificate::parse(&forged[1..]).is_err());
    assert!(Certificate::all_from_pem(b"").is_err());
}
