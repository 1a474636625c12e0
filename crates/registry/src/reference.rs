//! Names of images, in their full form.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// Where short names are, and what it is also called.
const DEFAULT_REGISTRY: &str = "docker.io";
const OTHER_NAMES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// What `nginx` alone is in there.
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
/// The specification's limit, for the registry and the repository together.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// The full name of an image: `nginx` is `docker.io/library/nginx:latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    target: Target,
}

/// Which of a repository's images.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The one that has this tag now.
    Tag(String),
    /// The one with this content.
    Digest(Digest),
}

/// The text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no image: {why}")]
pub struct InvalidReference {
    text: String,
    why: &'static str,
}

impl Reference {
    /// A name in parts. `registry` may be any that a short name stands for.
    ///
    /// # Errors
    /// A part is malformed, or the name is too long.
    pub fn new(registry: &str, repository: &str, target: Target) -> Result<Self, InvalidReference> {
        let invalid = |why| InvalidReference {
            text: format!("{registry}/{repository}")
                .chars()
                .take(300)
                .collect(),
            why,
        };
        let registry = if OTHER_NAMES.contains(&registry) {
            DEFAULT_REGISTRY
        } else {
            registry
        };
        if !is_registry(registry) {
            return Err(invalid("its registry is no host"));
        }
        if !repository.split('/').all(is_component) {
            return Err(invalid(
                "its parts are lower-case letters and digits, between which there may be . _ __ or hyphens",
            ));
        }
        if matches!(&target, Target::Tag(tag) if !is_tag(tag)) {
            return Err(invalid(
                "a tag is at most 128 letters, digits, _ . and -, and begins with none of the last two",
            ));
        }
        let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("{DEFAULT_NAMESPACE}/{repository}")
        } else {
            repository.to_owned()
        };
        if registry.len() + 1 + repository.len() > LONGEST_NAME {
            return Err(invalid("it is longer than 255 bytes"));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            target,
        })
    }

    /// The image of this content in the same repository.
    pub(crate) fn at(&self, digest: Digest) -> Self {
        Self {
            target: Target::Digest(digest),
            ..self.clone()
        }
    }

    /// The host that the image is from, such as `registry.k8s.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path there, such as `coredns/coredns`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Which of the repository's images.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// Whether a path's first component is a registry and not a part of a repository, as everybody reads short names.
pub(crate) fn looks_like_registry(component: &str) -> bool {
    component == "localhost" || component.contains(['.', ':'])
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |why| InvalidReference {
            text: text.chars().take(300).collect(),
            why,
        };
        let (registry, rest) = match text.split_once('/') {
            Some((first, rest)) if looks_like_registry(first) => (first, rest),
            _ => (DEFAULT_REGISTRY, text),
        };
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| invalid("its digest is malformed"))?;
                (rest, Some(digest))
            }
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, tag),
            None => (rest, DEFAULT_TAG),
        };
        // With both, the digest says which image it is, and the tag what it was called.
        let target = match digest {
            Some(_) if !is_tag(tag) => return Err(invalid("its tag is malformed")),
            Some(digest) => Target::Digest(digest),
            None => Target::Tag(tag.to_owned()),
        };
        Self::new(registry, repository, target).map_err(|error| invalid(error.why))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match &self.target {
            Target::Tag(tag) => write!(f, ":{tag}"),
            Target::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || it == b'-')
    };
    host.split('.').all(is_label)
        && port.is_none_or(|port| {
            (1..=5).contains(&port.len()) && port.bytes().all(|it| it.is_ascii_digit())
        })
}

fn is_component(text: &str) -> bool {
    let mut rest = text;
    loop {
        let word = rest.bytes().take_while(|it| is_word(*it)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let between = rest.bytes().take_while(|it| !is_word(*it)).count();
        let (separator, after) = rest.split_at(between.min(rest.len()));
        let is_separator = matches!(separator, "." | "_" | "__")
            || (!separator.is_empty() && separator.bytes().all(|it| it == b'-'));
        if !is_separator {
            return false;
        }
        rest = after;
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_tag(text: &str) -> bool {
    (1..=LONGEST_TAG).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"_.-".contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_those_of_docker_hub() {
        let zeros = "0".repeat(64);
        for (short, full) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.29", "docker.io/library/nginx:1.29".to_owned()),
            (
                "curlimages/curl",
                "docker.io/curlimages/curl:latest".to_owned(),
            ),
            (
                "index.docker.io/nginx",
                "docker.io/library/nginx:latest".to_owned(),
            ),
            (
                "registry.k8s.io/pause:3.10",
                "registry.k8s.io/pause:3.10".to_owned(),
            ),
            (
                "localhost:5000/a__b",
                "localhost:5000/a__b:latest".to_owned(),
            ),
            ("localhost/a", "localhost/a:latest".to_owned()),
            (
                &format!("nginx:1@sha256:{zeros}"),
                format!("docker.io/library/nginx@sha256:{zeros}"),
            ),
        ] {
            let reference: Reference = short.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(full.parse(), Ok(reference), "the full form names the same");
        }
    }

    #[test]
    fn what_names_no_image() {
        for text in [
            "",
            ":",
            "Nginx",
            "nginx:",
            "nginx:-1",
            "a//b",
            "a/../b",
            "a/",
            "/a",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "é",
            "a@sha256:12",
            "exa mple.com/a",
            "-x.com/a",
            "x.com:port/a",
            "x.com:/a",
            &"a".repeat(250),
            &format!("a:{}", "1".repeat(129)),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
