//! The files of the installation's certificate authority, shared by all its regions.

use std::path::Path;

use anyhow::{Context as _, ensure};
use lath_ca::{Authority, Stored};
use lath_secrets::{KeyError, SealingKey};

/// What seals private keys of certificates, in the state and in [`AUTHORITY`].
pub(crate) const KEY: &str = "certificate-key";
/// The root certificate and its sealed key.
pub(crate) const AUTHORITY: &str = "certificate-authority.json";
/// For errors.
const WHAT_KEY: &str = "the key that seals private keys of certificates. Put it back from a backup: without it certificates of ACM cannot be used. To begin anew, remove it and certificate-authority.json, and import or request the certificates again";
/// For errors.
const WHAT_AUTHORITY: &str = "the installation's certificate authority (JSON with Certificate and PrivateKey), sealed with certificate-key. Put both back from a backup, or remove this one: a new authority is made, which clients do not trust yet (`lath ca`)";

/// Loads the key that seals private keys; makes it at the first use.
///
/// # Errors
/// The file cannot be read or written, or holds something else.
pub(crate) fn sealing_key(installation: &Path) -> Result<SealingKey, KeyError> {
    lath_secrets::kept(installation, KEY, WHAT_KEY, SealingKey::parse, || {
        SealingKey::random().reveal().to_owned()
    })
}

/// Loads the authority; makes it at the first use.
///
/// # Errors
/// A file cannot be read or written, or holds something else.
pub(crate) fn load_or_create(installation: &Path) -> anyhow::Result<Authority> {
    // A file that is there is never replaced, so that what is made here is mostly for nothing.
    let is_there = installation.join(AUTHORITY).exists();
    // A new key would open nothing of what the lost one sealed.
    ensure!(
        !is_there || installation.join(KEY).exists(),
        "{} is missing: {WHAT_KEY}",
        installation.join(KEY).display()
    );
    let sealing = sealing_key(installation)?;
    let made =
        (!is_there).then(|| Authority::generate(&sealing, lath_clock::Clock::system().now()));
    let made = made
        .transpose()
        .context("cannot make the certificate authority")?;
    let parse = |text: &[u8]| {
        let stored: Stored = serde_json::from_slice(text).ok()?;
        Authority::open(&stored, sealing.clone())
    };
    let make = || serde_json::to_string_pretty(&made).unwrap_or_default();
    let authority = lath_secrets::kept(installation, AUTHORITY, WHAT_AUTHORITY, parse, make);
    Ok(authority?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_has_one_authority() {
        let directory = tempfile::tempdir().unwrap();
        let made = load_or_create(directory.path()).unwrap();
        let found = load_or_create(directory.path()).unwrap();
        assert_eq!(made.root_pem(), found.root_pem());
        let text = std::fs::read_to_string(directory.path().join(AUTHORITY)).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "the key is sealed");
        std::fs::write(directory.path().join(KEY), SealingKey::random().reveal()).unwrap();
        let error = load_or_create(directory.path()).unwrap_err().to_string();
        assert!(
            error.contains("certificate-authority.json is damaged"),
            "{error}"
        );
        std::fs::remove_file(directory.path().join(KEY)).unwrap();
        let error = load_or_create(directory.path()).unwrap_err().to_string();
        assert!(error.contains("certificate-key is missing"), "{error}");
        assert!(!directory.path().join(KEY).exists());
    }
}
