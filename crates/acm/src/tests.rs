use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lath_ca::{Authority, Certificate, PrivateKey, verify};
use lath_clock::ManualClock;
use lath_control::{Cell, Claim, claims_on};
use lath_model::Timestamp;
use lath_store::{Db, Kinds, Memory};
use lath_wire::{ApiError, Blob, Caller, Handle};

use crate::shape::*;
use crate::{Acm, authorities, issue, usable};

const DAY: Duration = Duration::from_secs(86400);

pub(crate) fn hands() -> ManualClock {
    ManualClock::at(Timestamp::from_millis(1_767_225_600_000))
}

pub(crate) async fn lab() -> Acm {
    lab_at(&hands()).await
}

async fn lab_at(hands: &ManualClock) -> Acm {
    let mut cell = Cell::for_test().0;
    let kinds = lath_control::kinds(crate::kinds(Kinds::default()));
    let db = Db::open(Arc::new(Memory::new()), kinds).await.unwrap();
    cell.db = db.with_clock(hands.clock());
    cell.authority = Some(Arc::new(Authority::random(hands.now()).unwrap()));
    Acm {
        cell,
        // Zones of tests are claims.
        records: |_, view, name, kind| {
            let found = claims_on(view, &format!("{kind} {name}"));
            found.iter().map(|it| it.holder.clone()).collect()
        },
    }
}

async fn call<Op>(app: &Acm, op: Op) -> Result<Op::Output, ApiError>
where
    Op: lath_wire::Operation,
    Acm: Handle<Op>,
{
    app.handle(&Caller::nobody("us-east-1", "acm", "id", None), op)
        .await
}

fn claim(resource: &str, holder: &str) -> Claim {
    Claim {
        resource: resource.to_owned(),
        holder: holder.to_owned(),
    }
}

async fn put(app: &Acm, claim: Claim) {
    let written = app.cell.db.write(|tx| {
        tx.put(claim);
        Ok::<_, ApiError>(())
    });
    written.await.unwrap();
}

async fn take(app: &Acm, claim: Claim) {
    let written = app.cell.db.write(|tx| {
        use lath_store::Record as _;
        assert!(tx.delete::<Claim>(&claim.id()));
        Ok::<_, ApiError>(())
    });
    written.await.unwrap();
}

fn asked(name: &str, others: &[&str]) -> RequestCertificate {
    RequestCertificate {
        domain_name: name.to_owned(),
        validation_method: Some(ValidationMethod::Dns),
        subject_alternative_names: Some(others.iter().map(|it| (*it).to_owned()).collect())
            .filter(|it: &Vec<String>| !it.is_empty()),
        idempotency_token: None,
        domain_validation_options: None,
        options: None,
        certificate_authority_arn: None,
        tags: None,
        key_algorithm: Some(KeyAlgorithmName::P256),
        managed_by: None,
    }
}

async fn request(app: &Acm, op: RequestCertificate) -> String {
    call(app, op).await.unwrap().certificate_arn.unwrap()
}

async fn describe(app: &Acm, arn: &str) -> CertificateDetail {
    let op = DescribeCertificate {
        certificate_arn: arn.to_owned(),
    };
    call(app, op).await.unwrap().certificate.unwrap()
}

fn record(detail: &CertificateDetail, at: usize) -> Claim {
    let options = detail.domain_validation_options.as_ref().unwrap();
    let record = options[at].resource_record.as_ref().unwrap();
    claim(&format!("CNAME {}", record.name), &record.value)
}

/// A pass, and that another one finds nothing to do.
async fn settle(app: &Acm) {
    issue::pass(app).await.unwrap();
    let revision = app.cell.db.view().revision();
    issue::pass(app).await.unwrap();
    assert_eq!(
        app.cell.db.view().revision(),
        revision,
        "a settled state stays"
    );
}

async fn issued(app: &Acm) -> (String, Claim) {
    let arn = request(app, asked("shop.example.com", &["*.shop.example.com"])).await;
    let proof = record(&describe(app, &arn).await, 0);
    put(app, proof.clone()).await;
    settle(app).await;
    (arn, proof)
}

#[tokio::test]
async fn a_name_that_a_zone_proves_gets_its_certificate() {
    let app = lab().await;
    let arn = request(
        &app,
        asked("Shop.example.com", &["*.shop.example.com", "b.example.com"]),
    )
    .await;
    settle(&app).await;
    let pending = describe(&app, &arn).await;
    assert_eq!(pending.status, Some(CertificateStatus::PendingValidation));
    assert_eq!(pending.domain_name.as_deref(), Some("shop.example.com"));
    let get = || GetCertificate {
        certificate_arn: arn.clone(),
    };
    let error = call(&app, get()).await.unwrap_err();
    assert_eq!(error.code, "RequestInProgressException");
    assert!(usable(&app.cell, &app.cell.db.view(), &arn).is_err());

    // The wildcard has the record of its name; the third name is not proved yet.
    put(&app, record(&pending, 0)).await;
    settle(&app).await;
    let half = describe(&app, &arn).await;
    let states = half.domain_validation_options.iter().flatten();
    let states: Vec<_> = states.filter_map(|it| it.validation_status).collect();
    use DomainStatus::{PendingValidation, Success};
    assert_eq!(states, [Success, Success, PendingValidation]);
    put(&app, record(&pending, 2)).await;
    settle(&app).await;

    let done = describe(&app, &arn).await;
    assert_eq!(done.status, Some(CertificateStatus::Issued));
    assert_eq!(done.key_algorithm.as_deref(), Some("EC-prime256v1"));
    assert_eq!(done.issuer.as_deref(), Some("Lath"));
    assert_eq!(done.subject.as_deref(), Some("CN=shop.example.com"));
    assert_eq!(
        done.renewal_eligibility,
        Some(RenewalEligibility::Ineligible)
    );
    let got = call(&app, get()).await.unwrap();
    let leaf = Certificate::all_from_pem(got.certificate.unwrap().as_bytes()).unwrap();
    let chain = Certificate::all_from_pem(got.certificate_chain.unwrap().as_bytes()).unwrap();
    assert!(verify(&leaf[0], &chain));
    let usable = usable(&app.cell, &app.cell.db.view(), &arn).unwrap();
    assert_eq!(
        usable.names,
        ["shop.example.com", "*.shop.example.com", "b.example.com"]
    );
    assert_eq!(usable.key.public(), leaf[0].public);
    assert_eq!(
        usable.chain,
        [leaf[0].der.clone()],
        "the root is the client's"
    );
}

#[tokio::test]
async fn requests_fail_as_they_do_on_aws() {
    let hands = hands();
    let app = lab_at(&hands).await;
    let late = request(&app, asked("late.example.com", &[])).await;
    let denied = request(&app, asked("caa.example.com", &[])).await;
    put(&app, record(&describe(&app, &denied).await, 0)).await;
    put(&app, claim("CAA example.com", "0 issue \"other.example\"")).await;
    let allowed = request(&app, asked("a.ours.example.com", &[])).await;
    put(&app, record(&describe(&app, &allowed).await, 0)).await;
    put(
        &app,
        claim("CAA ours.example.com", "0 issue \"amazon.com\""),
    )
    .await;
    let forbidden = request(&app, asked("sts.us-east-1.amazonaws.com", &[])).await;
    // Instances trust the installation's root: what it signs is no more free than public names are.
    let by_root = |name| RequestCertificate {
        certificate_authority_arn: authorities::installation_arn(&app.cell),
        validation_method: None,
        ..asked(name, &[])
    };
    let of_aws = request(&app, by_root("eks-auth.us-east-1.api.aws")).await;
    let unproved = request(&app, by_root("someone-elses.example.com")).await;
    let unknown = RequestCertificate {
        certificate_authority_arn: Some(app.cell.arn("acm-pca", "certificate-authority/none")),
        ..asked("private.example.com", &[])
    };
    let unknown = request(&app, unknown).await;
    settle(&app).await;
    hands.advance(4 * DAY);
    settle(&app).await;
    for (arn, status, reason) in [
        (&late, CertificateStatus::ValidationTimedOut, None),
        (
            &denied,
            CertificateStatus::Failed,
            Some(FailureReason::CaaError),
        ),
        (&allowed, CertificateStatus::Issued, None),
        (
            &forbidden,
            CertificateStatus::Failed,
            Some(FailureReason::DomainNotAllowed),
        ),
        (
            &of_aws,
            CertificateStatus::Failed,
            Some(FailureReason::DomainNotAllowed),
        ),
        (&unproved, CertificateStatus::ValidationTimedOut, None),
        (
            &unknown,
            CertificateStatus::Failed,
            Some(FailureReason::PcaResourceNotFound),
        ),
    ] {
        let it = describe(&app, arn).await;
        assert_eq!(
            (it.status, it.failure_reason),
            (Some(status), reason),
            "{it:?}"
        );
    }
}

#[tokio::test]
async fn a_private_certificate_leaves_encrypted() {
    let app = lab().await;
    let op = RequestCertificate {
        certificate_authority_arn: authorities::installation_arn(&app.cell),
        validation_method: None,
        ..asked("db.internal.example", &[])
    };
    let arn = request(&app, op.clone()).await;
    put(&app, record(&describe(&app, &arn).await, 0)).await;
    settle(&app).await;
    let it = describe(&app, &arn).await;
    assert_eq!(it.r#type, Some(CertificateType::Private));
    assert_eq!(it.status, Some(CertificateStatus::Issued));
    assert_eq!(it.certificate_authority_arn, op.certificate_authority_arn);
    let renew = || RenewCertificate {
        certificate_arn: arn.clone(),
    };
    let error = call(&app, renew()).await.unwrap_err();
    assert_eq!(error.code, "ValidationException");

    let export = ExportCertificate {
        certificate_arn: arn.clone(),
        passphrase: Blob(b"secret".to_vec()),
    };
    let exported = call(&app, export).await.unwrap();
    assert!(
        exported
            .private_key
            .unwrap()
            .starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    );
    let serial = describe(&app, &arn).await.serial;
    call(&app, renew()).await.unwrap();
    let error = call(&app, renew()).await.unwrap_err();
    assert_eq!(error.code, "RequestInProgressException");
    settle(&app).await;
    let renewed = describe(&app, &arn).await;
    assert_ne!(renewed.serial, serial);
    let summary = renewed.renewal_summary.unwrap();
    assert_eq!(summary.renewal_status, RenewalStatus::Success);
}

#[tokio::test]
async fn what_is_in_use_is_renewed_before_its_end_and_is_not_deleted() {
    let hands = hands();
    let app = lab_at(&hands).await;
    let (arn, proof) = issued(&app).await;
    let before = describe(&app, &arn).await;
    let begin = hands.now();
    hands.set(begin.plus(170 * DAY));
    settle(&app).await;
    assert_eq!(
        describe(&app, &arn).await.serial,
        before.serial,
        "nothing uses it"
    );

    put(
        &app,
        claim(
            &arn,
            "arn:aws:vpc-lattice:us-east-1:123456789012:service/svc-1",
        ),
    )
    .await;
    let used = describe(&app, &arn).await;
    assert_eq!(used.in_use_by.len(), 1);
    assert_eq!(used.renewal_eligibility, Some(RenewalEligibility::Eligible));
    let delete = || DeleteCertificate {
        certificate_arn: arn.clone(),
    };
    assert_eq!(
        call(&app, delete()).await.unwrap_err().code,
        "ResourceInUseException"
    );
    hands.set(begin.plus(100 * DAY));
    settle(&app).await;
    assert_eq!(
        describe(&app, &arn).await.serial,
        before.serial,
        "it is too early"
    );

    take(&app, proof.clone()).await;
    hands.set(begin.plus(170 * DAY));
    settle(&app).await;
    let waits = describe(&app, &arn).await;
    let summary = waits.renewal_summary.unwrap();
    assert_eq!(summary.renewal_status, RenewalStatus::PendingValidation);
    assert_eq!(
        (waits.serial, waits.status),
        (before.serial.clone(), Some(CertificateStatus::Issued))
    );
    put(&app, proof).await;
    settle(&app).await;
    let renewed = describe(&app, &arn).await;
    assert_ne!(renewed.serial, before.serial);
    assert_eq!(
        renewed.renewal_summary.unwrap().renewal_status,
        RenewalStatus::Success
    );
    take(
        &app,
        claim(
            &arn,
            "arn:aws:vpc-lattice:us-east-1:123456789012:service/svc-1",
        ),
    )
    .await;
    call(&app, delete()).await.unwrap();
    assert_eq!(
        call(&app, delete()).await.unwrap_err().code,
        "ResourceNotFoundException"
    );
}

#[tokio::test]
async fn what_was_revoked_is_known_when_its_record_is_gone() {
    let app = lab().await;
    let op = RequestCertificate {
        options: Some(CertificateOptions {
            certificate_transparency_logging_preference: None,
            export: Some(CertificateExport::Enabled),
        }),
        ..asked("shop.example.com", &[])
    };
    let certificate_arn = request(&app, op).await;
    put(&app, record(&describe(&app, &certificate_arn).await, 0)).await;
    settle(&app).await;
    let serial = describe(&app, &certificate_arn).await.serial.unwrap();
    let known = || crate::revoked(&app.cell, &app.cell.db.view());
    assert!(known().is_empty());
    let export = ExportCertificate {
        certificate_arn: certificate_arn.clone(),
        passphrase: Blob(b"secret".to_vec()),
    };
    call(&app, export).await.unwrap();
    let revoke = RevokeCertificate {
        certificate_arn: certificate_arn.clone(),
        revocation_reason: RevocationReason::KeyCompromise,
    };
    call(&app, revoke).await.unwrap();
    let root = app.cell.authority.as_ref().unwrap().root_pem();
    let wanted = BTreeMap::from([(root, BTreeSet::from([serial.replace(':', "")]))]);
    assert_eq!(known(), wanted);
    let delete = DeleteCertificate { certificate_arn };
    call(&app, delete).await.unwrap();
    assert_eq!(known(), wanted);
}

#[tokio::test]
async fn what_ended_while_the_host_was_off_is_renewed_all_the_same() {
    let hands = hands();
    let app = lab_at(&hands).await;
    let (arn, _) = issued(&app).await;
    let before = describe(&app, &arn).await.serial;
    hands.advance(300 * DAY);
    settle(&app).await;
    assert_eq!(describe(&app, &arn).await.serial, before, "nothing uses it");
    let user = "arn:aws:vpc-lattice:us-east-1:123456789012:service/svc-1";
    put(&app, claim(&arn, user)).await;
    settle(&app).await;
    assert_ne!(describe(&app, &arn).await.serial, before);
}

fn import(authority: &Authority, names: &[&str]) -> (ImportCertificate, PrivateKey) {
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let usable = authority.issue(&names, 30 * DAY, hands().now()).unwrap();
    let leaf = Certificate::parse(&usable.chain[0]).unwrap();
    let op = ImportCertificate {
        certificate_arn: None,
        certificate: Blob(leaf.pem().into_bytes()),
        private_key: Blob(usable.key.reveal_pem().as_bytes().to_vec()),
        certificate_chain: Some(Blob(authority.root_pem().into_bytes())),
        tags: None,
    };
    (op, usable.key)
}

#[tokio::test]
async fn in_extended_mode_a_certificate_may_come_without_its_chain() {
    let mut app = lab().await;
    app.cell.mode = lath_control::Mode::Extended;
    let foreign = Authority::random(hands().now()).unwrap();
    let alone = ImportCertificate {
        certificate_chain: None,
        ..import(&foreign, &["www.example.com"]).0
    };
    let arn = call(&app, alone).await.unwrap().certificate_arn.unwrap();
    let view = app.cell.db.view();
    assert_eq!(usable(&app.cell, &view, &arn).unwrap().chain.len(), 1);
    // There is nothing above it that could be trusted.
    assert!(crate::trusted(&app.cell, &view, &arn).is_err());
}

#[tokio::test]
async fn imports_are_verified() {
    let app = lab().await;
    let foreign = Authority::random(hands().now()).unwrap();
    let (good, key) = import(&foreign, &["www.example.com"]);
    let arn = call(&app, good.clone())
        .await
        .unwrap()
        .certificate_arn
        .unwrap();
    let it = describe(&app, &arn).await;
    assert_eq!(it.r#type, Some(CertificateType::Imported));
    assert_eq!(it.renewal_eligibility, Some(RenewalEligibility::Ineligible));
    let text = format!(
        "{:?}",
        app.cell
            .db
            .view()
            .get::<crate::record::Certificate>(arn.rsplit('/').next().unwrap())
    );
    assert!(!text.contains("PRIVATE") && text.contains("Sealed(..)"));
    assert_eq!(
        usable(&app.cell, &app.cell.db.view(), &arn).unwrap().key,
        key
    );

    let other = import(&foreign, &["www.example.com"]).0;
    let twice = [good.certificate.0.clone(), good.certificate.0.clone()].concat();
    let stranger = Authority::random(hands().now()).unwrap().root_pem();
    // The version says v1: what that breaks of the signature is looked at later.
    let mut old = Certificate::all_from_pem(&good.certificate.0)
        .unwrap()
        .remove(0);
    let version = [0xa0, 3, 2, 1, 2];
    let at = old.der.windows(5).position(|it| it == version).unwrap();
    old.der[at + 4] = 0;
    assert_eq!(Certificate::parse(&old.der).unwrap().version, 1);
    for (bad, words) in [
        (
            ImportCertificate {
                certificate: Blob(b"x".to_vec()),
                ..good.clone()
            },
            "certificate is not PEM",
        ),
        (
            ImportCertificate {
                certificate: Blob(twice),
                ..good.clone()
            },
            "more than one certificate",
        ),
        (
            ImportCertificate {
                private_key: Blob(b"x".to_vec()),
                ..good.clone()
            },
            "private key is not PEM",
        ),
        (
            ImportCertificate {
                private_key: other.private_key,
                ..good.clone()
            },
            "does not match",
        ),
        (
            ImportCertificate {
                certificate: Blob(old.pem().into_bytes()),
                ..good.clone()
            },
            "only X.509 version 3",
        ),
        (
            ImportCertificate {
                certificate_chain: None,
                ..good.clone()
            },
            "not a valid self signed",
        ),
        (
            ImportCertificate {
                certificate_chain: Some(Blob(b"x".to_vec())),
                ..good.clone()
            },
            "chain is not PEM",
        ),
        (
            ImportCertificate {
                certificate_chain: Some(Blob(stranger.into_bytes())),
                ..good.clone()
            },
            "Could not validate",
        ),
        (
            ImportCertificate {
                certificate_arn: Some(arn.clone()),
                tags: Some(Vec::new()),
                ..good.clone()
            },
            "not permitted on re-import",
        ),
    ] {
        let error = call(&app, bad).await.unwrap_err();
        assert_eq!(error.code, "ValidationException", "{words}");
        assert!(error.message.contains(words), "{words}: {}", error.message);
    }

    let (again, _) = import(&foreign, &["www.example.com", "more.example.com"]);
    let again = ImportCertificate {
        certificate_arn: Some(arn.clone()),
        ..again
    };
    assert_eq!(
        call(&app, again).await.unwrap().certificate_arn.as_ref(),
        Some(&arn)
    );
    let replaced = describe(&app, &arn).await;
    assert_eq!(replaced.subject_alternative_names.unwrap().len(), 2);
    assert_eq!(replaced.created_at, it.created_at);
    let (managed, _) = issued(&app).await;
    let wrong = ImportCertificate {
        certificate_arn: Some(managed),
        ..good
    };
    assert_eq!(
        call(&app, wrong).await.unwrap_err().code,
        "ValidationException"
    );
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_cut() {
    let app = lab().await;
    for number in 0..5 {
        request(&app, asked(&format!("n{number}.example.com"), &[])).await;
    }
    let all = |types: Option<Vec<KeyAlgorithmName>>, size, token| ListCertificates {
        certificate_statuses: None,
        includes: types.map(|key_types| Filters {
            extended_key_usage: None,
            key_usage: None,
            key_types: Some(key_types),
            export_option: None,
            managed_by: None,
        }),
        next_token: token,
        max_items: Some(size),
        sort_by: Some(SortBy::CreatedAt),
        sort_order: Some(SortOrder::Descending),
    };
    let none = call(&app, all(None, 10, None)).await.unwrap();
    assert!(
        none.certificate_summary_list.is_empty(),
        "RSA only unless asked"
    );
    let (mut token, mut seen) = (None, Vec::new());
    loop {
        let op = all(Some(vec![KeyAlgorithmName::P256]), 2, token);
        let page = call(&app, op).await.unwrap();
        seen.extend(
            page.certificate_summary_list
                .into_iter()
                .map(|it| (it.created_at, it.domain_name)),
        );
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|one, next| one.0 >= next.0));
    let half = ListCertificates {
        sort_order: None,
        ..all(None, 1, None)
    };
    assert_eq!(
        call(&app, half).await.unwrap_err().code,
        "ValidationException"
    );
}
