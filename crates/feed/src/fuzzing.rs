//! Entry points for the targets in `fuzz/` only.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::stream::{Delta, Down, Up, frame};
use crate::{Observed, Snapshot};

/// Reads bytes as every kind of message, and checks that what was read is written as what reads the same.
pub fn messages(bytes: &[u8]) {
    if let Some(Up::Changed(report)) = same::<Up>(bytes) {
        report.apply(&mut Observed::default());
    }
    same::<Snapshot>(bytes);
    same::<Down>(bytes);
    if let Some(delta) = same::<Delta>(bytes) {
        let _ = delta.apply(&Snapshot::default());
    }
}

fn same<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let read: T = frame::decode(bytes).ok()?;
    let written = frame::encode(&read).expect("what was read can be written");
    let again: T = frame::decode(&written[4..]).expect("what was written can be read");
    // Compared as bytes: what is no number equals nothing.
    assert_eq!(frame::encode(&again).ok(), Some(written));
    Some(read)
}
