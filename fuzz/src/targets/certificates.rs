//! What callers bring to ACM and ACM PCA: PEM of certificates, private keys and signing requests.

use lath_ca::{Certificate, PrivateKey, SigningRequest, verify};

pub(super) fn run(bytes: &[u8]) {
    if let Ok(all) = Certificate::all_from_pem(bytes) {
        assert!(!all.is_empty());
        let text: String = all.iter().map(Certificate::pem).collect();
        let again = Certificate::all_from_pem(text.as_bytes());
        assert_eq!(again.as_ref(), Ok(&all), "what was read is written so that it is read again");
        let _ = verify(&all[0], &all[1..]);
    }
    if let Ok(key) = PrivateKey::from_pem(bytes) {
        let again = PrivateKey::from_pem(key.reveal_pem().as_bytes());
        assert!(again.is_ok_and(|again| again == key));
    }
    let _ = SigningRequest::from_pem(bytes);
    // Past the frame, where most of the parser is.
    let _ = Certificate::parse(bytes);
    let _ = PrivateKey::from_pkcs8(bytes);
    let _ = SigningRequest::parse(bytes);
}
