use std::collections::BTreeMap;
use std::future::pending;

use bytes::Bytes;
use lath_feed::Mesh;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::Cell;

/// A part of a region's state that other regions hold a copy of. The importer stores it in records of its
/// own kinds, so that it outlives the exporter and every reader finds it in the [`View`].
#[derive(Clone, Copy)]
pub struct Section {
    /// Unique among sections, and for ever the same.
    pub name: &'static str,
    /// The part as bytes, the same for the same state; `None` where this region has none to tell.
    pub export: fn(&Cell, &View) -> Option<Vec<u8>>,
    /// Replaces what is held of `region`'s part. Nothing is changed on an error.
    pub import: fn(&Cell, &mut Tx, region: &str, bytes: &[u8]) -> Result<(), ApiError>,
}

/// Tells the other regions this one's sections and takes theirs, until the database is gone.
pub async fn exchange(cell: Cell, sections: Vec<Section>, mesh: Mesh) {
    let mut changes = cell.db.changes();
    let mut peers = mesh.peers();
    let mut taken: BTreeMap<(String, &'static str), Bytes> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        let view = cell.db.view();
        for section in &sections {
            if let Some(bytes) = (section.export)(&cell, &view) {
                mesh.tell(section.name, bytes.into());
            }
        }
        drop(view);
        let known = peers.borrow_and_update().clone();
        for (region, peer) in known.iter() {
            for section in &sections {
                let key = (region.clone(), section.name);
                let Some(bytes) = peer.values.get(section.name) else {
                    continue;
                };
                if taken.get(&key) != Some(bytes) && take(&cell, section, region, bytes).await {
                    taken.insert(key, bytes.clone());
                }
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = async { if peers.changed().await.is_err() { pending::<()>().await } } => {}
        }
    }
}

/// Whether it was taken; what could not be is tried again with the next change.
async fn take(cell: &Cell, section: &Section, region: &str, bytes: &Bytes) -> bool {
    let import = cell
        .db
        .write(|tx| (section.import)(cell, tx, region, bytes))
        .await;
    if let Err(error) = &import {
        tracing::error!(region, section = section.name, %error, cause = ?error.cause, "another region's state could not be taken");
    }
    import.is_ok()
}
