//! Changes: how they are numbered, and when every server answers from them.

use lath_control::Cell;
use lath_model::Timestamp;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::Route53;
use crate::ident;
use crate::record::{Acknowledged, Change, ONLY, Serial};
use crate::resource_types::*;
use crate::shape::{ChangeInfo, ChangeStatus, GetChange, GetChangeResponse};

operations! {
    for Route53 as "route53";
    change GetChange: get "/2013-04-01/change/{Id}" 200 -> GetChangeResponse = get
        => on(&CHANGE, |op, _| op.id.clone());
}

/// How long a change can be asked for.
const RETENTION: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// How many forgotten changes one transaction removes.
const SWEEP: usize = 20;

/// Numbers a change in the transaction that makes it.
pub(crate) fn submit(tx: &mut Tx, comment: Option<String>) -> ChangeInfo {
    let now = tx.now();
    sweep(tx, now);
    let serial = serial(tx.view()) + 1;
    tx.put(Serial { serial });
    let change = tx.put(Change {
        id: new_id(now),
        submitted_at: now,
        comment,
        revision: tx.view().revision() + 1,
        serial,
        in_sync: false,
    });
    shown(&change)
}

/// The newest change's number.
pub(crate) fn serial(view: &View) -> u64 {
    view.get::<Serial>(ONLY).map_or(0, |known| known.serial)
}

fn new_id(now: Timestamp) -> String {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut left = u64::try_from(now.as_millis()).unwrap_or(0);
    let mut time = [b'0'; 9];
    for digit in time.iter_mut().rev() {
        let place = usize::try_from(left % 36).expect("less than 36");
        *digit = DIGITS[place];
        left /= 36;
    }
    let time = String::from_utf8_lossy(&time).into_owned();
    format!("C{time}{}", ident::random(11))
}

fn sweep(tx: &mut Tx, now: Timestamp) {
    let old: Vec<String> = tx
        .list::<Change>()
        .take(SWEEP)
        .filter(|change| now.since(change.submitted_at) >= RETENTION)
        .map(|change| change.id.clone())
        .collect();
    for id in old {
        tx.delete::<Change>(&id);
    }
}

fn shown(change: &Change) -> ChangeInfo {
    ChangeInfo {
        id: format!("/change/{}", change.id),
        status: if change.in_sync {
            ChangeStatus::InSync
        } else {
            ChangeStatus::Pending
        },
        submitted_at: change.submitted_at,
        comment: change.comment.clone(),
    }
}

/// Whether the home's node, and those of all regions that it reaches, answer from a change. A region that
/// is cut off does not hold it back: it catches up when it is back.
fn is_served(cell: &Cell, view: &View, change: &Change) -> bool {
    let observed = cell.observed.borrow();
    let elsewhere = |region: &str| {
        let connected = observed
            .regions
            .get(region)
            .is_some_and(|region| region.connected);
        let known = view.get::<Acknowledged>(region);
        !connected || known.is_some_and(|known| known.serial >= change.serial)
    };
    observed.dns_version >= change.revision
        && cell
            .topology
            .regions
            .keys()
            .filter(|region| **region != cell.region)
            .all(|region| elsewhere(region))
}

pub(crate) fn get(
    app: &Route53,
    tx: &mut Tx,
    op: GetChange,
) -> Result<GetChangeResponse, ApiError> {
    let cell = &app.cell;
    let id = ident::bare("/change/", &op.id);
    let change = tx.get::<Change>(id).ok_or_else(|| {
        let shown: String = id.chars().take(64).collect();
        let text = format!("Could not find resource with ID: {shown}");
        ApiError::new("NoSuchChange", 404, text)
    })?;
    if change.in_sync || !is_served(cell, tx.view(), &change) {
        let change = shown(&change);
        return Ok(GetChangeResponse { change });
    }
    let change = tx.put(Change {
        in_sync: true,
        ..Change::clone(&change)
    });
    let change = shown(&change);
    Ok(GetChangeResponse { change })
}
