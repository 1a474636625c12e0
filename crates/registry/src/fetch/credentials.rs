//! User names and passwords for registries, from a file as `docker login` writes it.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// The largest file that is read.
const MAXIMUM: usize = 1 << 20;

/// Whom registries know.
#[derive(Default, Clone)]
pub struct Credentials(BTreeMap<String, Login>);

#[derive(Clone)]
struct Login {
    user: String,
    password: String,
}

/// The file is none of `docker login`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("credentials: {0}")]
pub struct InvalidCredentials(String);

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no such file.
    pub fn open(path: &Path) -> Result<Self, InvalidCredentials> {
        let bytes = std::fs::read(path)
            .map_err(|error| InvalidCredentials(format!("{}: {error}", path.display())))?;
        Self::parse(&bytes)
            .map_err(|error| InvalidCredentials(format!("{}: {}", path.display(), error.0)))
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// It is too large or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidCredentials> {
        if bytes.len() > MAXIMUM {
            return Err(InvalidCredentials("it is larger than 1 MiB".to_owned()));
        }
        // A list would be read as an object's members in order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(InvalidCredentials("it is no JSON object".to_owned()));
        }
        let file: File = serde_json::from_slice(bytes)
            .map_err(|error| InvalidCredentials(format!("it is no such file: {error}")))?;
        let mut all = BTreeMap::new();
        for (registry, entry) in file.auths {
            // An entry without a secret says that a helper program has it.
            if let Some(login) = login(&registry, entry)? {
                all.insert(host(&registry).to_owned(), login);
            }
        }
        Ok(Self(all))
    }

    /// The value of `Authorization` for a registry.
    pub(super) fn basic(&self, registry: &str) -> Option<String> {
        let login = self.0.get(registry)?;
        let plain = format!("{}:{}", login.user, login.password);
        Some(format!("Basic {}", STANDARD.encode(plain)))
    }

    /// Whether it says anything about a registry.
    pub fn knows(&self, registry: &str) -> bool {
        self.0.contains_key(registry)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn login(registry: &str, entry: Entry) -> Result<Option<Login>, InvalidCredentials> {
    if let (Some(user), Some(password)) = (entry.username, entry.password) {
        return Ok(Some(Login { user, password }));
    }
    let Some(auth) = entry.auth.filter(|it| !it.is_empty()) else {
        return Ok(None);
    };
    let bad = || {
        InvalidCredentials(format!(
            "auth of {registry:?} is no base64 of USER:PASSWORD"
        ))
    };
    let plain = STANDARD.decode(auth.trim()).map_err(|_| bad())?;
    let plain = String::from_utf8(plain).map_err(|_| bad())?;
    let (user, password) = plain.split_once(':').ok_or_else(bad)?;
    Ok(Some(Login {
        user: user.to_owned(),
        password: password.trim_end_matches('\0').to_owned(),
    }))
}

/// The registry that a key of the file means: Docker Hub's is a URL.
fn host(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or(rest) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_docker_login() {
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "YTpiOmM="}, "ghcr.io": {"username": "u", "password": "p"},
            "helped.example": {}
        }, "credsStore": "desktop"}"#;
        let read = Credentials::parse(text.as_bytes()).unwrap();
        assert_eq!(read.basic("docker.io").as_deref(), Some("Basic YTpiOmM="));
        assert_eq!(read.basic("ghcr.io").as_deref(), Some("Basic dTpw"));
        assert!(
            !read.knows("helped.example")
                && !format!("{read:?}").contains('p'.to_string().repeat(2).as_str())
        );
        for bad in [
            "",
            "[]",
            r#"{"auths":{"a":{"auth":"%"}}}"#,
            r#"{"auths":{"a":{"auth":"YQ=="}}}"#,
        ] {
            assert!(Credentials::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Credentials::parse(&vec![b' '; MAXIMUM + 1]).is_err());
    }
}
