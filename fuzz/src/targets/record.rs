//! Stored records: bytes that are read as one are written as one that reads the same.

use lath_ec2::records::{KeyPair, Vpc};
use lath_store::Record;
use lath_store::fuzzing::{decode, encode};

pub(crate) fn run(bytes: &[u8]) {
    check::<Vpc>("vpc-00000000000000001", bytes);
    check::<KeyPair>("key-00000000000000001", bytes);
}

fn check<R: Record>(id: &str, stored: &[u8]) {
    let Ok(record) = decode::<R>(id, stored) else {
        return;
    };
    assert_eq!(record.id(), id);
    let printed = encode(&record).expect("what was read can be written");
    let again = decode::<R>(id, &printed).expect("what was written can be read");
    assert_eq!(encode(&again), Ok(printed));
}
