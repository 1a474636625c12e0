//! Authorities: made, described, given their certificates.

use lath_ca::{Certificate, PrivateKey, signing_request, verify};
use lath_control::{fingerprint, paginate};
use lath_model::Timestamp;
use lath_service::{Quota, Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};

use super::record::Authority;
use super::shape::*;
use super::{AUTHORITY, Pca, arn, find, invalid_args, invalid_state, subject, tags};
use crate::fault::coded;
use crate::resource_types::pairs;

/// <https://docs.aws.amazon.com/privateca/latest/userguide/PcaLimits.html>
const AUTHORITIES: Quota<&str> = Quota::new("private certificate authorities", "L-63A86A2B", 200);
const PAGE: usize = 1000;

operations! {
    for Pca as "acm-pca";
    asynchronous CreateCertificateAuthority -> CreateCertificateAuthorityResponse = create
        => any().tagged(|op, _| pairs(op.tags.as_deref().unwrap_or_default()))
        => refusing ["" CreateCertificateAuthority];
    read DescribeCertificateAuthority -> DescribeCertificateAuthorityResponse = describe
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone());
    read ListCertificateAuthorities -> ListCertificateAuthoritiesResponse = list => any();
    read GetCertificateAuthorityCsr -> GetCertificateAuthorityCsrResponse = csr
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone());
    read GetCertificateAuthorityCertificate -> GetCertificateAuthorityCertificateResponse = certificate
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone());
    asynchronous ImportCertificateAuthorityCertificate -> () = import
        => on(&AUTHORITY, |op, _| op.certificate_authority_arn.clone());
}

impl Refuses for CreateCertificateAuthority {
    fn names() -> Vec<String> {
        [
            "CertificateAuthorityConfiguration.KeyAlgorithm: ML_DSA_44, ML_DSA_65, ML_DSA_87, SM2",
            "CertificateAuthorityConfiguration.SigningAlgorithm: SM3WITHSM2, ML_DSA_44, ML_DSA_65, ML_DSA_87",
            "RevocationConfiguration.CrlConfiguration.Enabled: true",
            "RevocationConfiguration.OcspConfiguration.Enabled: true",
            "KeyStorageSecurityStandard",
        ]
        .map(str::to_owned)
        .into()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        if self.key_storage_security_standard.is_some() {
            return Err(unsupported(
                "hardware that stores keys: KeyStorageSecurityStandard",
            ));
        }
        no_revocation(self.revocation_configuration.as_ref())
    }
}

pub(crate) fn unsupported(what: &str) -> ApiError {
    invalid_args(format!("Lath does not support {what}."))
}

pub(crate) fn no_revocation(it: Option<&RevocationConfiguration>) -> Result<(), ApiError> {
    let Some(it) = it else {
        return Ok(());
    };
    let crl = it.crl_configuration.as_ref().is_some_and(|it| it.enabled);
    let ocsp = it.ocsp_configuration.as_ref().is_some_and(|it| it.enabled);
    match crl || ocsp {
        true => Err(unsupported("lists of revoked certificates and OCSP")),
        false => Ok(()),
    }
}

async fn create(
    app: &Pca,
    _: &Caller,
    op: CreateCertificateAuthority,
) -> Result<CreateCertificateAuthorityResponse, ApiError> {
    let cell = &app.cell;
    op.refuse()?;
    let configuration = &op.certificate_authority_configuration;
    let unknown = || unsupported("this KeyAlgorithm or SigningAlgorithm");
    let algorithm = subject::key_algorithm(configuration.key_algorithm).ok_or_else(unknown)?;
    let way = subject::signature(configuration.signing_algorithm).ok_or_else(unknown)?;
    if !way.fits(algorithm) {
        return Err(invalid_args(format!(
            "A key {} does not sign with {}: keys of curves sign with the hash of their size.",
            configuration.key_algorithm.as_str(),
            configuration.signing_algorithm.as_str()
        )));
    }
    let name = subject::name(&configuration.subject)?;
    let tags = crate::tags::checked(op.tags.as_deref().unwrap_or_default())?;
    let installation = cell.authority.clone();
    let installation = installation.ok_or_else(|| ApiError::internal("no authority"))?;
    let made = crate::blocking(move || {
        let key = PrivateKey::generate(algorithm).map_err(ApiError::internal)?;
        let request = signing_request(&key, way, &name);
        let request = request
            .map_err(|_| invalid_args("The subject of the certificate authority is not valid."))?;
        Ok::<_, ApiError>((installation.seal(&key), request))
    });
    let (key, request) = made.await??;
    let now = app.cell.now();
    let fresh = Authority {
        id: uuid::Uuid::new_v4().to_string(),
        kind: op.certificate_authority_type,
        configuration: configuration.clone(),
        usage_mode: op.usage_mode.unwrap_or(UsageMode::GeneralPurpose),
        status: AuthorityStatus::PendingCertificate,
        key,
        request,
        certificate: None,
        chain: String::new(),
        serial: None,
        not_before: None,
        not_after: None,
        created_at: now,
        changed_at: now,
        restorable_until: None,
        tags,
    };
    let token = op.idempotency_token.clone();
    let print = fingerprint(&CreateCertificateAuthority {
        idempotency_token: None,
        ..op
    });
    let id = cell.db.write(|tx| {
        if let Some(token) = token.as_deref() {
            let scope = format!("acm-pca.CreateCertificateAuthority/{print:016x}");
            let known = lath_service::claim(tx, &scope, Some(token), print, &fresh.id);
            let known = known.ok().flatten();
            if let Some(known) = known.filter(|it| tx.get::<Authority>(it).is_some()) {
                return Ok(known);
            }
        }
        let count = tx.view().list::<Authority>().count() + 1;
        AUTHORITIES.check(cell, count, |it| {
            let text = format!(
                "The number of certificate authorities is limited to {}.",
                it.limit
            );
            coded("LimitExceededException", text)
        })?;
        Ok::<_, ApiError>(tx.put(fresh.clone()).id.clone())
    });
    Ok(CreateCertificateAuthorityResponse {
        certificate_authority_arn: Some(arn(cell, &id.await?)),
    })
}

fn shown(app: &Pca, it: &Authority, now: Timestamp) -> CertificateAuthority {
    CertificateAuthority {
        arn: Some(arn(&app.cell, &it.id)),
        owner_account: Some(app.cell.account.clone()),
        created_at: Some(it.created_at),
        last_state_change_at: Some(it.changed_at),
        r#type: Some(it.kind),
        serial: it.serial.clone(),
        status: Some(it.status(now)),
        not_before: it.not_before,
        not_after: it.not_after,
        certificate_authority_configuration: Some(it.configuration.clone()),
        revocation_configuration: Some(RevocationConfiguration {
            crl_configuration: Some(CrlConfiguration { enabled: false }),
            ocsp_configuration: Some(OcspConfiguration { enabled: false }),
        }),
        restorable_until: it.restorable_until,
        usage_mode: Some(it.usage_mode),
    }
}

/// The installation's own authority.
fn installation(app: &Pca) -> Option<CertificateAuthority> {
    let root = app.cell.authority.as_ref()?.root();
    let member = |oid: &str| root.subject.get(oid).map(str::to_owned);
    Some(CertificateAuthority {
        arn: crate::authorities::installation_arn(&app.cell),
        owner_account: Some(app.cell.account.clone()),
        created_at: Some(root.not_before),
        last_state_change_at: Some(root.not_before),
        r#type: Some(AuthorityType::Root),
        serial: Some(root.serial.clone()),
        status: Some(match root.not_after <= app.cell.now() {
            true => AuthorityStatus::Expired,
            false => AuthorityStatus::Active,
        }),
        not_before: Some(root.not_before),
        not_after: Some(root.not_after),
        certificate_authority_configuration: Some(Configuration {
            key_algorithm: KeyName::P256,
            signing_algorithm: SigningName::Sha256Ecdsa,
            subject: AsnSubject {
                country: None,
                organization: member("2.5.4.10"),
                organizational_unit: None,
                distinguished_name_qualifier: None,
                state: None,
                common_name: member("2.5.4.3"),
                serial_number: None,
                locality: None,
                title: None,
                surname: None,
                given_name: None,
                initials: None,
                pseudonym: None,
                generation_qualifier: None,
                custom_attributes: None,
            },
        }),
        revocation_configuration: None,
        restorable_until: None,
        usage_mode: Some(UsageMode::GeneralPurpose),
    })
}

fn is_installations(app: &Pca, arn: &str) -> bool {
    crate::authorities::installation_arn(&app.cell).as_deref() == Some(arn)
}

fn describe(
    app: &Pca,
    view: &View,
    op: &DescribeCertificateAuthority,
) -> Result<DescribeCertificateAuthorityResponse, ApiError> {
    let arn = &op.certificate_authority_arn;
    let authority = match is_installations(app, arn) {
        true => installation(app),
        false => Some(shown(app, &*find(&app.cell, view, arn)?, app.cell.now())),
    };
    Ok(DescribeCertificateAuthorityResponse {
        certificate_authority: authority,
    })
}

fn list(
    app: &Pca,
    view: &View,
    op: &ListCertificateAuthorities,
) -> Result<ListCertificateAuthoritiesResponse, ApiError> {
    let size = tags::page_size(op.max_results, PAGE);
    let now = app.cell.now();
    let own = op.resource_owner != Some(ResourceOwner::OtherAccounts);
    let all = view.list::<Authority>().map(|it| shown(app, &it, now));
    let mut all: Vec<_> = all.chain(installation(app)).filter(|_| own).collect();
    let key = |it: &CertificateAuthority| it.arn.clone().unwrap_or_default();
    all.sort_by_key(key);
    let page = paginate(all, key, size, op.next_token.as_deref());
    let page =
        page.map_err(|_| coded("InvalidNextTokenException", "The NextToken is not valid."))?;
    Ok(ListCertificateAuthoritiesResponse {
        certificate_authorities: page.items,
        next_token: page.next_token,
    })
}

fn csr(
    app: &Pca,
    view: &View,
    op: &GetCertificateAuthorityCsr,
) -> Result<GetCertificateAuthorityCsrResponse, ApiError> {
    let found = find(&app.cell, view, &op.certificate_authority_arn)?;
    if found.status == AuthorityStatus::Deleted {
        return Err(not_in_state(
            &op.certificate_authority_arn,
            &found,
            app.cell.now(),
        ));
    }
    Ok(GetCertificateAuthorityCsrResponse {
        csr: Some(found.request.clone()),
    })
}

pub(crate) fn not_in_state(arn: &str, it: &Authority, now: Timestamp) -> ApiError {
    let status = it.status(now).as_str();
    invalid_state(format!(
        "The certificate authority {arn} is not in a valid state for the request: it is {status}"
    ))
}

fn certificate(
    app: &Pca,
    view: &View,
    op: &GetCertificateAuthorityCertificate,
) -> Result<GetCertificateAuthorityCertificateResponse, ApiError> {
    let arn = &op.certificate_authority_arn;
    if is_installations(app, arn) {
        return Ok(GetCertificateAuthorityCertificateResponse {
            certificate: app.cell.authority.as_ref().map(|it| it.root_pem()),
            certificate_chain: None,
        });
    }
    let found = find(&app.cell, view, arn)?;
    let is_deleted = found.status == AuthorityStatus::Deleted;
    let Some(own) = found.certificate.clone().filter(|_| !is_deleted) else {
        return Err(not_in_state(arn, &found, app.cell.now()));
    };
    Ok(GetCertificateAuthorityCertificateResponse {
        certificate: Some(own),
        certificate_chain: Some(found.chain.clone()).filter(|it| !it.is_empty()),
    })
}

/// What is imported, verified but for the authority that it is for.
fn verified(
    op: &ImportCertificateAuthorityCertificate,
    now: Timestamp,
) -> Result<(Certificate, Vec<Certificate>), ApiError> {
    let malformed = |what: &str| coded("MalformedCertificateException", what.to_owned());
    let bad = || malformed("The certificate is not PEM-encoded or is not valid.");
    let mut own = Certificate::all_from_pem(&op.certificate.0).map_err(|_| bad())?;
    let own = own.pop().filter(|_| own.is_empty()).ok_or_else(bad)?;
    let chain = op.certificate_chain.as_ref().filter(|it| !it.0.is_empty());
    let chain = chain.map(|it| Certificate::all_from_pem(&it.0));
    let chain = chain
        .transpose()
        .map_err(|_| malformed("The certificate chain is not PEM-encoded or is not valid."))?;
    let chain = chain.unwrap_or_default();
    if !own.is_authority {
        return Err(malformed(
            "The certificate is not one of a certificate authority.",
        ));
    }
    if std::iter::once(&own)
        .chain(&chain)
        .any(|it| it.not_after <= now)
    {
        return Err(malformed(
            "The certificate or one of its chain has expired.",
        ));
    }
    let ends_in_root = chain.last().unwrap_or(&own).names_itself();
    if !ends_in_root || !verify(&own, &chain) {
        return Err(malformed(
            "The certificate chain does not lead from the certificate to a root.",
        ));
    }
    Ok((own, chain))
}

async fn import(
    app: &Pca,
    _: &Caller,
    op: ImportCertificateAuthorityCertificate,
) -> Result<(), ApiError> {
    let cell = &app.cell;
    let arn = op.certificate_authority_arn.clone();
    find(cell, &cell.db.view(), &arn)?;
    let now = cell.now();
    let (own, chain) = crate::blocking(move || verified(&op, now)).await??;
    let written = cell.db.write(|tx: &mut Tx| {
        let found = find(cell, tx.view(), &arn)?;
        use AuthorityStatus::{Active, Disabled, PendingCertificate};
        if ![Active, Disabled, PendingCertificate].contains(&found.status) {
            return Err(not_in_state(&arn, &found, tx.now()));
        }
        let is_root = found.kind == AuthorityType::Root;
        if is_root != chain.is_empty() {
            return Err(coded("InvalidRequestException", match is_root {
                true => "A root certificate authority has no certificate chain.",
                false => "A subordinate certificate authority needs the chain of its certificate.",
            }));
        }
        let request = lath_ca::SigningRequest::from_pem(found.request.as_bytes());
        let request = request.map_err(ApiError::internal)?;
        if own.public != request.public || own.subject != request.subject {
            return Err(coded(
                "CertificateMismatchException",
                "The certificate does not match the certificate signing request of the certificate authority.",
            ));
        }
        let mut next = Authority::clone(&found);
        next.certificate = Some(own.pem());
        next.chain = chain.iter().map(Certificate::pem).collect();
        next.serial = Some(own.serial.clone());
        next.not_before = Some(own.not_before);
        next.not_after = Some(own.not_after);
        if next.status == PendingCertificate {
            next.status = Active;
            next.changed_at = tx.now();
        }
        tx.put(next);
        Ok::<_, ApiError>(())
    });
    written.await
}
