//! The requests and answers of the API, exactly as its model names them.

use lath_model::Timestamp;
use lath_wire::Blob;
use serde::{Deserialize, Serialize};

/// Structures of the wire.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $member:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $name {
            $($(#[$attr])* pub(crate) $member: $type,)*
        }
    )*};
}

/// Words of the wire.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($word:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub(crate) enum $name {
            $(#[serde(rename = $text)] $word,)*
        }

        impl $name {
            /// The word.
            #[allow(dead_code, reason = "not every enum is shown")]
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)*
                }
            }
        }
    )*};
}
pub(crate) use {wire, words};

words! {
    CertificateStatus {
        PendingValidation = "PENDING_VALIDATION",
        Issued = "ISSUED",
        Inactive = "INACTIVE",
        Expired = "EXPIRED",
        ValidationTimedOut = "VALIDATION_TIMED_OUT",
        Revoked = "REVOKED",
        Failed = "FAILED",
    }
    CertificateType { Imported = "IMPORTED", AmazonIssued = "AMAZON_ISSUED", Private = "PRIVATE", }
    CertificateExport { Enabled = "ENABLED", Disabled = "DISABLED", }
    Transparency { Enabled = "ENABLED", Disabled = "DISABLED", }
    ManagedBy { Cloudfront = "CLOUDFRONT", }
    ValidationMethod { Email = "EMAIL", Dns = "DNS", Http = "HTTP", }
    DomainStatus { PendingValidation = "PENDING_VALIDATION", Success = "SUCCESS", Failed = "FAILED", }
    RecordType { Cname = "CNAME", }
    RenewalEligibility { Eligible = "ELIGIBLE", Ineligible = "INELIGIBLE", }
    RenewalStatus {
        PendingAutoRenewal = "PENDING_AUTO_RENEWAL",
        PendingValidation = "PENDING_VALIDATION",
        Success = "SUCCESS",
        Failed = "FAILED",
    }
    FailureReason {
        NoAvailableContacts = "NO_AVAILABLE_CONTACTS",
        AdditionalVerificationRequired = "ADDITIONAL_VERIFICATION_REQUIRED",
        DomainNotAllowed = "DOMAIN_NOT_ALLOWED",
        InvalidPublicDomain = "INVALID_PUBLIC_DOMAIN",
        DomainValidationDenied = "DOMAIN_VALIDATION_DENIED",
        CaaError = "CAA_ERROR",
        PcaLimitExceeded = "PCA_LIMIT_EXCEEDED",
        PcaInvalidArn = "PCA_INVALID_ARN",
        PcaInvalidState = "PCA_INVALID_STATE",
        PcaRequestFailed = "PCA_REQUEST_FAILED",
        PcaNameConstraintsValidation = "PCA_NAME_CONSTRAINTS_VALIDATION",
        PcaResourceNotFound = "PCA_RESOURCE_NOT_FOUND",
        PcaInvalidArgs = "PCA_INVALID_ARGS",
        PcaInvalidDuration = "PCA_INVALID_DURATION",
        PcaAccessDenied = "PCA_ACCESS_DENIED",
        SlrNotFound = "SLR_NOT_FOUND",
        Other = "OTHER",
    }
    RevocationReason {
        Unspecified = "UNSPECIFIED",
        KeyCompromise = "KEY_COMPROMISE",
        CaCompromise = "CA_COMPROMISE",
        AffiliationChanged = "AFFILIATION_CHANGED",
        Superceded = "SUPERCEDED",
        Superseded = "SUPERSEDED",
        CessationOfOperation = "CESSATION_OF_OPERATION",
        CertificateHold = "CERTIFICATE_HOLD",
        RemoveFromCrl = "REMOVE_FROM_CRL",
        PrivilegeWithdrawn = "PRIVILEGE_WITHDRAWN",
        AACompromise = "A_A_COMPROMISE",
    }
    KeyAlgorithmName {
        Rsa1024 = "RSA_1024",
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
        P256 = "EC_prime256v1",
        P384 = "EC_secp384r1",
        P521 = "EC_secp521r1",
    }
    KeyUsageName {
        DigitalSignature = "DIGITAL_SIGNATURE",
        NonRepudiation = "NON_REPUDIATION",
        KeyEncipherment = "KEY_ENCIPHERMENT",
        DataEncipherment = "DATA_ENCIPHERMENT",
        KeyAgreement = "KEY_AGREEMENT",
        CertificateSigning = "CERTIFICATE_SIGNING",
        CrlSigning = "CRL_SIGNING",
        EncipherOnly = "ENCIPHER_ONLY",
        DecipherOnly = "DECIPHER_ONLY",
        Any = "ANY",
        Custom = "CUSTOM",
    }
    ExtendedKeyUsageName {
        Server = "TLS_WEB_SERVER_AUTHENTICATION",
        Client = "TLS_WEB_CLIENT_AUTHENTICATION",
        CodeSigning = "CODE_SIGNING",
        EmailProtection = "EMAIL_PROTECTION",
        TimeStamping = "TIME_STAMPING",
        OcspSigning = "OCSP_SIGNING",
        IpsecEndSystem = "IPSEC_END_SYSTEM",
        IpsecTunnel = "IPSEC_TUNNEL",
        IpsecUser = "IPSEC_USER",
        Any = "ANY",
        None = "NONE",
        Custom = "CUSTOM",
    }
    SortBy { CreatedAt = "CREATED_AT", }
    SortOrder { Ascending = "ASCENDING", Descending = "DESCENDING", }
}

wire! {
    Tag { key: String, value: Option<String>, }
    CertificateOptions {
        certificate_transparency_logging_preference: Option<Transparency>,
        export: Option<CertificateExport>,
    }
    ResourceRecord { name: String, r#type: RecordType, value: String, }
    HttpRedirect { redirect_from: Option<String>, redirect_to: Option<String>, }
    DomainValidation {
        domain_name: String,
        validation_emails: Option<Vec<String>>,
        validation_domain: Option<String>,
        validation_status: Option<DomainStatus>,
        resource_record: Option<ResourceRecord>,
        http_redirect: Option<HttpRedirect>,
        validation_method: Option<ValidationMethod>,
    }
    DomainValidationOption { domain_name: String, validation_domain: String, }
    KeyUsage { name: Option<KeyUsageName>, }
    ExtendedKeyUsage {
        name: Option<ExtendedKeyUsageName>,
        #[serde(rename = "OID")]
        oid: Option<String>,
    }
    RenewalSummary {
        renewal_status: RenewalStatus,
        domain_validation_options: Vec<DomainValidation>,
        renewal_status_reason: Option<FailureReason>,
        updated_at: Timestamp,
    }
    CertificateDetail {
        certificate_arn: Option<String>,
        domain_name: Option<String>,
        subject_alternative_names: Option<Vec<String>>,
        managed_by: Option<ManagedBy>,
        domain_validation_options: Option<Vec<DomainValidation>>,
        serial: Option<String>,
        subject: Option<String>,
        issuer: Option<String>,
        created_at: Option<Timestamp>,
        issued_at: Option<Timestamp>,
        imported_at: Option<Timestamp>,
        status: Option<CertificateStatus>,
        revoked_at: Option<Timestamp>,
        revocation_reason: Option<RevocationReason>,
        not_before: Option<Timestamp>,
        not_after: Option<Timestamp>,
        key_algorithm: Option<String>,
        signature_algorithm: Option<String>,
        in_use_by: Vec<String>,
        failure_reason: Option<FailureReason>,
        r#type: Option<CertificateType>,
        renewal_summary: Option<RenewalSummary>,
        key_usages: Vec<KeyUsage>,
        extended_key_usages: Vec<ExtendedKeyUsage>,
        certificate_authority_arn: Option<String>,
        renewal_eligibility: Option<RenewalEligibility>,
        options: Option<CertificateOptions>,
    }
    CertificateSummary {
        certificate_arn: Option<String>,
        domain_name: Option<String>,
        subject_alternative_name_summaries: Option<Vec<String>>,
        has_additional_subject_alternative_names: Option<bool>,
        status: Option<CertificateStatus>,
        r#type: Option<CertificateType>,
        key_algorithm: Option<String>,
        key_usages: Vec<KeyUsageName>,
        extended_key_usages: Vec<ExtendedKeyUsageName>,
        export_option: Option<CertificateExport>,
        in_use: Option<bool>,
        exported: Option<bool>,
        renewal_eligibility: Option<RenewalEligibility>,
        not_before: Option<Timestamp>,
        not_after: Option<Timestamp>,
        created_at: Option<Timestamp>,
        issued_at: Option<Timestamp>,
        imported_at: Option<Timestamp>,
        revoked_at: Option<Timestamp>,
        managed_by: Option<ManagedBy>,
    }
    ImportCertificate {
        certificate_arn: Option<String>,
        certificate: Blob,
        private_key: Blob,
        certificate_chain: Option<Blob>,
        tags: Option<Vec<Tag>>,
    }
    OnlyArn { certificate_arn: Option<String>, }
    RequestCertificate {
        domain_name: String,
        validation_method: Option<ValidationMethod>,
        subject_alternative_names: Option<Vec<String>>,
        idempotency_token: Option<String>,
        domain_validation_options: Option<Vec<DomainValidationOption>>,
        options: Option<CertificateOptions>,
        certificate_authority_arn: Option<String>,
        tags: Option<Vec<Tag>>,
        key_algorithm: Option<KeyAlgorithmName>,
        managed_by: Option<ManagedBy>,
    }
    DescribeCertificate { certificate_arn: String, }
    DescribeCertificateResponse { certificate: Option<CertificateDetail>, }
    GetCertificate { certificate_arn: String, }
    GetCertificateResponse { certificate: Option<String>, certificate_chain: Option<String>, }
    DeleteCertificate { certificate_arn: String, }
    RenewCertificate { certificate_arn: String, }
    ExportCertificate { certificate_arn: String, passphrase: Blob, }
    ResendValidationEmail { certificate_arn: String, domain: String, validation_domain: String, }
    UpdateCertificateOptions { certificate_arn: String, options: CertificateOptions, }
    RevokeCertificate { certificate_arn: String, revocation_reason: RevocationReason, }
    ListCertificates {
        certificate_statuses: Option<Vec<CertificateStatus>>,
        includes: Option<Filters>,
        next_token: Option<String>,
        max_items: Option<i32>,
        sort_by: Option<SortBy>,
        sort_order: Option<SortOrder>,
    }
    ListCertificatesResponse {
        next_token: Option<String>,
        certificate_summary_list: Vec<CertificateSummary>,
    }
    AddTagsToCertificate { certificate_arn: String, tags: Vec<Tag>, }
    RemoveTagsFromCertificate { certificate_arn: String, tags: Vec<Tag>, }
    ListTagsForCertificate { certificate_arn: String, }
    ListTagsForCertificateResponse { tags: Vec<Tag>, }
    ExpiryEventsConfiguration { days_before_expiry: Option<i32>, }
    GetAccountConfiguration {}
    GetAccountConfigurationResponse { expiry_events: Option<ExpiryEventsConfiguration>, }
    PutAccountConfiguration {
        expiry_events: Option<ExpiryEventsConfiguration>,
        idempotency_token: String,
    }
}

/// What a list should have, in the model's spelling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Filters {
    pub(crate) extended_key_usage: Option<Vec<ExtendedKeyUsageName>>,
    pub(crate) key_usage: Option<Vec<KeyUsageName>>,
    pub(crate) key_types: Option<Vec<KeyAlgorithmName>>,
    pub(crate) export_option: Option<CertificateExport>,
    pub(crate) managed_by: Option<ManagedBy>,
}

/// The answer of an export: the key is encrypted, and does not print.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExportCertificateResponse {
    pub(crate) certificate: Option<String>,
    pub(crate) certificate_chain: Option<String>,
    pub(crate) private_key: Option<String>,
}

impl std::fmt::Debug for ExportCertificateResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExportCertificateResponse(..)")
    }
}
