//! Container images for nodes of clusters: a store of them in a directory, and the registry that nodes pull from.
//!
//! The store is an [OCI image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md): blobs named
//! by their digest, and an index from full names (`docker.io/library/nginx:latest`) to manifests. Its files are the truth:
//! any number of processes read it, `lath image` changes it while Lath runs or not, and changes wait for one another at a
//! lock.
//!
//! The registry speaks [OCI distribution](https://github.com/opencontainers/distribution-spec/blob/main/spec.md). It answers
//! for every registry's names, as container runtimes ask a mirror: the name's host is in `?ns=`.

mod archive;
mod digest;
mod fetch;
mod manifest;
mod pull_through;
mod reference;
mod repository;
mod serve;
mod store;
mod upload;

pub use archive::{LoadError, Loaded};
pub use digest::{Digest, InvalidDigest};
pub use fetch::{Credentials, FetchError, InvalidCredentials, Upstreams};
pub use manifest::{Descriptor, InvalidManifest, MAXIMUM_MANIFEST, Manifest, Platform};
pub use pull_through::{PullThrough, Sources};
pub use reference::{InvalidReference, Reference, Target};
pub use repository::{Held, PutError, PutOutcome, RemoveError, Repository};
pub use serve::{Access, Asked, Deed, Gate, Refused, serve};
pub use store::{DIRECTORY, Image, Images, StoreError};
pub use upload::UploadError;
