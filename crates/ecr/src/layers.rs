//! Layers: what there is, where to get it, and uploads in parts.

use lath_registry::{Digest, StoreError, UploadError};
use lath_service::operations;
use lath_wire::{ApiError, Caller, Doc};
use std::sync::Arc;
use uuid::Uuid;

use crate::logins::TICKET_LIFE;
use crate::resource_types::REPOSITORY;
use crate::shape::*;
use crate::{Ecr, blocking, fault, logins, of_store};

/// The size of parts that clients are told: in a request, as base64, it is below what the front door takes.
const PART: i64 = 5 << 20;

operations! {
    for Ecr as "ecr";
    asynchronous BatchCheckLayerAvailability -> BatchCheckLayerAvailabilityResponse = check
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    asynchronous GetDownloadUrlForLayer -> GetDownloadUrlForLayerResponse = address
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    asynchronous InitiateLayerUpload -> InitiateLayerUploadResponse = begin
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    asynchronous UploadLayerPart -> UploadLayerPartResponse = upload
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    asynchronous CompleteLayerUpload -> CompleteLayerUploadResponse = complete
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
}

/// The store's part of a repository that exists.
fn store(
    app: &Ecr,
    registry: Option<&str>,
    name: &str,
) -> Result<lath_registry::Repository, ApiError> {
    fault::find(app, &app.cell.db.view(), registry, name)?;
    app.store(name)
}

async fn check(
    app: &Ecr,
    _: &Caller,
    op: BatchCheckLayerAvailability,
) -> Result<BatchCheckLayerAvailabilityResponse, ApiError> {
    let store = store(app, op.registry_id.as_deref(), &op.repository_name)?;
    let look = move || {
        let mut answer = BatchCheckLayerAvailabilityResponse::default();
        for text in op.layer_digests {
            let Ok(digest) = text.parse::<Digest>() else {
                answer.failures.push(LayerFailure {
                    layer_digest: Some(text),
                    failure_code: Some(LayerFailureCode::InvalidLayerDigest),
                    failure_reason: Some(
                        "Invalid layer digest: layer digest parameter must satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
                            .to_owned(),
                    ),
                });
                continue;
            };
            let found = store.layer(&digest)?;
            let availability = match found {
                Some(_) => LayerAvailability::Available,
                None => LayerAvailability::Unavailable,
            };
            answer.layers.push(Layer {
                layer_digest: Some(text),
                layer_availability: Some(availability),
                layer_size: found.map(|(_, size)| i64::try_from(size).unwrap_or(i64::MAX)),
                media_type: None,
            });
        }
        Ok::<_, StoreError>(answer)
    };
    blocking(look).await?.map_err(of_store)
}

fn digest_of(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|_| {
        let rule = "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
        fault::broken("layerDigest", rule)
    })
}

async fn address(
    app: &Ecr,
    _: &Caller,
    op: GetDownloadUrlForLayer,
) -> Result<GetDownloadUrlForLayerResponse, ApiError> {
    let name = &op.repository_name;
    let store = store(app, op.registry_id.as_deref(), name)?;
    let digest = digest_of(&op.layer_digest)?;
    let wanted = digest.clone();
    let found = blocking(move || store.layer(&wanted)).await?;
    if found.map_err(of_store)?.is_none() {
        return Err(fault::coded(
            "LayersNotFoundException",
            format!(
                "The layer with digest '{digest}' does not exist in the repository with name '{name}' in the registry with id '{}'",
                app.cell.account
            ),
        ));
    }
    let path = format!("/v2/{name}/blobs/{digest}");
    let until = app.cell.now().plus(TICKET_LIFE).as_millis();
    let ticket = app.logins.seal(&format!("{until} {path}"));
    let ticket = ticket
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    Ok(GetDownloadUrlForLayerResponse {
        download_url: Some(format!("{}{path}?token={ticket}", app.endpoint)),
        layer_digest: Some(op.layer_digest),
    })
}

async fn begin(
    app: &Ecr,
    caller: &Caller,
    op: InitiateLayerUpload,
) -> Result<InitiateLayerUploadResponse, ApiError> {
    let store = store(app, op.registry_id.as_deref(), &op.repository_name)?;
    let (images, client) = (app.images.clone(), logins::client(caller));
    let begin = move || {
        store.expire()?;
        images.begin_upload(&client)
    };
    let id = blocking(begin).await?.map_err(|error| match error {
        UploadError::TooMany => fault::coded("LimitExceededException", error.to_string()),
        other => ApiError::internal(other),
    })?;
    Ok(InitiateLayerUploadResponse {
        upload_id: Some(id.to_string()),
        part_size: Some(PART),
    })
}

/// What an upload is about, for errors.
struct About<'a> {
    app: &'a Ecr,
    name: &'a str,
    upload: &'a str,
}

impl About<'_> {
    fn error(&self, code: &'static str, message: String) -> ApiError {
        let text = |it: &str| Doc::String(it.to_owned());
        fault::coded(code, message)
            .with_field("registryId", text(&self.app.cell.account))
            .with_field("repositoryName", text(self.name))
            .with_field("uploadId", text(self.upload))
    }

    fn unknown(&self) -> ApiError {
        fault::coded(
            "UploadNotFoundException",
            format!(
                "The upload could not be found, or the specified upload id '{}' is not valid for the repository with name '{}' in the registry with id '{}'",
                self.upload, self.name, self.app.cell.account
            ),
        )
    }

    fn id(&self) -> Result<Uuid, ApiError> {
        self.upload.parse().map_err(|_| self.unknown())
    }
}

async fn upload(
    app: &Ecr,
    _: &Caller,
    op: UploadLayerPart,
) -> Result<UploadLayerPartResponse, ApiError> {
    store(app, op.registry_id.as_deref(), &op.repository_name)?;
    let about = About {
        app,
        name: &op.repository_name,
        upload: &op.upload_id,
    };
    let id = about.id()?;
    let part = Arc::new(op.layer_part_blob.0);
    let (first, last) = (op.part_first_byte, op.part_last_byte);
    let length = i64::try_from(part.len()).unwrap_or(i64::MAX);
    let first = u64::try_from(first).ok().filter(|_| {
        let end = last.checked_add(1).and_then(|it| it.checked_sub(first));
        length > 0 && end == Some(length)
    });
    let first = first.ok_or_else(|| {
        let text = "partFirstByte and partLastByte do not match the size of the layer part.";
        fault::invalid_parameter(text)
    })?;
    let images = app.images.clone();
    let appended = blocking(move || images.append_upload(id, first, &part)).await?;
    let size = appended.map_err(|error| match error {
        UploadError::Unknown => about.unknown(),
        UploadError::Gap(size) => {
            let last = i64::try_from(size).unwrap_or(i64::MAX) - 1;
            let text = format!(
                "The layer part is not consecutive to the previous part upload: the last byte received is {last}"
            );
            about
                .error("InvalidLayerPartException", text)
                .with_field("lastValidByteReceived", Doc::Int(last))
        }
        UploadError::Store(StoreError::TooLarge) => {
            fault::coded("LimitExceededException", StoreError::TooLarge.to_string())
        }
        other => ApiError::internal(other),
    })?;
    Ok(UploadLayerPartResponse {
        registry_id: Some(app.cell.account.clone()),
        last_byte_received: Some(i64::try_from(size).unwrap_or(i64::MAX) - 1),
        repository_name: Some(op.repository_name),
        upload_id: Some(op.upload_id),
    })
}

async fn complete(
    app: &Ecr,
    _: &Caller,
    op: CompleteLayerUpload,
) -> Result<CompleteLayerUploadResponse, ApiError> {
    let store = store(app, op.registry_id.as_deref(), &op.repository_name)?;
    let about = About {
        app,
        name: &op.repository_name,
        upload: &op.upload_id,
    };
    let id = about.id()?;
    let digest = match op.layer_digests.as_slice() {
        [one] => digest_of(one)?,
        _ => {
            let rule = "exactly one digest, of SHA-256";
            return Err(fault::broken("layerDigests", rule));
        }
    };
    let (images, wanted) = (app.images.clone(), digest.clone());
    let finish = move || {
        if images.upload_size(id)? == 0 {
            return Ok(None);
        }
        Ok::<_, UploadError>(Some(store.finish_upload(id, &wanted)?))
    };
    let finished = blocking(finish).await?.map_err(|error| match error {
        UploadError::Unknown => about.unknown(),
        UploadError::Store(StoreError::Mismatch { .. }) => fault::coded(
            "InvalidLayerException",
            format!("The layer digest '{digest}' does not match the layer that was uploaded"),
        ),
        other => ApiError::internal(other),
    })?;
    match finished {
        None => Err(fault::coded(
            "EmptyUploadException",
            "The specified layer upload does not contain any layer parts.",
        )),
        Some(true) => Err(fault::coded(
            "LayerAlreadyExistsException",
            format!(
                "Layer with digest '{digest}' already exists in the repository with name '{}' in the registry with id '{}'",
                op.repository_name, app.cell.account
            ),
        )),
        Some(false) => Ok(CompleteLayerUploadResponse {
            registry_id: Some(app.cell.account.clone()),
            layer_digest: Some(digest.to_string()),
            repository_name: Some(op.repository_name),
            upload_id: Some(op.upload_id),
        }),
    }
}
