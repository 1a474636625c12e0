//! A registry with accounts: who may do what in its repositories.

use std::fmt;
use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HOST, USER_AGENT, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};

use super::answer::{self, Answer, RegistryError};
use super::route::{Route, parameter};

/// One thing that a request does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Asks whether this is a registry, or which repositories there are.
    Enter,
    /// Lists repositories.
    ListRepositories,
    /// Lists the tags of a repository.
    ListTags(String),
    /// Reads a manifest of a repository.
    ReadManifest(String),
    /// Asks whether a repository has a blob.
    CheckLayer(String),
    /// Reads a blob of a repository.
    ReadLayer(String),
    /// Begins an upload to a repository.
    BeginUpload(String),
    /// Goes on with an upload, or gives it up.
    Upload(String),
    /// Ends an upload.
    FinishUpload(String),
    /// Puts a manifest.
    PutManifest(String),
    /// Deletes a manifest or a tag.
    DeleteManifest(String),
}

/// A request, as far as it matters who sent it.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// The header `Authorization`.
    pub authorization: Option<&'a str>,
    /// `token` of the query, which allows to read one blob.
    pub ticket: Option<String>,
    /// The path without its query.
    pub path: &'a str,
    /// The other end of the connection.
    pub source: Option<IpAddr>,
    /// The header `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// All that the request does.
    pub deeds: Vec<Deed>,
}

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It does not say who sent it, or that proves nothing.
    Unknown {
        /// Why.
        message: String,
        /// What is asked for: the value of `WWW-Authenticate`.
        challenge: String,
    },
    /// Its sender may not.
    Denied(String),
    /// There is no such repository.
    NoRepository(String),
    /// The path of a repository is malformed.
    BadName(String),
}

/// Judges the requests to a registry.
pub trait Gate: Send + Sync + 'static {
    /// The name of the registry, under which its images are stored.
    fn registry(&self) -> &str;

    /// Whether a request is done.
    ///
    /// # Errors
    /// That it is not.
    fn admit(&self, asked: &Asked<'_>) -> Result<(), Refused>;

    /// Whose a request that was admitted is: those of one client share what there is only so much of.
    fn client(&self, asked: &Asked<'_>) -> String;

    /// Whether a tag moves in a repository; `None` if there is no such repository.
    fn moves(&self, repository: &str, tag: &str) -> Option<bool>;

    /// The paths of all repositories, in order.
    fn repositories(&self) -> Vec<String>;
}

impl fmt::Debug for dyn Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({})", self.registry())
    }
}

/// Asks the gate about a request.
pub(super) fn admit<B>(gate: &dyn Gate, route: &Route, request: &Request<B>) -> Result<(), Answer> {
    let header = |name| request.headers().get(name).and_then(|it| it.to_str().ok());
    let host: Option<&str> = header(HOST).map(|it| it.rsplit_once(':').map_or(it, |(it, _)| it));
    // By an address or another name the client means this one; by the name of another registry it does not.
    if host.is_some_and(|it| it.contains(".dkr.ecr.") && it != gate.registry()) {
        let message = format!("this is the registry {}", gate.registry());
        let refusal = RegistryError::new(StatusCode::MISDIRECTED_REQUEST, "UNSUPPORTED", message);
        return Err(refusal.into_answer());
    }
    let deeds = deeds(route, request).map_err(RegistryError::into_answer)?;
    gate.admit(&asked(request, deeds)).map_err(refused)
}

/// Whose a request is.
pub(super) fn client<B>(gate: &dyn Gate, request: &Request<B>) -> String {
    gate.client(&asked(request, Vec::new()))
}

/// Whether the sender of a request may do something else too.
pub(super) fn may<B>(gate: &dyn Gate, request: &Request<B>, deed: Deed) -> Result<(), Refused> {
    gate.admit(&asked(request, vec![deed]))
}

fn asked<B>(request: &Request<B>, deeds: Vec<Deed>) -> Asked<'_> {
    let header = |name| request.headers().get(name).and_then(|it| it.to_str().ok());
    Asked {
        authorization: header(AUTHORIZATION),
        ticket: parameter(request.uri().query(), "token"),
        path: request.uri().path(),
        source: request.extensions().get::<IpAddr>().copied(),
        user_agent: header(USER_AGENT),
        deeds,
    }
}

fn refused(refused: Refused) -> Answer {
    let (status, code, message) = match refused {
        Refused::Unknown { message, challenge } => {
            let refusal = RegistryError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message);
            let mut answer = refusal.into_answer();
            answer::set(&mut answer, WWW_AUTHENTICATE, &challenge);
            return answer;
        }
        Refused::Denied(message) => (StatusCode::FORBIDDEN, "DENIED", message),
        Refused::NoRepository(message) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN", message),
        Refused::BadName(message) => (StatusCode::BAD_REQUEST, "NAME_INVALID", message),
    };
    RegistryError::new(status, code, message).into_answer()
}

fn deeds<B>(route: &Route, request: &Request<B>) -> Result<Vec<Deed>, RegistryError> {
    let method = request.method();
    let reads = method == Method::GET || method == Method::HEAD;
    let query = request.uri().query();
    let deeds = match route {
        Route::Base if reads => vec![Deed::Enter],
        Route::Catalog if reads => vec![Deed::ListRepositories],
        Route::Tags(it) if reads => vec![Deed::ListTags(it.name.clone())],
        Route::Manifest(it) => {
            let name = it.repository().to_owned();
            match *method {
                _ if reads => vec![Deed::ReadManifest(name)],
                Method::PUT => vec![Deed::PutManifest(name)],
                Method::DELETE => vec![Deed::DeleteManifest(name)],
                _ => return Err(RegistryError::method()),
            }
        }
        Route::Blob(it, _) if method == Method::GET => vec![Deed::ReadLayer(it.name.clone())],
        Route::Blob(it, _) if method == Method::HEAD => vec![Deed::CheckLayer(it.name.clone())],
        Route::Uploads(it) if method == Method::POST => {
            let name = it.name.clone();
            let mut deeds = vec![Deed::BeginUpload(name.clone())];
            if parameter(query, "digest").is_some() {
                deeds.push(Deed::Upload(name.clone()));
                deeds.push(Deed::FinishUpload(name));
            }
            deeds
        }
        Route::Upload(it, _) => {
            let name = it.name.clone();
            match *method {
                Method::PUT => vec![Deed::Upload(name.clone()), Deed::FinishUpload(name)],
                _ => vec![Deed::Upload(name)],
            }
        }
        _ => return Err(RegistryError::method()),
    };
    Ok(deeds)
}
