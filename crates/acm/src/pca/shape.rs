//! The requests and answers of the API, exactly as its model names them.

use lath_model::Timestamp;
use lath_wire::Blob;
use serde::{Deserialize, Serialize};

use crate::shape::{Tag, wire, words};

words! {
    AuthorityType { Root = "ROOT", Subordinate = "SUBORDINATE", }
    AuthorityStatus {
        Creating = "CREATING",
        PendingCertificate = "PENDING_CERTIFICATE",
        Active = "ACTIVE",
        Deleted = "DELETED",
        Disabled = "DISABLED",
        Expired = "EXPIRED",
        Failed = "FAILED",
    }
    UsageMode { GeneralPurpose = "GENERAL_PURPOSE", ShortLived = "SHORT_LIVED_CERTIFICATE", }
    KeyStorage {
        Level2 = "FIPS_140_2_LEVEL_2_OR_HIGHER",
        Level3 = "FIPS_140_2_LEVEL_3_OR_HIGHER",
        Ccpc = "CCPC_LEVEL_1_OR_HIGHER",
    }
    KeyName {
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
        P256 = "EC_prime256v1",
        P384 = "EC_secp384r1",
        P521 = "EC_secp521r1",
        MlDsa44 = "ML_DSA_44",
        MlDsa65 = "ML_DSA_65",
        MlDsa87 = "ML_DSA_87",
        Sm2 = "SM2",
    }
    SigningName {
        Sha256Ecdsa = "SHA256WITHECDSA",
        Sha384Ecdsa = "SHA384WITHECDSA",
        Sha512Ecdsa = "SHA512WITHECDSA",
        Sha256Rsa = "SHA256WITHRSA",
        Sha384Rsa = "SHA384WITHRSA",
        Sha512Rsa = "SHA512WITHRSA",
        Sm3 = "SM3WITHSM2",
        MlDsa44 = "ML_DSA_44",
        MlDsa65 = "ML_DSA_65",
        MlDsa87 = "ML_DSA_87",
    }
    ValidityType {
        EndDate = "END_DATE",
        Absolute = "ABSOLUTE",
        Days = "DAYS",
        Months = "MONTHS",
        Years = "YEARS",
    }
    ResourceOwner { OwnAccount = "SELF", OtherAccounts = "OTHER_ACCOUNTS", }
    Reason {
        Unspecified = "UNSPECIFIED",
        KeyCompromise = "KEY_COMPROMISE",
        AuthorityCompromise = "CERTIFICATE_AUTHORITY_COMPROMISE",
        AffiliationChanged = "AFFILIATION_CHANGED",
        Superseded = "SUPERSEDED",
        CessationOfOperation = "CESSATION_OF_OPERATION",
        PrivilegeWithdrawn = "PRIVILEGE_WITHDRAWN",
        AACompromise = "A_A_COMPROMISE",
    }
}

wire! {
    CustomAttribute { object_identifier: String, value: String, }
    AsnSubject {
        country: Option<String>,
        organization: Option<String>,
        organizational_unit: Option<String>,
        distinguished_name_qualifier: Option<String>,
        state: Option<String>,
        common_name: Option<String>,
        serial_number: Option<String>,
        locality: Option<String>,
        title: Option<String>,
        surname: Option<String>,
        given_name: Option<String>,
        initials: Option<String>,
        pseudonym: Option<String>,
        generation_qualifier: Option<String>,
        custom_attributes: Option<Vec<CustomAttribute>>,
    }
    CrlConfiguration { enabled: bool, }
    OcspConfiguration { enabled: bool, }
    RevocationConfiguration {
        crl_configuration: Option<CrlConfiguration>,
        ocsp_configuration: Option<OcspConfiguration>,
    }
    Configuration {
        key_algorithm: KeyName,
        signing_algorithm: SigningName,
        subject: AsnSubject,
    }
    CreateCertificateAuthority {
        certificate_authority_configuration: Configuration,
        revocation_configuration: Option<RevocationConfiguration>,
        certificate_authority_type: AuthorityType,
        idempotency_token: Option<String>,
        key_storage_security_standard: Option<KeyStorage>,
        tags: Option<Vec<Tag>>,
        usage_mode: Option<UsageMode>,
    }
    CreateCertificateAuthorityResponse { certificate_authority_arn: Option<String>, }
    CertificateAuthority {
        arn: Option<String>,
        owner_account: Option<String>,
        created_at: Option<Timestamp>,
        last_state_change_at: Option<Timestamp>,
        r#type: Option<AuthorityType>,
        serial: Option<String>,
        status: Option<AuthorityStatus>,
        not_before: Option<Timestamp>,
        not_after: Option<Timestamp>,
        certificate_authority_configuration: Option<Configuration>,
        revocation_configuration: Option<RevocationConfiguration>,
        restorable_until: Option<Timestamp>,
        usage_mode: Option<UsageMode>,
    }
    DescribeCertificateAuthority { certificate_authority_arn: String, }
    DescribeCertificateAuthorityResponse { certificate_authority: Option<CertificateAuthority>, }
    ListCertificateAuthorities {
        max_results: Option<i32>,
        next_token: Option<String>,
        resource_owner: Option<ResourceOwner>,
    }
    ListCertificateAuthoritiesResponse {
        next_token: Option<String>,
        certificate_authorities: Vec<CertificateAuthority>,
    }
    GetCertificateAuthorityCsr { certificate_authority_arn: String, }
    GetCertificateAuthorityCsrResponse { csr: Option<String>, }
    GetCertificateAuthorityCertificate { certificate_authority_arn: String, }
    GetCertificateAuthorityCertificateResponse {
        certificate: Option<String>,
        certificate_chain: Option<String>,
    }
    ImportCertificateAuthorityCertificate {
        certificate_authority_arn: String,
        certificate: Blob,
        certificate_chain: Option<Blob>,
    }
    UpdateCertificateAuthority {
        certificate_authority_arn: String,
        revocation_configuration: Option<RevocationConfiguration>,
        status: Option<AuthorityStatus>,
    }
    DeleteCertificateAuthority {
        certificate_authority_arn: String,
        permanent_deletion_time_in_days: Option<i32>,
    }
    RestoreCertificateAuthority { certificate_authority_arn: String, }
    Validity { value: i64, r#type: ValidityType, }
    IssueCertificate {
        certificate_authority_arn: String,
        csr: Blob,
        signing_algorithm: SigningName,
        template_arn: Option<String>,
        validity: Validity,
        validity_not_before: Option<Validity>,
        idempotency_token: Option<String>,
        api_passthrough: Option<Passthrough>,
    }
    /// Not supported by any template that Lath has.
    Passthrough {}
    IssueCertificateResponse { certificate_arn: Option<String>, }
    GetCertificate { certificate_authority_arn: String, certificate_arn: String, }
    GetCertificateResponse { certificate: Option<String>, certificate_chain: Option<String>, }
    RevokeCertificate {
        certificate_authority_arn: String,
        certificate_serial: String,
        revocation_reason: Reason,
    }
    TagCertificateAuthority { certificate_authority_arn: String, tags: Vec<Tag>, }
    UntagCertificateAuthority { certificate_authority_arn: String, tags: Vec<Tag>, }
    ListTags {
        certificate_authority_arn: String,
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    ListTagsResponse { next_token: Option<String>, tags: Vec<Tag>, }
}
