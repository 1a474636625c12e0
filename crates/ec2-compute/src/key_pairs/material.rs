//! Keys as bytes: making them, reading public ones, and AWS's fingerprints
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_ec2_records::KeyKind;
use md5::Md5;
use rand::TryRngCore;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use sha1::{Digest, Sha1};
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, Mpint, PrivateKey, PublicKey};

/// The size of RSA keys that AWS makes, in bits.
const RSA_BITS: usize = 2048;
/// The sizes that it imports.
const RSA_IMPORT_BITS: [usize; 4] = [1024, 2048, 3072, 4096];
/// A public key of 4096 bits takes some 750 bytes in OpenSSH form.
pub(super) const MAX_PUBLIC: usize = 16 * 1024;

/// A key that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("a key could not be made: {0}")]
pub(super) struct KeyFailure(String);

impl KeyFailure {
    fn of(cause: impl std::fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

/// The text is not a public key of a kind that EC2 takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Key is not in valid OpenSSH public key format")]
pub(crate) struct NotAKey;

/// The public half of a key, as EC2 keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicHalf {
    pub(crate) kind: KeyKind,
    pub(crate) fingerprint: String,
    /// On one line, with the key's name as its comment.
    pub(crate) openssh: String,
}

/// A new key: its public half and its PEM. Takes a core for a good part of a second (RSA).
pub(super) fn generate(kind: KeyKind, name: &str) -> Result<(PublicHalf, String), KeyFailure> {
    match kind {
        KeyKind::Rsa => generate_rsa(name),
        KeyKind::Ed25519 => generate_ed25519(name),
    }
}

/// PKCS#1 PEM; the fingerprint is the SHA-1 of the private key in PKCS#8 DER.
fn generate_rsa(name: &str) -> Result<(PublicHalf, String), KeyFailure> {
    let key = RsaPrivateKey::new(&mut rand_core::OsRng, RSA_BITS).map_err(KeyFailure::of)?;
    let pem = key.to_pkcs1_pem(LineEnding::LF).map_err(KeyFailure::of)?;
    let der = key.to_pkcs8_der().map_err(KeyFailure::of)?;
    let half = PublicHalf {
        kind: KeyKind::Rsa,
        fingerprint: colons(&Sha1::digest(der.as_bytes())),
        openssh: openssh_rsa(key.n(), key.e(), name).map_err(KeyFailure::of)?,
    };
    Ok((half, pem.trim_end().to_owned()))
}

/// OpenSSH PEM; the fingerprint is OpenSSH's.
fn generate_ed25519(name: &str) -> Result<(PublicHalf, String), KeyFailure> {
    let mut seed = [0; 32];
    let random = rand::rngs::OsRng.try_fill_bytes(&mut seed);
    random.map_err(KeyFailure::of)?;
    let pair = Ed25519Keypair::from_seed(&seed);
    let key = PrivateKey::new(pair.into(), name).map_err(KeyFailure::of)?;
    let pem = key.to_openssh(LineEnding::LF).map_err(KeyFailure::of)?;
    let openssh = key.public_key().to_openssh().map_err(KeyFailure::of)?;
    let half = PublicHalf {
        kind: KeyKind::Ed25519,
        fingerprint: ssh_fingerprint(key.public_key()),
        openssh,
    };
    // OpenSSH 9 refuses a file in its own format whose last line has no end.
    Ok((half, format!("{}\n", pem.trim_end())))
}

/// Reads a public key in one of the three forms that EC2 takes: OpenSSH, DER in base64 (PEM or bare), and
/// RFC 4716.
pub(crate) fn import(bytes: &[u8], name: &str) -> Result<PublicHalf, NotAKey> {
    if bytes.len() > MAX_PUBLIC {
        return Err(NotAKey);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NotAKey)?.trim();
    let mut key = if text.starts_with("---- BEGIN SSH2 PUBLIC KEY ----") {
        PublicKey::from_bytes(&decode(&rfc4716_body(text)?)?).map_err(|_| NotAKey)?
    } else if text.starts_with("ssh-") {
        PublicKey::from_openssh(text).map_err(|_| NotAKey)?
    } else {
        from_der(&decode(&pem_body(text))?)?
    };
    key.set_comment(name);
    public_half(&key)
}

fn public_half(key: &PublicKey) -> Result<PublicHalf, NotAKey> {
    let (kind, fingerprint) = match key.key_data() {
        KeyData::Ed25519(_) => (KeyKind::Ed25519, ssh_fingerprint(key)),
        KeyData::Rsa(rsa) => (KeyKind::Rsa, imported_rsa_fingerprint(&rsa.n, &rsa.e)?),
        _ => return Err(NotAKey),
    };
    Ok(PublicHalf {
        kind,
        fingerprint,
        openssh: key.to_openssh().map_err(|_| NotAKey)?,
    })
}

/// The MD5 of the public key in DER.
fn imported_rsa_fingerprint(n: &Mpint, e: &Mpint) -> Result<String, NotAKey> {
    let number = |mpint: &Mpint| mpint.as_positive_bytes().map(BigUint::from_bytes_be);
    let (n, e) = number(n).zip(number(e)).ok_or(NotAKey)?;
    if !RSA_IMPORT_BITS.contains(&n.bits()) {
        return Err(NotAKey);
    }
    let key = RsaPublicKey::new(n, e).map_err(|_| NotAKey)?;
    let der = key.to_public_key_der().map_err(|_| NotAKey)?;
    Ok(colons(&Md5::digest(der.as_bytes())))
}

fn from_der(der: &[u8]) -> Result<PublicKey, NotAKey> {
    let key = RsaPublicKey::from_public_key_der(der).map_err(|_| NotAKey)?;
    let line = openssh_rsa(key.n(), key.e(), "").map_err(|_| NotAKey)?;
    PublicKey::from_openssh(&line).map_err(|_| NotAKey)
}

fn openssh_rsa(n: &BigUint, e: &BigUint, comment: &str) -> Result<String, ssh_key::Error> {
    let data = ssh_key::public::RsaPublicKey {
        e: Mpint::from_positive_bytes(&e.to_bytes_be())?,
        n: Mpint::from_positive_bytes(&n.to_bytes_be())?,
    };
    PublicKey::new(KeyData::Rsa(data), comment).to_openssh()
}

/// OpenSSH's, but with the padding and without the `SHA256:`.
fn ssh_fingerprint(key: &PublicKey) -> String {
    STANDARD.encode(key.fingerprint(HashAlg::Sha256).as_bytes())
}

fn colons(digest: &[u8]) -> String {
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

fn decode(base64: &str) -> Result<Vec<u8>, NotAKey> {
    STANDARD.decode(base64).map_err(|_| NotAKey)
}

fn pem_body(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.starts_with("-----")).collect()
}

/// RFC 4716 section 3: headers hold a colon and go on after a backslash.
fn rfc4716_body(text: &str) -> Result<String, NotAKey> {
    let mut body = String::new();
    let mut in_header = false;
    for line in text.lines().map(str::trim).skip(1) {
        if line.starts_with("---- END") {
            return Ok(body);
        }
        if in_header || line.contains(':') {
            in_header = line.ends_with('\\');
        } else {
            body.push_str(line);
        }
    }
    Err(NotAKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::pkcs1::DecodeRsaPrivateKey;

    #[test]
    fn an_rsa_key_has_2048_bits_and_its_public_half_belongs_to_it() {
        let (half, pem) = generate(KeyKind::Rsa, "k").unwrap();
        assert!(pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
        assert!(pem.ends_with("-----END RSA PRIVATE KEY-----"));
        let private = RsaPrivateKey::from_pkcs1_pem(&pem).unwrap();
        assert_eq!(private.n().bits(), RSA_BITS);
        assert_eq!(
            half.openssh,
            openssh_rsa(private.n(), private.e(), "k").unwrap()
        );
        assert_eq!(half.fingerprint.len(), 20 * 3 - 1);
    }

    #[test]
    fn an_ed25519_key_reads_back() {
        let (half, pem) = generate(KeyKind::Ed25519, "k").unwrap();
        let key = PrivateKey::from_openssh(&pem).unwrap();
        assert_eq!(key.public_key().to_openssh().unwrap(), half.openssh);
        assert_eq!(import(half.openssh.as_bytes(), "k").unwrap(), half);
    }

    /// Fingerprints by `openssl pkey -pubin -outform DER | openssl md5 -c` and `ssh-keygen -l`.
    #[test]
    fn imported_keys_have_the_fingerprints_of_other_tools() {
        let table = [
            ("rsa, OpenSSH", RSA_OPENSSH, KeyKind::Rsa, RSA_MD5),
            ("rsa, PEM", RSA_PEM, KeyKind::Rsa, RSA_MD5),
            ("rsa, RFC 4716", RSA_RFC4716, KeyKind::Rsa, RSA_MD5),
            ("ed25519", ED_OPENSSH, KeyKind::Ed25519, ED_SHA256),
        ];
        for (name, given, kind, fingerprint) in table {
            let half = import(given.as_bytes(), "mine").unwrap();
            assert_eq!(
                (half.kind, half.fingerprint.as_str()),
                (kind, fingerprint),
                "{name}"
            );
            assert!(half.openssh.ends_with(" mine"), "{name}");
        }
    }

    #[test]
    fn other_text_is_no_key() {
        let long = "ssh-rsa ".to_owned() + &"A".repeat(MAX_PUBLIC);
        let table = [
            "",
            "ssh-rsa",
            "ssh-rsa AAAA",
            "ssh-dss AAAAB3NzaC1kc3MAAACBAK",
            "hello world",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA",
            &long,
        ];
        for text in table {
            assert_eq!(import(text.as_bytes(), "k"), Err(NotAKey), "{text:.40}");
        }
        assert_eq!(import(&[0xff, 0xfe], "k"), Err(NotAKey));
    }

    const RSA_MD5: &str = "cf:71:49:08:a3:d4:c1:61:56:c2:20:60:ed:e3:a9:cd";
    const ED_SHA256: &str = "0LcnJ7xmQxH+JhJpQYofpP6VdiKkWlfI/Rf50ZI832M=";
    const RSA_OPENSSH: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCfbNqS7yPrgDp5oqHrXq9Pf+Hot6s9HeKgt21ztcKdl8ZNkBvzq0/wYHb5t/DPnhPr8cwg0IveBO23ypkCUrE+w+H9qikD238qzAh3E+pQ+qEo+47s7FfnyBsTz12ucWJeR29Z9ZCjOTQdXyG0GF0AF4oRfKk+/hcIbRZFI6jNeWvkrtZiAcIGPMEPO/V/pXxsV+Ourixqkd5AmZfMguIi1SoTfrwvi1wxubQd6ISZZWw6DdSiexvR2tZsQMFdri7km3aYEUGjO1NLga147dUtjifPaK3ZnRrsl3SsPpCDmVL7hUXhO6Z+4cyHfrd8Ia7+KDJKH2obEH1c6e5sKaq9 c";
    const ED_OPENSSH: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHI7u/i3k80E+ozTJ6LcIuoNFQOelIxNXrqXqwMJv5sU c";
    const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAn2zaku8j64A6eaKh616v
T3/h6LerPR3ioLdtc7XCnZfGTZAb86tP8GB2+bfwz54T6/HMINCL3gTtt8qZAlKx
PsPh/aopA9t/KswIdxPqUPqhKPuO7OxX58gbE89drnFiXkdvWfWQozk0HV8htBhd
ABeKEXypPv4XCG0WRSOozXlr5K7WYgHCBjzBDzv1f6V8bFfjrq4sapHeQJmXzILi
ItUqE368L4tcMbm0HeiEmWVsOg3Uonsb0drWbEDBXa4u5Jt2mBFBoztTS4GteO3V
LY4nz2it2Z0a7Jd0rD6Qg5lS+4VF4TumfuHMh363fCGu/igySh9qGxB9XOnubCmq
vQIDAQAB
-----END PUBLIC KEY-----";
    const RSA_RFC4716: &str = r#"---- BEGIN SSH2 PUBLIC KEY ----
Comment: "2048-bit RSA, converted by root@vm from OpenSSH"
AAAAB3NzaC1yc2EAAAADAQABAAABAQCfbNqS7yPrgDp5oqHrXq9Pf+Hot6s9HeKgt21ztc
Kdl8ZNkBvzq0/wYHb5t/DPnhPr8cwg0IveBO23ypkCUrE+w+H9qikD238qzAh3E+pQ+qEo
+47s7FfnyBsTz12ucWJeR29Z9ZCjOTQdXyG0GF0AF4oRfKk+/hcIbRZFI6jNeWvkrtZiAc
IGPMEPO/V/pXxsV+Ourixqkd5AmZfMguIi1SoTfrwvi1wxubQd6ISZZWw6DdSiexvR2tZs
QMFdri7km3aYEUGjO1NLga147dUtjifPaK3ZnRrsl3SsPpCDmVL7hUXhO6Z+4cyHfrd8Ia
7+KDJKH2obEH1c6e5sKaq9
---- END SSH2 PUBLIC KEY ----"#;
}
