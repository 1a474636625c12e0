//! Changes bytes of a file: it must either work with every record intact, or be refused with the damage named.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lath_store::{
    Db, Identity, Kinds, Opening, Record, Report, StoreError, inspect, is_contained, open_dir,
    open_dir_with, quarantine, state_file,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// The number of bytes to change in each file, one at a time.
const FLIPS: usize = 120;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lamp {
    id: String,
    note: String,
}

impl Record for Lamp {
    const KIND: &'static str = "house.lamp";
    fn id(&self) -> String {
        self.id.clone()
    }
}

fn kinds() -> Kinds {
    Kinds::default().with::<Lamp>()
}

async fn put(db: &Db, number: usize, length: usize) {
    let (id, note) = (format!("lamp-{number:03}"), "x".repeat(length));
    let write = db.write(|tx| {
        tx.put(Lamp { id, note });
        Ok::<_, StoreError>(())
    });
    write.await.unwrap();
}

async fn remove(db: &Db, number: usize) {
    let write = db.write(|tx| {
        assert!(tx.delete::<Lamp>(&format!("lamp-{number:03}")));
        Ok::<_, StoreError>(())
    });
    write.await.unwrap();
}

fn lamps(db: &Db) -> BTreeMap<String, usize> {
    let lamps = db.view();
    let lamps = lamps.list::<Lamp>();
    lamps
        .map(|lamp| (lamp.id.clone(), lamp.note.len()))
        .collect()
}

/// Writes a state with many small and some large records, of which some were deleted. Returns its contents, and
/// a copy as SIGKILL would leave it.
async fn written(directory: &Path) -> (BTreeMap<String, usize>, PathBuf) {
    let (clean, killed) = (directory.join("clean"), directory.join("killed"));
    let db = Db::open(open_dir(&clean).unwrap(), kinds()).await.unwrap();
    for number in 0..60 {
        put(&db, number, (number * 97) % 900).await;
    }
    put(&db, 60, 30_000).await;
    for number in (0..60).step_by(5) {
        remove(&db, number).await;
    }
    put(&db, 61, 5).await;
    std::fs::create_dir(&killed).unwrap();
    for name in ["state.redb", "state.mark"] {
        std::fs::copy(clean.join(name), killed.join(name)).unwrap();
    }
    (lamps(&db), killed)
}

async fn open(directory: &Path, report: &Report) -> Result<Db, StoreError> {
    let opening = Opening {
        identity: None,
        repair: report.repairable,
    };
    Db::open(open_dir_with(directory, &opening)?, kinds()).await
}

/// Silences the panic hook, because this test catches panics on purpose.
fn quiet() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_contained() {
            before(panic);
        }
    }));
}

/// The offsets of bytes in used pages.
fn used(bytes: &[u8], random: &mut StdRng) -> Vec<usize> {
    let holds = |page: &usize| {
        bytes[page * 4096..(page + 1) * 4096]
            .iter()
            .any(|b| *b != 0)
    };
    let pages: Vec<usize> = (0..bytes.len() / 4096).filter(holds).collect();
    let mut places: Vec<usize> = (0..64)
        .chain([64, 72, 100, 180, 192, 200, 250, 300])
        .collect();
    places.extend((0..FLIPS).map(|_| {
        let page = pages[random.random_range(0..pages.len())];
        // Prefer the beginning of a page, which contains its structure.
        let reach = if random.random() { 128 } else { 4096 };
        page * 4096 + random.random_range(0..reach)
    }));
    places
}

#[tokio::test]
async fn a_changed_byte_is_named_or_changes_nothing() {
    let seed =
        std::env::var("LATH_TEST_SEED").map_or_else(|_| rand::random(), |s| s.parse().unwrap());
    println!("LATH_TEST_SEED={seed}");
    quiet();
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let (want, _) = written(directory.path()).await;
    for variant in ["clean", "killed"] {
        let original = directory.path().join(variant);
        let bytes = std::fs::read(state_file(&original)).unwrap();
        let (mut refused, mut named, mut worked) = (0, 0, 0);
        for place in used(&bytes, &mut random) {
            let bit = 1 << random.random_range(0..8);
            let copy = tempfile::tempdir_in(directory.path()).unwrap();
            let mut flipped = bytes.clone();
            flipped[place] ^= bit;
            std::fs::write(state_file(copy.path()), &flipped).unwrap();
            std::fs::copy(original.join("state.mark"), copy.path().join("state.mark")).unwrap();
            let report = inspect(&state_file(copy.path()), &kinds());
            assert_eq!(
                std::fs::read(state_file(copy.path())).unwrap(),
                flipped,
                "looking changed the file"
            );
            let what = format!("{variant}: bit {bit:#x} of byte {place}: {report:?}");
            if report.is_whole() {
                let db = open(copy.path(), &report)
                    .await
                    .unwrap_or_else(|e| panic!("{what}: {e:?}"));
                assert_eq!(lamps(&db), want, "{what}");
                // The state can be written, and the write survives.
                put(&db, 62, 1).await;
                drop(db);
                let after = inspect(&state_file(copy.path()), &kinds());
                assert!(after.is_whole(), "{what}: {after:?}");
                worked += 1;
            } else {
                assert!(
                    report.damaged.iter().all(|it| !it.reason.is_empty()),
                    "{what}"
                );
                refused += 1;
                named += usize::from(!report.damaged.is_empty());
            }
        }
        println!("{variant}: {worked} worked, {refused} refused, of which {named} name records");
        assert!(
            refused > FLIPS / 4 && named > FLIPS / 8,
            "{variant}: {refused} {named}"
        );
    }
}

/// Changes the first byte of `text` in the file.
fn spoil(file: &Path, text: &[u8]) {
    let mut bytes = std::fs::read(file).unwrap();
    let places: Vec<usize> = (0..bytes.len() - text.len())
        .filter(|at| &bytes[*at..*at + text.len()] == text)
        .collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place + text.len() - 2] ^= 1;
    }
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_record_is_named_and_taken_out_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let (mut want, killed) = written(directory.path()).await;
    for data in [directory.path().join("clean"), killed] {
        let file = state_file(&data);
        spoil(&file, br#"{"id":"lamp-061","note":"xxxxx"#);
        let report = inspect(&file, &kinds());
        assert_eq!(report.damaged.len(), 1, "{report:?}");
        assert_eq!(report.damaged[0].key, "record/house.lamp/lamp-061");
        assert_eq!(report.damaged[0].reason, "its checksum does not match");
        let before = std::fs::read(&file).unwrap();

        let aside = data.join("aside");
        let out = quarantine(&file, &kinds(), &aside).unwrap();
        assert_eq!((out.records.len(), out.unreachable), (1, 0));
        assert_eq!(std::fs::read(aside.join("state.redb")).unwrap(), before);
        let kept = std::fs::read(aside.join("0")).unwrap();
        assert!(String::from_utf8_lossy(&kept).contains("lamp-061"));

        want.remove("lamp-061");
        let report = inspect(&file, &kinds());
        assert!(report.is_whole(), "{report:?}");
        let db = open(&data, &report).await.unwrap();
        assert_eq!(lamps(&db), want);
        put(&db, 63, 3).await;
        drop(db);
        assert_eq!(
            inspect(&file, &kinds()).records["house.lamp"],
            want.len() as u64 + 1
        );
    }
}

#[tokio::test]
async fn a_state_that_went_back_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let db = Db::open(open_dir(&data).unwrap(), kinds()).await.unwrap();
    put(&db, 1, 10).await;
    let older = std::fs::read(state_file(&data)).unwrap();
    put(&db, 2, 10).await;
    drop(db);
    std::fs::write(state_file(&data), older).unwrap();
    let report = inspect(&state_file(&data), &kinds());
    assert!(report.faults[0].starts_with("it went back"), "{report:?}");
    let refused = open_dir(&data).err().unwrap();
    assert!(
        matches!(&refused, StoreError::Damaged { reason, .. } if reason.starts_with("it went back"))
    );
    // Do what the message suggests.
    std::fs::remove_file(data.join("state.mark")).unwrap();
    open_dir(&data).unwrap();
}

#[test]
fn an_empty_file_and_another_installations_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let whose = |installation: &str, region: &str| Opening {
        identity: Some(Identity {
            installation: installation.into(),
            region: region.into(),
        }),
        repair: false,
    };
    drop(open_dir_with(&data, &whose("one", "us-east-1")).unwrap());
    drop(open_dir_with(&data, &whose("one", "us-east-1")).unwrap());
    for (installation, region) in [("two", "us-east-1"), ("one", "us-west-2")] {
        let refused = open_dir_with(&data, &whose(installation, region)).err();
        assert!(
            matches!(refused, Some(StoreError::Foreign { .. })),
            "{refused:?}"
        );
    }
    let report = inspect(&state_file(&data), &kinds());
    assert_eq!(report.identity, whose("one", "us-east-1").identity);
    std::fs::write(state_file(&data), b"").unwrap();
    let report = inspect(&state_file(&data), &kinds());
    assert!(
        report.faults[0].ends_with("is damaged: it is empty"),
        "{report:?}"
    );
    assert!(matches!(
        open_dir(&data).err(),
        Some(StoreError::Damaged { .. })
    ));
}

/// A file of version 0.1: without checksums and mark.
#[tokio::test]
async fn a_file_of_the_first_format_is_adopted() {
    let directory = tempfile::tempdir().unwrap();
    let file = state_file(directory.path());
    {
        let entries = redb::TableDefinition::<&str, &[u8]>::new("entries");
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        let database = redb::Database::create(&file).unwrap();
        let write = database.begin_write().unwrap();
        let mut table = write.open_table(entries).unwrap();
        let mut old = |key: &str, revision: u64, value: &[u8]| {
            let stored = [&revision.to_be_bytes(), value].concat();
            table.insert(key, stored.as_slice()).unwrap();
        };
        old("meta/revision", 2, b"2");
        old(
            "record/house.lamp/lamp-001",
            1,
            br#"1 {"id":"lamp-001","note":"abc"}"#,
        );
        old(
            "record/house.lamp/lamp-002",
            2,
            br#"1 {"id":"lamp-002","note":""}"#,
        );
        drop(table);
        let mut table = write.open_table(meta).unwrap();
        table.insert("format", 1).unwrap();
        table.insert("revision", 2).unwrap();
        drop(table);
        write.commit().unwrap();
    }
    let report = inspect(&file, &kinds());
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.format, report.records["house.lamp"]), (Some(1), 2));
    let db = open(directory.path(), &report).await.unwrap();
    assert_eq!(db.view().revision(), 2);
    put(&db, 3, 1).await;
    let want = BTreeMap::from([
        ("lamp-001".into(), 3),
        ("lamp-002".into(), 0),
        ("lamp-003".into(), 1),
    ]);
    assert_eq!(lamps(&db), want);
    drop(db);
    let report = inspect(&file, &kinds());
    assert!(report.is_whole() && report.format == Some(2), "{report:?}");
}
