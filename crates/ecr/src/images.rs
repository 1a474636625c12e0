//! Images of a repository.

use lath_control::paginate;
use lath_model::Timestamp;
use lath_registry::{
    Digest, Held, Manifest, PutError, RemoveError, Repository, StoreError, Target,
};
use lath_service::operations;
use lath_wire::{ApiError, Caller};

use crate::mutability;
use crate::record::Repository as Record;
use crate::resource_types::REPOSITORY;
use crate::shape::*;
use crate::{Ecr, blocking, fault, of_store};

/// How many bytes of manifests one answer may have. A few hundred of usual size are far below.
const MOST_BYTES: usize = 32 << 20;

operations! {
    for Ecr as "ecr";
    asynchronous ListImages -> ListImagesResponse = list
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    asynchronous DescribeImages -> DescribeImagesResponse = describe
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    asynchronous BatchGetImage -> BatchGetImageResponse = get
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    asynchronous BatchDeleteImage -> BatchDeleteImageResponse = delete
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    asynchronous PutImage -> PutImageResponse = put
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
}

fn store(app: &Ecr, registry: Option<&str>, name: &str) -> Result<Repository, ApiError> {
    fault::find(app, &app.cell.db.view(), registry, name)?;
    app.store(name)
}

async fn held(store: Repository) -> Result<Vec<Held>, ApiError> {
    blocking(move || store.images()).await?.map_err(of_store)
}

/// Whether an image is one of those that a filter lets through.
fn passes(filter: Option<&ImageFilter>, is_tagged: bool) -> bool {
    let filter = filter.cloned().unwrap_or_default();
    let by_tag = match filter.tag_status {
        None | Some(TagStatus::Any) => true,
        Some(TagStatus::Tagged) => is_tagged,
        Some(TagStatus::Untagged) => !is_tagged,
    };
    // Nothing is archived here.
    let by_status = matches!(
        filter.image_status,
        None | Some(ImageStatusFilter::Active | ImageStatusFilter::Any)
    );
    by_tag && by_status
}

async fn list(app: &Ecr, _: &Caller, op: ListImages) -> Result<ListImagesResponse, ApiError> {
    let size = fault::page_size(op.max_results);
    let images = held(store(app, op.registry_id.as_deref(), &op.repository_name)?).await?;
    let mut all: Vec<(String, String)> = Vec::new();
    for image in images {
        if !passes(op.filter.as_ref(), !image.tags.is_empty()) {
            continue;
        }
        let digest = image.digest.to_string();
        if image.tags.is_empty() {
            all.push((digest.clone(), String::new()));
        }
        let tags = image.tags.into_iter();
        all.extend(tags.map(|tag| (digest.clone(), tag)));
    }
    all.sort();
    let key = |(digest, tag): &(String, String)| format!("{digest} {tag}");
    let page =
        paginate(all, key, size, op.next_token.as_deref()).map_err(|_| fault::bad_token())?;
    let id = |(digest, tag): (String, String)| ImageIdentifier {
        image_digest: Some(digest),
        image_tag: Some(tag).filter(|it| !it.is_empty()),
    };
    Ok(ListImagesResponse {
        image_ids: page.items.into_iter().map(id).collect(),
        next_token: page.next_token,
    })
}

fn detail(app: &Ecr, name: &str, image: &Held) -> ImageDetail {
    let pushed_at = i64::try_from(image.pushed_at).unwrap_or(i64::MAX);
    ImageDetail {
        registry_id: Some(app.cell.account.clone()),
        repository_name: Some(name.to_owned()),
        image_digest: Some(image.digest.to_string()),
        image_tags: Some(image.tags.clone()).filter(|it| !it.is_empty()),
        image_size_in_bytes: Some(i64::try_from(image.size).unwrap_or(i64::MAX)),
        image_pushed_at: Some(Timestamp::from_millis(pushed_at)),
        image_manifest_media_type: Some(image.media_type.clone()),
        artifact_media_type: image.artifact_type.clone(),
        image_status: Some(ImageStatus::Active),
    }
}

async fn describe(
    app: &Ecr,
    _: &Caller,
    op: DescribeImages,
) -> Result<DescribeImagesResponse, ApiError> {
    let name = &op.repository_name;
    let size = fault::page_size(op.max_results);
    let mut images = held(store(app, op.registry_id.as_deref(), name)?).await?;
    if let Some(ids) = &op.image_ids {
        if op.max_results.is_some() || op.next_token.is_some() {
            return Err(fault::invalid_parameter(
                "imageIds cannot be used with maxResults or nextToken.",
            ));
        }
        let mut found = Vec::new();
        for id in ids {
            let image = images.iter().find(|it| is(id, it));
            let image = image.ok_or_else(|| not_found(app, name, id))?;
            if !found.contains(image) {
                found.push(image.clone());
            }
        }
        return Ok(DescribeImagesResponse {
            image_details: found.iter().map(|it| detail(app, name, it)).collect(),
            next_token: None,
        });
    }
    images.retain(|it| passes(op.filter.as_ref(), !it.tags.is_empty()));
    let key = |it: &Held| it.digest.to_string();
    let page = paginate(images, key, size, op.next_token.as_deref());
    let page = page.map_err(|_| fault::bad_token())?;
    Ok(DescribeImagesResponse {
        image_details: page.items.iter().map(|it| detail(app, name, it)).collect(),
        next_token: page.next_token,
    })
}

/// Whether an image is what an identifier says, which says something.
fn is(id: &ImageIdentifier, image: &Held) -> bool {
    let by_digest = id.image_digest.as_ref();
    let by_tag = id.image_tag.as_ref();
    (by_digest.is_some() || by_tag.is_some())
        && by_digest.is_none_or(|it| *it == image.digest.to_string())
        && by_tag.is_none_or(|it| image.tags.contains(it))
}

fn not_found(app: &Ecr, name: &str, id: &ImageIdentifier) -> ApiError {
    let shown = |text: Option<&String>| match text {
        Some(text) => format!("'{}'", text.chars().take(300).collect::<String>()),
        None => "'null'".to_owned(),
    };
    fault::coded(
        "ImageNotFoundException",
        format!(
            "The image with imageId {{imageDigest:{}, imageTag:{}}} does not exist within the repository with name '{name}' in the registry with id '{}'",
            shown(id.image_digest.as_ref()),
            shown(id.image_tag.as_ref()),
            app.cell.account
        ),
    )
}

fn failure(
    id: &ImageIdentifier,
    code: ImageFailureCode,
    reason: impl Into<String>,
) -> ImageFailure {
    ImageFailure {
        image_id: Some(id.clone()),
        failure_code: Some(code),
        failure_reason: Some(reason.into()),
    }
}

/// The image that an identifier names.
fn identify<'h>(id: &ImageIdentifier, images: &'h [Held]) -> Result<&'h Held, ImageFailure> {
    let failed = |code, reason: &str| Err(failure(id, code, reason));
    if id.image_digest.is_none() && id.image_tag.is_none() {
        let text = "Invalid request parameters: both tag and digest cannot be null";
        return failed(ImageFailureCode::MissingDigestAndTag, text);
    }
    if let Some(digest) = &id.image_digest
        && digest.parse::<Digest>().is_err()
    {
        let text = "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
        return failed(ImageFailureCode::InvalidImageDigest, text);
    }
    if let Some(found) = images.iter().find(|it| is(id, it)) {
        return Ok(found);
    }
    let tagged = images.iter().any(|it| {
        id.image_tag
            .as_ref()
            .is_some_and(|tag| it.tags.contains(tag))
    });
    if id.image_digest.is_some() && tagged {
        let text = "Requested image tag does not match the requested digest";
        return failed(ImageFailureCode::ImageTagDoesNotMatchDigest, text);
    }
    failed(ImageFailureCode::ImageNotFound, "Requested image not found")
}

async fn get(app: &Ecr, _: &Caller, op: BatchGetImage) -> Result<BatchGetImageResponse, ApiError> {
    let store = store(app, op.registry_id.as_deref(), &op.repository_name)?;
    let account = app.cell.account.clone();
    let read = move || {
        let images = store.images()?;
        let mut answer = BatchGetImageResponse::default();
        let mut size = 0;
        for id in &op.image_ids {
            let found = match identify(id, &images) {
                Ok(found) => found,
                Err(failed) => {
                    answer.failures.push(failed);
                    continue;
                }
            };
            let accepted = op.accepted_media_types.as_ref().filter(|it| !it.is_empty());
            let manifest = store.manifest(&Target::Digest(found.digest.clone()))?;
            let manifest = manifest
                .filter(|(_, it, _)| accepted.is_none_or(|all| all.contains(&it.media_type)));
            let Some((digest, manifest, bytes)) = manifest else {
                let code = ImageFailureCode::ImageNotFound;
                answer
                    .failures
                    .push(failure(id, code, "Requested image not found"));
                continue;
            };
            size += bytes.len();
            if size > MOST_BYTES {
                return Ok(None);
            }
            answer.images.push(Image {
                registry_id: Some(account.clone()),
                repository_name: Some(op.repository_name.clone()),
                image_id: Some(ImageIdentifier {
                    image_digest: Some(digest.to_string()),
                    image_tag: id.image_tag.clone(),
                }),
                image_manifest: String::from_utf8(bytes).ok(),
                image_manifest_media_type: Some(manifest.media_type),
            });
        }
        Ok::<_, StoreError>(Some(answer))
    };
    let answer = blocking(read).await?.map_err(of_store)?;
    answer.ok_or_else(|| {
        let text = format!("The manifests of one request are limited to {MOST_BYTES} bytes.");
        fault::coded("LimitExceededException", text)
    })
}

async fn delete(
    app: &Ecr,
    _: &Caller,
    op: BatchDeleteImage,
) -> Result<BatchDeleteImageResponse, ApiError> {
    let store = store(app, op.registry_id.as_deref(), &op.repository_name)?;
    let remove = move || {
        let mut answer = BatchDeleteImageResponse::default();
        for id in &op.image_ids {
            match remove_one(&store, id)? {
                Ok(gone) => answer.image_ids.extend(gone),
                Err(failed) => answer.failures.push(failed),
            }
        }
        Ok::<_, StoreError>(answer)
    };
    blocking(remove).await?.map_err(of_store)
}

/// Removes a tag, and the image with its last one; or an image with all its tags, if it is named by digest alone.
fn remove_one(
    store: &Repository,
    id: &ImageIdentifier,
) -> Result<Result<Vec<ImageIdentifier>, ImageFailure>, StoreError> {
    let images = store.images()?;
    let found = match identify(id, &images) {
        Ok(found) => found,
        Err(failed) => return Ok(Err(failed)),
    };
    let refused = |error: RemoveError| match error {
        RemoveError::Listed(_) => {
            let code = ImageFailureCode::ImageReferencedByManifestList;
            Ok(Err(failure(id, code, error.to_string())))
        }
        RemoveError::Store(error) => Err(error),
    };
    let gone = |tag: Option<String>| ImageIdentifier {
        image_digest: Some(found.digest.to_string()),
        image_tag: tag,
    };
    let missing = || {
        failure(
            id,
            ImageFailureCode::ImageNotFound,
            "Requested image not found",
        )
    };
    if let Some(tag) = &id.image_tag {
        let removed = match store.untag(tag) {
            Ok(removed) => removed,
            Err(error) => return refused(error),
        };
        return Ok(removed
            .map(|_| vec![gone(Some(tag.clone()))])
            .ok_or_else(missing));
    }
    let removed = match store.remove(&found.digest) {
        Ok(removed) => removed,
        Err(error) => return refused(error),
    };
    let Some(tags) = removed else {
        return Ok(Err(missing()));
    };
    if tags.is_empty() {
        return Ok(Ok(vec![gone(None)]));
    }
    Ok(Ok(tags.into_iter().map(|tag| gone(Some(tag))).collect()))
}

async fn put(app: &Ecr, _: &Caller, op: PutImage) -> Result<PutImageResponse, ApiError> {
    let name = &op.repository_name;
    let store = store(app, op.registry_id.as_deref(), name)?;
    let expected = op.image_digest.as_ref().map(|text| {
        text.parse::<Digest>().map_err(|_| {
            let rule = "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
            fault::broken("imageDigest", rule)
        })
    });
    let expected = expected.transpose()?;
    // What is refused for its type has moved no tag. What is no manifest is refused when it is put.
    let said = op.image_manifest_media_type.as_ref();
    if let Some(said) = said
        && Manifest::read(op.image_manifest.as_bytes()).is_ok_and(|it| it.media_type != *said)
    {
        return Err(fault::broken(
            "imageManifestMediaType",
            "must be the media type of the image manifest",
        ));
    }
    let (manifest, tag) = (op.image_manifest.clone(), op.image_tag.clone());
    let (db, of) = (app.cell.db.clone(), name.clone());
    let keep = move || {
        let moves = |tag: &str| {
            let repository = db.view().get::<Record>(&of)?;
            Some(mutability::moves(&repository, tag))
        };
        store.put(
            manifest.as_bytes(),
            expected.as_ref(),
            tag.as_deref(),
            moves,
        )
    };
    let kept = blocking(keep).await?;
    let kept = kept.map_err(|error| not_put(app, name, error))?;
    if kept.was_there {
        let tag = op.image_tag.as_deref();
        let tag = tag.map_or_else(String::new, |it| format!(" and tag '{it}'"));
        return Err(fault::coded(
            "ImageAlreadyExistsException",
            format!(
                "Image with digest '{}'{tag} already exists in the repository with name '{name}' in registry with id '{}'",
                kept.digest, app.cell.account
            ),
        ));
    }
    Ok(PutImageResponse {
        image: Some(Image {
            registry_id: Some(app.cell.account.clone()),
            image_id: Some(ImageIdentifier {
                image_digest: Some(kept.digest.to_string()),
                image_tag: op.image_tag,
            }),
            image_manifest: Some(op.image_manifest),
            image_manifest_media_type: Some(kept.media_type),
            repository_name: Some(op.repository_name),
        }),
    })
}

fn not_put(app: &Ecr, name: &str, error: PutError) -> ApiError {
    let account = &app.cell.account;
    match error {
        PutError::Manifest(why) => fault::broken(
            "ImageManifest",
            &format!("Invalid JSON syntax or manifest: {why}"),
        ),
        PutError::Digest(digest) => fault::coded(
            "ImageDigestDoesNotMatchException",
            format!(
                "The specified image digest does not match the digest of the image manifest, {digest}"
            ),
        ),
        PutError::Missing { missing, is_index } => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let (code, what) = if is_index {
                ("ReferencedImagesNotFoundException", "images")
            } else {
                ("LayersNotFoundException", "layers")
            };
            let missing = missing.join(", ");
            let text = format!(
                "The {what} with digests '[{missing}]' were not found in the repository with name '{name}' in the registry with id '{account}'"
            );
            fault::coded(code, text)
        }
        PutError::TagTaken { tag, .. } => fault::coded(
            "ImageTagAlreadyExistsException",
            format!(
                "The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the tag is immutable."
            ),
        ),
        PutError::Gone => fault::no_repository(name, account),
        PutError::Tag(why) => fault::broken("imageTag", &why.to_string()),
        PutError::Store(error) => of_store(error),
    }
}
