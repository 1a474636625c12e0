//! What the issuer of a cluster's service account tokens publishes: what it is, and the keys that verify them.

use lath_feed::ControlPlane;
use serde_json::Value;

use crate::pki;

/// The document at a path of an issuer's host, `/id/HEX/.well-known/openid-configuration` or `/id/HEX/keys`, where it is one
/// of this cluster's.
pub fn document(plane: &ControlPlane, path: &str) -> Option<Value> {
    let (_, own) = plane.issuer_place()?;
    match path.strip_prefix(own)? {
        "/.well-known/openid-configuration" => Some(pki::discovery(&plane.issuer)),
        "/keys" => pki::key_set(&plane.keys).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn an_issuer_publishes_two_documents() {
        let plane = testing::plane();
        let own = "/id/0123456789ABCDEF0123456789ABCDEF";
        let found = document(&plane, &format!("{own}/.well-known/openid-configuration")).unwrap();
        assert_eq!(found["issuer"], plane.issuer);
        let keys = found["jwks_uri"].as_str().unwrap();
        let keys = keys.strip_prefix("https://oidc.eks.us-east-1.amazonaws.com");
        let keys = document(&plane, keys.unwrap()).unwrap();
        assert_eq!(keys, pki::key_set(&plane.keys).unwrap());
        for path in [own, "/", "", "/keys", "/id/0/keys"] {
            assert_eq!(document(&plane, path), None, "{path}");
        }
        assert_eq!(document(&plane, &format!("{own}/keys/more")), None);
    }
}
