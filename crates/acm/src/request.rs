//! Requests for certificates.

use lath_ca::KeyAlgorithm;
use lath_control::fingerprint;
use lath_service::{Quota, Refuses, operations};
use lath_store::Tx;
use lath_wire::ApiError;

use crate::record::{Certificate, Origin};
use crate::resource_types::pairs;
use crate::shape::*;
use crate::{Acm, authorities, fault, names, resource_types, tags};

/// <https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html>
const CERTIFICATES: Quota<&str> = Quota::new("ACM certificates", "L-F141DD1D", 2500);
/// The same page.
const NAMES: Quota<&str> = Quota::new("domain names per ACM certificate", "L-FB94F0B0", 10);

operations! {
    for Acm as "acm";
    change RequestCertificate -> OnlyArn = request
        => any()
            .tagged(|op, _| pairs(op.tags.as_deref().unwrap_or_default()))
            .with("acm:DomainNames", |op, _| {
                let others = op.subject_alternative_names.iter().flatten();
                std::iter::once(&op.domain_name).chain(others).cloned().collect::<Vec<_>>()
            })
            .with("acm:ValidationMethod", |op, _| {
                let is_public = op.certificate_authority_arn.is_none();
                let method = op.validation_method.unwrap_or(ValidationMethod::Email);
                is_public.then(|| method.as_str().to_owned())
            })
            .with("acm:KeyAlgorithm", |op, _| {
                let algorithm = op.key_algorithm.unwrap_or(KeyAlgorithmName::Rsa2048);
                algorithm.as_str().to_owned()
            })
            .with("acm:CertificateAuthority", |op, _| op.certificate_authority_arn.clone())
            .with("acm:CertificateTransparencyLogging", |op, _| {
                let options = op.options.as_ref();
                let logging = options.and_then(|it| it.certificate_transparency_logging_preference);
                logging.unwrap_or(Transparency::Enabled).as_str().to_owned()
            })
            .with("acm:Export", |op, _| {
                let export = op.options.as_ref().and_then(|it| it.export);
                export.unwrap_or(CertificateExport::Disabled).as_str().to_owned()
            })
        => refusing ["" RequestCertificate];
}

impl Refuses for RequestCertificate {
    fn names() -> Vec<String> {
        ["ValidationMethod: EMAIL, HTTP", "ManagedBy"]
            .map(str::to_owned)
            .into()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        if self.managed_by.is_some() {
            return Err(fault::unsupported(
                "certificates that CloudFront manages: ManagedBy",
            ));
        }
        if self.certificate_authority_arn.is_some() {
            return Ok(());
        }
        match self.validation_method {
            Some(ValidationMethod::Dns) => Ok(()),
            Some(ValidationMethod::Http) => Err(fault::unsupported("ValidationMethod HTTP")),
            Some(ValidationMethod::Email) => Err(fault::unsupported(
                "ValidationMethod EMAIL: it sends no mail",
            )),
            None => Err(fault::unsupported(
                "ValidationMethod EMAIL, which is the default: it sends no mail. Set ValidationMethod to DNS",
            )),
        }
    }
}

/// All names in lower case, the first one first, each once.
fn all_names(op: &RequestCertificate) -> Result<Vec<String>, ApiError> {
    let mut all = vec![names::checked("domainName", &op.domain_name)?];
    for name in op.subject_alternative_names.iter().flatten() {
        let name = names::checked("subjectAlternativeNames", name)?;
        if !all.contains(&name) {
            all.push(name);
        }
    }
    // The first is the certificate's common name too.
    if op.certificate_authority_arn.is_none() && all[0].len() > 64 {
        return Err(fault::validation(format!(
            "The first domain name can be at most 64 characters long: {}",
            all[0]
        )));
    }
    Ok(all)
}

/// What mail would be sent to must be the name or above it. They matter for EMAIL only, and are checked for all as ACM does.
fn check_options(op: &RequestCertificate, all: &[String]) -> Result<(), ApiError> {
    for option in op.domain_validation_options.iter().flatten() {
        let (name, above) = (&option.domain_name, &option.validation_domain);
        let bare = names::bare(name);
        let is_above = bare == above || bare.ends_with(&format!(".{above}"));
        if !is_above || !all.contains(&name.to_ascii_lowercase()) {
            return Err(fault::coded(
                "InvalidDomainValidationOptionsException",
                format!(
                    "The validation domain {above} is not the domain {name} or a superdomain of it."
                ),
            ));
        }
    }
    Ok(())
}

fn algorithm(op: &RequestCertificate) -> Result<KeyAlgorithm, ApiError> {
    let name = op.key_algorithm.unwrap_or(KeyAlgorithmName::Rsa2048);
    let mut known = KeyAlgorithm::ALL.into_iter();
    let algorithm = known.find(|it| it.name() == name.as_str());
    // <https://docs.aws.amazon.com/acm/latest/userguide/acm-certificate-characteristics.html>
    let of_public = [
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::P256,
        KeyAlgorithm::P384,
    ];
    let is_public = op.certificate_authority_arn.is_none();
    algorithm
        .filter(|it| !is_public || of_public.contains(it))
        .ok_or_else(|| {
            fault::invalid_parameter(format!(
                "The key algorithm {} is not supported for this request.",
                name.as_str()
            ))
        })
}

fn request(app: &Acm, tx: &mut Tx, op: RequestCertificate) -> Result<OnlyArn, ApiError> {
    let cell = &app.cell;
    let all = all_names(&op)?;
    op.refuse()?;
    check_options(&op, &all)?;
    let key_algorithm = algorithm(&op)?;
    let tags = tags::checked(op.tags.as_deref().unwrap_or_default())?;
    NAMES.check(cell, all.len(), |it| {
        let limit = it.limit;
        fault::limit(format!(
            "A certificate can have at most {limit} domain names: you requested {}.",
            all.len()
        ))
    })?;
    let id = uuid::Uuid::new_v4().to_string();
    // Equal requests with a token are one; others with the same token are requests of their own.
    if let Some(token) = &op.idempotency_token {
        let print = fingerprint(&RequestCertificate {
            idempotency_token: None,
            ..op.clone()
        });
        let scope = format!("acm.RequestCertificate/{print:016x}");
        let known = lath_service::claim(tx, &scope, Some(token.as_str()), print, &id);
        let known = known.ok().flatten();
        if let Some(known) = known.filter(|it| tx.get::<Certificate>(it).is_some()) {
            return Ok(OnlyArn {
                certificate_arn: Some(resource_types::arn(cell, &known)),
            });
        }
    }
    let requested = tx.view().list::<Certificate>().filter(|it| it.is_managed());
    let count = requested.count() + 1;
    CERTIFICATES.check(cell, count, |it| {
        let limit = it.limit;
        fault::limit(format!("You have reached the maximum number of certificates: {limit}. Delete certificates that are not in use, or contact AWS Support to request an increase."))
    })?;
    // Instances trust the installation's own root, so that its names are proved too; an account's own authorities sign any.
    let is_trusted = op
        .certificate_authority_arn
        .as_ref()
        .is_none_or(|it| authorities::installation_arn(cell).as_ref() == Some(it));
    let validations = all.iter().filter(|_| is_trusted);
    let validations = validations.map(|it| names::validation(cell, it));
    let forbidden = is_trusted && all.iter().any(|it| names::is_forbidden(it));
    let options = op.options.as_ref();
    let certificate = Certificate {
        id: id.clone(),
        origin: match op.certificate_authority_arn {
            None => Origin::Validated,
            Some(authority) => Origin::Private { authority },
        },
        domain: all[0].clone(),
        validations: validations.collect(),
        names: all,
        key_algorithm,
        status: if forbidden {
            CertificateStatus::Failed
        } else {
            CertificateStatus::PendingValidation
        },
        failure: forbidden.then_some(FailureReason::DomainNotAllowed),
        material: None,
        created_at: tx.now(),
        issued_at: None,
        imported_at: None,
        not_before: None,
        not_after: None,
        revoked: None,
        transparency: Some(
            options
                .and_then(|it| it.certificate_transparency_logging_preference)
                .unwrap_or(Transparency::Enabled),
        ),
        export: Some(
            options
                .and_then(|it| it.export)
                .unwrap_or(CertificateExport::Disabled),
        ),
        is_exported: false,
        renewal: None,
        is_renewing: false,
        tags,
    };
    tx.put(certificate);
    Ok(OnlyArn {
        certificate_arn: Some(resource_types::arn(cell, &id)),
    })
}
