//! Files of logins for registries: a registry is found under its host alone, and no secret is printed.

use lath_registry::Credentials;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(credentials) = Credentials::parse(bytes) else {
        return;
    };
    assert!(!credentials.knows("https://ghcr.io") && !credentials.knows("index.docker.io"));
    // Members that have no meaning are skipped, and strings there may have escapes that are no characters.
    let Ok(parsed) = serde_json::from_slice::<serde_json::Value>(bytes) else {
        return;
    };
    let count = parsed["auths"].as_object().map_or(0, serde_json::Map::len);
    let printed = format!("{credentials:?}");
    assert!(count > 0 || printed == "{}");
}
