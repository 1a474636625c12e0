//! Tokens that registries want, from where they say: <https://distribution.github.io/distribution/spec/auth/token/>.

use http_body_util::{BodyExt as _, Limited};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use serde::Deserialize;

use super::connection::Dialer;
use super::{FetchError, host_error, parsed};

const MAXIMUM: usize = 1 << 20;

#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
}

/// What to ask a registry with after its challenge, for `Authorization`: a token to pull from a repository, which is got with
/// the registry's login or without, or that login itself; `None` if there is nothing that it takes.
pub(super) async fn answer(
    dialer: &Dialer,
    challenge: &str,
    repository: &str,
    login: Option<&str>,
) -> Result<Option<String>, FetchError> {
    let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Ok(login.map(str::to_owned));
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let find = |name: &str| parameter(parameters, name);
    let Some(realm) = find("realm") else {
        return Ok(None);
    };
    let mark = if realm.contains('?') { '&' } else { '?' };
    let mut address = format!("{realm}{mark}scope=repository:{repository}:pull");
    if let Some(service) = find("service") {
        address.push_str("&service=");
        address.push_str(&service.replace(' ', "%20"));
    }
    let uri = parsed(&address, &realm)?;
    let mut headers = HeaderMap::new();
    if let Some(value) = login.and_then(|it| it.parse().ok()) {
        headers.insert(AUTHORIZATION, value);
    }
    let answer = dialer.get(&uri, headers).await?;
    if !answer.status().is_success() {
        let status = answer.status();
        return Err(host_error(
            &realm,
            format!("it answers {status} and gives no token"),
        ));
    }
    let body = Limited::new(answer.into_body(), MAXIMUM).collect().await;
    let bytes = body.map_err(|error| host_error(&realm, error))?.to_bytes();
    let given: Given = serde_json::from_slice(&bytes)
        .map_err(|error| host_error(&realm, format!("it gave no token: {error}")))?;
    let token = given.token.or(given.access_token);
    Ok(token.map(|it| format!("Bearer {it}")))
}

/// A parameter of a challenge: `realm="https://...",service="..."`.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = after.trim_start_matches([',', ' ']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_challenge() {
        let challenge =
            r#"realm="https://auth.docker.io/token?a=b,c", service=registry.docker.io,scope="x""#;
        for (name, value) in [
            ("realm", Some("https://auth.docker.io/token?a=b,c")),
            ("Service", Some("registry.docker.io")),
            ("scope", Some("x")),
            ("error", None),
        ] {
            assert_eq!(parameter(challenge, name).as_deref(), value, "{name}");
        }
        assert_eq!(parameter("realm=\"", "realm"), None);
    }
}
