//! What a client presents in a handshake: the names in it become headers of one line each, and no listener that
//! has no authorities admits it.

pub(super) fn run(bytes: &[u8]) {
    let Some(told) = lath_proxy::fuzzing::client_certificate(bytes) else {
        return;
    };
    assert!(!told.admitted, "nobody is trusted");
    for (name, value) in &told.headers {
        assert!(name.starts_with("x-amzn-mtls-clientcert"), "{name}");
        let plain = value.bytes().all(|it| (b' '..=b'~').contains(&it));
        assert!(plain, "{name}: {value:?}");
    }
    // Neither the chain nor a member of the leaf is left out.
    assert_eq!(told.headers.len(), 6);
    if let Some(uri) = &told.spiffe_id {
        assert!(uri.starts_with("spiffe://"));
    }
}
