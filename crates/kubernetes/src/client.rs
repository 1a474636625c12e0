//! A small client of API servers, as an administrator of their cluster, and of kubelets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use lath_net::{Network, Place};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::manifests::{MANAGER, Manifest};
use crate::pki::{Authority, Leaf, PkiError};

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer, in bytes: a list of pods of a large cluster.
const LARGEST: usize = 64 << 20;

/// What answers are taken in.
const JSON: &str = "application/json, */*;q=0.5";
/// Of every object its metadata alone.
const METADATA: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json;q=0.5";

/// A request that had no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The API server cannot be reached.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// Its answer is larger than any that is read.
    #[error("the API server's answer is larger than what is read of it")]
    TooLarge,
    /// It refused.
    #[error("the API server answers {status}: {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// In its words.
        message: String,
    },
}

impl ClientError {
    /// The status of a refusal.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Unreachable(_) | Self::TooLarge => None,
            Self::Refused { status, .. } => Some(*status),
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum NewClientError {
    /// The cluster's keys are none.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The certificates cannot be used.
    #[error("the certificates cannot be used: {0}")]
    Tls(String),
}

/// A client of one API server. It keeps one connection.
pub struct Client {
    network: Arc<dyn Network>,
    place: Place,
    address: SocketAddr,
    tls: TlsConnector,
    kept: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Client {
    /// A client of the API server at `address`, with sockets made in `place`. Its certificate says that it is `lath`, of
    /// `system:masters`.
    ///
    /// # Errors
    /// When the authority cannot sign.
    pub fn new(
        authority: &Authority,
        network: Arc<dyn Network>,
        place: Place,
        address: SocketAddr,
    ) -> Result<Self, NewClientError> {
        let user = ("lath", Some("system:masters"));
        Self::as_user(authority, user, network, place, address)
    }

    /// A client of the server at `address` that another user's certificate lets in, with the user's group.
    ///
    /// # Errors
    /// When the authority cannot sign.
    pub fn as_user(
        authority: &Authority,
        (user, group): (&str, Option<&str>),
        network: Arc<dyn Network>,
        place: Place,
        address: SocketAddr,
    ) -> Result<Self, NewClientError> {
        let leaf = authority.client(user, group)?;
        let tls = config(authority.certificate(), &leaf).map_err(NewClientError::Tls)?;
        Ok(Self {
            network,
            place,
            address,
            tls: TlsConnector::from(Arc::new(tls)),
            kept: Mutex::new(None),
        })
    }

    /// Reads.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.json(Method::GET, path, "application/json", None).await
    }

    /// Reads the members that `T` has of something large, without holding the caller's thread up.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn get_as<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
    ) -> Result<T, ClientError> {
        self.parsed(path, JSON).await
    }

    /// Reads the members that `T` has of the metadata of a list's objects; the rest of them is not sent.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn get_metadata<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
    ) -> Result<T, ClientError> {
        self.parsed(path, METADATA).await
    }

    /// Reads a text of up to `most` bytes.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn text(&self, path: &str, most: usize) -> Result<Bytes, ClientError> {
        let kinds = ("application/json", "*/*");
        self.send_for(most, Method::GET, path, kinds, None).await
    }

    async fn parsed<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        accepted: &str,
    ) -> Result<T, ClientError> {
        let kinds = ("application/json", accepted);
        let answer = self.send(Method::GET, path, kinds, None).await?;
        let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&answer)).await;
        let parsed = parsed.map_err(|error| unreachable_by(&error))?;
        parsed.map_err(|error| unreachable_by(&error))
    }

    /// Reads what may not be there.
    ///
    /// # Errors
    /// When there is neither a good answer nor a 404.
    pub async fn find(&self, path: &str) -> Result<Option<Value>, ClientError> {
        absent(self.get(path).await)
    }

    /// Whether the API server says that it is ready.
    ///
    /// # Errors
    /// When it is not; the text says what is missing.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.send(Method::GET, "/readyz", ("application/json", JSON), None)
            .await
            .map(drop)
    }

    /// Makes an object as it should be: server-side apply.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn apply(&self, manifest: &Manifest) -> Result<(), ClientError> {
        let path = format!("{}?fieldManager={MANAGER}&force=true", manifest.path);
        let body = Some(&manifest.object);
        self.json(Method::PATCH, &path, "application/apply-patch+yaml", body)
            .await
            .map(drop)
    }

    /// Changes members of an object: a merge patch.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn patch(&self, path: &str, change: &Value) -> Result<(), ClientError> {
        let kind = "application/merge-patch+json";
        self.json(Method::PATCH, path, kind, Some(change))
            .await
            .map(drop)
    }

    /// Makes an object, or asks for something such as an eviction.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Value, ClientError> {
        self.json(Method::POST, path, "application/json", Some(object))
            .await
    }

    /// Deletes an object; it may be gone already.
    ///
    /// # Errors
    /// When there is neither a good answer nor a 404.
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        let deleted = self
            .json(Method::DELETE, path, "application/json", None)
            .await;
        absent(deleted).map(drop)
    }

    /// Deletes an object that is still of this version; whether it was.
    ///
    /// # Errors
    /// When the answer is neither good, nor that the object has changed or is gone.
    pub async fn delete_as(&self, path: &str, version: &str) -> Result<bool, ClientError> {
        let options = serde_json::json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"resourceVersion": version},
        });
        let deleted = self.json(Method::DELETE, path, "application/json", Some(&options));
        match absent(deleted.await) {
            Err(error) if error.status() == Some(StatusCode::CONFLICT) => Ok(false),
            deleted => Ok(deleted?.is_some()),
        }
    }

    async fn json(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let answer = self.send(method, path, (kind, JSON), body).await?;
        serde_json::from_slice(&answer).map_err(|error| unreachable_by(&error))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        kinds: (&str, &str),
        body: Option<&Value>,
    ) -> Result<Bytes, ClientError> {
        self.send_for(LARGEST, method, path, kinds, body).await
    }

    /// For an answer of up to `most` bytes.
    async fn send_for(
        &self,
        most: usize,
        method: Method,
        path: &str,
        kinds: (&str, &str),
        body: Option<&Value>,
    ) -> Result<Bytes, ClientError> {
        let answered = self.exchange(most, method, path, kinds, body);
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        let (status, bytes) = answered
            .unwrap_or_else(|_| Err(ClientError::Unreachable("it does not answer".to_owned())))?;
        if status.is_success() {
            return Ok(bytes);
        }
        Err(refusal(status, &bytes))
    }

    async fn exchange(
        &self,
        most: usize,
        method: Method,
        path: &str,
        (kind, accepted): (&str, &str),
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let bytes = body.map(|body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "kubernetes")
            .header(ACCEPT, accepted)
            .header(CONTENT_TYPE, kind)
            .body(Full::new(bytes.unwrap_or_default()))
            .map_err(|error| unreachable_by(&error))?;
        // Taken while it is used: a request that is given up leaves its connection behind.
        let mut kept = self.kept.lock().await;
        let connection = kept.take().filter(|it| !it.is_closed());
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = connection.send_request(request).await;
        let (head, body) = answer.map_err(|error| unreachable_by(&error))?.into_parts();
        let body = Limited::new(body, most).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => ClientError::TooLarge,
            false => ClientError::Unreachable(error.to_string()),
        })?;
        *kept = Some(connection);
        Ok((head.status, body.to_bytes()))
    }

    pub(crate) async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream = lath_net::connect(&self.network, &self.place, None, self.address, PATIENCE);
        let stream = stream.await.map_err(|error| unreachable_by(&error))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let stream = self.tls.connect(name, stream).await;
        let stream = stream.map_err(|error| unreachable_by(&error))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable_by(&error))?;
        tokio::spawn(async move {
            // Its end is seen by the next request.
            drop(connection.await);
        });
        Ok(sender)
    }
}

fn absent(answer: Result<Value, ClientError>) -> Result<Option<Value>, ClientError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an answer that is no success says.
pub(crate) fn refusal(status: StatusCode, bytes: &[u8]) -> ClientError {
    let text = String::from_utf8_lossy(bytes);
    let answer: Option<Value> = serde_json::from_slice(bytes).ok();
    let said = answer.as_ref().and_then(|it| it.get("message")?.as_str());
    let message = said.unwrap_or(&text).chars().take(512).collect();
    ClientError::Refused { status, message }
}

pub(crate) fn unreachable_by(error: &dyn std::error::Error) -> ClientError {
    let cause = error.source().map(|cause| format!(": {cause}"));
    ClientError::Unreachable(format!("{error}{}", cause.unwrap_or_default()))
}

/// The server's side of TLS, for clients that show no certificate.
pub(crate) fn acceptor(leaf: &Leaf) -> Result<TlsAcceptor, NewClientError> {
    let config = || {
        let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes());
        let certificate = certificate.map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes());
        let key = key.map_err(|error| error.to_string())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(|error| error.to_string())
    };
    let config = config().map_err(NewClientError::Tls)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What a certificate of the cluster's authority is used with.
fn config(authority: &str, leaf: &Leaf) -> Result<ClientConfig, String> {
    let certificate = |pem: &str| {
        CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())
    };
    let mut roots = RootCertStore::empty();
    let added = roots.add(certificate(authority)?);
    added.map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes());
    let key = key.map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate(&leaf.certificate)?], key)
        .map_err(|error| error.to_string())
}
