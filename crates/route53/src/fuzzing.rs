//! Entry points of the fuzz targets.

use lath_control::{Cell, Mode};
use lath_wire::ApiError;

use crate::shape::{ChangeBatch, ChangeResourceRecordSets, RrType};
use crate::{batch, name, value};

/// Every type that a record may have.
const KINDS: [RrType; 17] = [
    RrType::A,
    RrType::Aaaa,
    RrType::Caa,
    RrType::Cname,
    RrType::Ds,
    RrType::Https,
    RrType::Mx,
    RrType::Naptr,
    RrType::Ns,
    RrType::Ptr,
    RrType::Soa,
    RrType::Spf,
    RrType::Srv,
    RrType::Sshfp,
    RrType::Svcb,
    RrType::Tlsa,
    RrType::Txt,
];

/// Reads a record value of each type. A value's normal form is its own normal form.
pub fn record_value(text: &str) {
    for kind in KINDS {
        if let Ok(normal) = value::normal(kind, text) {
            assert_eq!(
                value::normal(kind, &normal).as_ref(),
                Ok(&normal),
                "{kind} {text}"
            );
        }
    }
}

/// Reads a name. The canonical form is its own canonical form.
pub fn domain_name(text: &str) {
    if let Ok(canonical) = name::canonical(text) {
        assert_eq!(
            name::canonical(&canonical).as_ref(),
            Ok(&canonical),
            "{text}"
        );
        name::sort_key(&canonical);
    }
}

/// Decodes a change batch (XML) and applies it to a zone.
pub fn change_batch(xml: &[u8]) {
    let Ok(doc) = lath_wire::format::xml::read(xml) else {
        return;
    };
    let Ok(batch) = lath_wire::decode::<ChangeBatch>(doc, lath_wire::Typing::Untyped) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    if let Ok(runtime) = runtime {
        runtime.block_on(apply(batch.value));
    }
}

async fn apply(batch: ChangeBatch) {
    let (mut cell, _node) = Cell::for_test();
    cell.mode = Mode::Extended;
    let app = crate::Route53::new(cell, &[]);
    let written = app.cell.db.write(|tx| {
        let id = crate::zone::create(
            &app,
            tx,
            crate::shape::CreateHostedZone {
                name: "example.com".into(),
                vpc: None,
                caller_reference: "fuzz".into(),
                config: None,
                delegation_set_id: None,
            },
        )?;
        let op = ChangeResourceRecordSets {
            id: id.zone.id,
            batch,
        };
        batch::change(&app, tx, op)
    });
    let written: Result<_, ApiError> = written.await;
    drop(written);
    let view = app.cell.db.view();
    lath_control::compile(&app.cell, &view, &crate::CONTRIBUTIONS);
}
