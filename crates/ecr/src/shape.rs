//! The requests and answers of the API, exactly as its model names them.

use lath_model::Timestamp;
use lath_wire::Blob;
use serde::{Deserialize, Serialize};

/// Structures of the wire.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $member:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name {
            $($(#[$attr])* pub(crate) $member: $type,)*
        }
    )*};
}

/// Words of the wire.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($word:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum $name {
            $(#[serde(rename = $text)] $word,)*
        }
    )*};
}

words! {
    ImageTagMutability {
        Mutable = "MUTABLE",
        Immutable = "IMMUTABLE",
        ImmutableWithExclusion = "IMMUTABLE_WITH_EXCLUSION",
        MutableWithExclusion = "MUTABLE_WITH_EXCLUSION",
    }
    FilterType { Wildcard = "WILDCARD", }
    EncryptionType { Aes256 = "AES256", Kms = "KMS", KmsDsse = "KMS_DSSE", }
    TagStatus { Tagged = "TAGGED", Untagged = "UNTAGGED", Any = "ANY", }
    ImageStatusFilter { Active = "ACTIVE", Archived = "ARCHIVED", Activating = "ACTIVATING", Any = "ANY", }
    ImageStatus { Active = "ACTIVE", Archived = "ARCHIVED", Activating = "ACTIVATING", }
    LayerAvailability { Available = "AVAILABLE", Unavailable = "UNAVAILABLE", Archived = "ARCHIVED", }
}

wire! {
    /// An answer without members.
    Empty {}
    AuthorizationData {
        authorization_token: Option<String>,
        expires_at: Option<Timestamp>,
        proxy_endpoint: Option<String>,
    }
    GetAuthorizationToken { registry_ids: Option<Vec<String>>, }
    GetAuthorizationTokenResponse { authorization_data: Vec<AuthorizationData>, }
    DescribeRegistry {}
    ReplicationDestination { region: String, registry_id: String, }
    RepositoryFilter { filter: String, filter_type: String, }
    ReplicationRule {
        destinations: Vec<ReplicationDestination>,
        repository_filters: Option<Vec<RepositoryFilter>>,
    }
    ReplicationConfiguration { rules: Vec<ReplicationRule>, }
    DescribeRegistryResponse {
        registry_id: Option<String>,
        replication_configuration: Option<ReplicationConfiguration>,
    }
    ScanningConfiguration { scan_on_push: Option<bool>, }
    Repository {
        repository_arn: Option<String>,
        registry_id: Option<String>,
        repository_name: Option<String>,
        repository_uri: Option<String>,
        created_at: Option<Timestamp>,
        image_tag_mutability: Option<ImageTagMutability>,
        image_tag_mutability_exclusion_filters: Option<Vec<ExclusionFilter>>,
        image_scanning_configuration: Option<ScanningConfiguration>,
        encryption_configuration: Option<Encryption>,
    }
    CreateRepository {
        registry_id: Option<String>,
        repository_name: String,
        tags: Option<Vec<Tag>>,
        image_tag_mutability: Option<ImageTagMutability>,
        image_tag_mutability_exclusion_filters: Option<Vec<ExclusionFilter>>,
        image_scanning_configuration: Option<ScanningConfiguration>,
        encryption_configuration: Option<Encryption>,
    }
    OneRepository { repository: Option<Repository>, }
    DescribeRepositories {
        registry_id: Option<String>,
        repository_names: Option<Vec<String>>,
        next_token: Option<String>,
        max_results: Option<i32>,
    }
    DescribeRepositoriesResponse { repositories: Vec<Repository>, next_token: Option<String>, }
    DeleteRepository {
        registry_id: Option<String>,
        repository_name: String,
        force: Option<bool>,
    }
    PutImageTagMutabilityResponse {
        registry_id: Option<String>,
        repository_name: Option<String>,
        image_tag_mutability: Option<ImageTagMutability>,
        image_tag_mutability_exclusion_filters: Option<Vec<ExclusionFilter>>,
    }
    ImageIdentifier { image_digest: Option<String>, image_tag: Option<String>, }
    ImageFilter { tag_status: Option<TagStatus>, image_status: Option<ImageStatusFilter>, }
    ListImages {
        registry_id: Option<String>,
        repository_name: String,
        next_token: Option<String>,
        max_results: Option<i32>,
        filter: Option<ImageFilter>,
    }
    ListImagesResponse { image_ids: Vec<ImageIdentifier>, next_token: Option<String>, }
    DescribeImages {
        registry_id: Option<String>,
        repository_name: String,
        image_ids: Option<Vec<ImageIdentifier>>,
        next_token: Option<String>,
        max_results: Option<i32>,
        filter: Option<ImageFilter>,
    }
    ImageDetail {
        registry_id: Option<String>,
        repository_name: Option<String>,
        image_digest: Option<String>,
        image_tags: Option<Vec<String>>,
        image_size_in_bytes: Option<i64>,
        image_pushed_at: Option<Timestamp>,
        image_manifest_media_type: Option<String>,
        artifact_media_type: Option<String>,
        image_status: Option<ImageStatus>,
    }
    DescribeImagesResponse { image_details: Vec<ImageDetail>, next_token: Option<String>, }
    BatchGetImage {
        registry_id: Option<String>,
        repository_name: String,
        image_ids: Vec<ImageIdentifier>,
        accepted_media_types: Option<Vec<String>>,
    }
    Image {
        registry_id: Option<String>,
        repository_name: Option<String>,
        image_id: Option<ImageIdentifier>,
        image_manifest: Option<String>,
        image_manifest_media_type: Option<String>,
    }
    ImageFailure {
        image_id: Option<ImageIdentifier>,
        failure_code: Option<ImageFailureCode>,
        failure_reason: Option<String>,
    }
    BatchGetImageResponse { images: Vec<Image>, failures: Vec<ImageFailure>, }
    BatchDeleteImage {
        registry_id: Option<String>,
        repository_name: String,
        image_ids: Vec<ImageIdentifier>,
    }
    BatchDeleteImageResponse { image_ids: Vec<ImageIdentifier>, failures: Vec<ImageFailure>, }
    PutImage {
        registry_id: Option<String>,
        repository_name: String,
        image_manifest: String,
        image_manifest_media_type: Option<String>,
        image_tag: Option<String>,
        image_digest: Option<String>,
    }
    PutImageResponse { image: Option<Image>, }
    BatchCheckLayerAvailability {
        registry_id: Option<String>,
        repository_name: String,
        layer_digests: Vec<String>,
    }
    Layer {
        layer_digest: Option<String>,
        layer_availability: Option<LayerAvailability>,
        layer_size: Option<i64>,
        media_type: Option<String>,
    }
    LayerFailure {
        layer_digest: Option<String>,
        failure_code: Option<LayerFailureCode>,
        failure_reason: Option<String>,
    }
    BatchCheckLayerAvailabilityResponse { layers: Vec<Layer>, failures: Vec<LayerFailure>, }
    GetDownloadUrlForLayer {
        registry_id: Option<String>,
        repository_name: String,
        layer_digest: String,
    }
    GetDownloadUrlForLayerResponse { download_url: Option<String>, layer_digest: Option<String>, }
    InitiateLayerUpload { registry_id: Option<String>, repository_name: String, }
    InitiateLayerUploadResponse { upload_id: Option<String>, part_size: Option<i64>, }
    UploadLayerPart {
        registry_id: Option<String>,
        repository_name: String,
        upload_id: String,
        part_first_byte: i64,
        part_last_byte: i64,
        layer_part_blob: Blob,
    }
    UploadLayerPartResponse {
        registry_id: Option<String>,
        repository_name: Option<String>,
        upload_id: Option<String>,
        last_byte_received: Option<i64>,
    }
    CompleteLayerUpload {
        registry_id: Option<String>,
        repository_name: String,
        upload_id: String,
        layer_digests: Vec<String>,
    }
    CompleteLayerUploadResponse {
        registry_id: Option<String>,
        repository_name: Option<String>,
        upload_id: Option<String>,
        layer_digest: Option<String>,
    }
    SetRepositoryPolicy {
        registry_id: Option<String>,
        repository_name: String,
        policy_text: String,
        force: Option<bool>,
    }
    GetRepositoryPolicy { registry_id: Option<String>, repository_name: String, }
    DeleteRepositoryPolicy { registry_id: Option<String>, repository_name: String, }
    RepositoryPolicy {
        registry_id: Option<String>,
        repository_name: Option<String>,
        policy_text: Option<String>,
    }
    TagResource { resource_arn: String, tags: Vec<Tag>, }
    UntagResource { resource_arn: String, tag_keys: Vec<String>, }
    ListTagsForResource { resource_arn: String, }
    ListTagsForResourceResponse { tags: Vec<Tag>, }
}

words! {
    ImageFailureCode {
        InvalidImageDigest = "InvalidImageDigest",
        InvalidImageTag = "InvalidImageTag",
        ImageTagDoesNotMatchDigest = "ImageTagDoesNotMatchDigest",
        ImageNotFound = "ImageNotFound",
        MissingDigestAndTag = "MissingDigestAndTag",
        ImageReferencedByManifestList = "ImageReferencedByManifestList",
        KmsError = "KmsError",
        UpstreamAccessDenied = "UpstreamAccessDenied",
        UpstreamTooManyRequests = "UpstreamTooManyRequests",
        UpstreamUnavailable = "UpstreamUnavailable",
        ImageInaccessible = "ImageInaccessible",
    }
    LayerFailureCode { InvalidLayerDigest = "InvalidLayerDigest", MissingLayerDigest = "MissingLayerDigest", }
}

/// Tags that are excepted from a rule about all tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExclusionFilter {
    pub(crate) filter_type: FilterType,
    pub(crate) filter: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Encryption {
    pub(crate) encryption_type: EncryptionType,
    pub(crate) kms_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutImageTagMutability {
    pub(crate) registry_id: Option<String>,
    pub(crate) repository_name: String,
    pub(crate) image_tag_mutability: ImageTagMutability,
    pub(crate) image_tag_mutability_exclusion_filters: Option<Vec<ExclusionFilter>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) value: String,
}
