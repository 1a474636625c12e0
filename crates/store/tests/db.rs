//! Tests the typed database over a store: durability, order, failures, old formats.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use lath_store::{
    Compare, Db, Entry, Kinds, Listing, Memory, Op, Outcome, Record, Store, StoreError, Tx, Watch,
    open_dir,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Lamp {
    id: String,
    on: bool,
}

impl Record for Lamp {
    const KIND: &'static str = "house.lamp";
    fn id(&self) -> String {
        self.id.clone()
    }
}

/// Format 1 had `seats: "4"` as text; format 2 has a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sofa {
    id: String,
    seats: u32,
}

impl Record for Sofa {
    const KIND: &'static str = "house.sofa";
    const FORMAT: u16 = 2;
    fn id(&self) -> String {
        self.id.clone()
    }
    fn upgrade(format: u16, value: serde_json::Value) -> Result<Self, String> {
        let text = |name: &str| value[name].as_str().ok_or_else(|| format!("no {name}"));
        match format {
            1 => Ok(Self {
                id: text("id")?.to_owned(),
                seats: text("seats")?.parse().map_err(|_| "seats is no number")?,
            }),
            other => Err(format!("format {other} is not known")),
        }
    }
}

fn kinds() -> Kinds {
    Kinds::default().with::<Lamp>().with::<Sofa>()
}

fn lamp(id: &str, on: bool) -> Lamp {
    Lamp { id: id.into(), on }
}

async fn switch(db: &Db, id: &str, on: bool) -> Result<(), StoreError> {
    db.write(|tx| {
        tx.put(lamp(id, on));
        Ok(())
    })
    .await
}

/// A store whose transactions each wait for a permit and can be made to fail.
struct Gated {
    inner: Memory,
    gate: Semaphore,
    fail: AtomicBool,
    transactions: AtomicUsize,
}

impl Gated {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Memory::new(),
            gate: Semaphore::new(0),
            fail: AtomicBool::new(false),
            transactions: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Store for Gated {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str, limit: usize, from: &str) -> Result<Listing, StoreError> {
        self.inner.list(prefix, limit, from).await
    }
    async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Outcome, StoreError> {
        self.transactions.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        if self.fail.load(Ordering::SeqCst) {
            return Err(StoreError::Engine(Arc::new(std::io::Error::other(
                "disk full",
            ))));
        }
        self.inner.txn(compares, ops).await
    }
    async fn watch(&self, from: u64) -> Result<Watch, StoreError> {
        self.inner.watch(from).await
    }
}

/// Lets all ready tasks run (one thread, no timers: a few turns suffice).
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_restart_finds_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let db = Db::open(open_dir(directory.path()).unwrap(), kinds())
        .await
        .unwrap();
    // More than a page of the loader.
    let writes = (0..2500).map(|n| {
        let db = &db;
        async move {
            let id = format!("{n:04}");
            switch(db, &id, n % 2 == 0).await
        }
    });
    let answers = futures::future::join_all(writes).await;
    assert!(answers.iter().all(Result::is_ok));
    let delete = db.write(|tx| Ok::<_, StoreError>(tx.delete::<Lamp>("0007")));
    assert!(delete.await.unwrap());
    let before = db.view();
    drop(db);
    let db = Db::open(open_dir(directory.path()).unwrap(), kinds())
        .await
        .unwrap();
    let after = db.view();
    assert_eq!(after.revision(), before.revision());
    assert_eq!(after.list::<Lamp>().count(), 2499);
    assert!(after.list::<Lamp>().eq(before.list::<Lamp>()));
    switch(&db, "new", true).await.unwrap();
    assert_eq!(db.view().revision(), before.revision() + 1);
}

#[tokio::test]
async fn nothing_is_visible_before_it_is_durable() {
    let store = Gated::new();
    let db = Db::open(Arc::clone(&store) as _, kinds()).await.unwrap();
    let writer = db.clone();
    let writing = tokio::spawn(async move { switch(&writer, "hall", true).await });
    settle().await;
    assert!(!writing.is_finished());
    assert_eq!(db.view().get::<Lamp>("hall"), None);
    // A transaction that reads it must wait until it is durable.
    let reader = db.clone();
    let reading = tokio::spawn(async move {
        let found = reader.write(|tx| Ok::<_, StoreError>(tx.get::<Lamp>("hall")));
        found.await.unwrap().is_some()
    });
    let refuser = db.clone();
    let refusing =
        tokio::spawn(async move { refuser.write(|_| Err::<(), _>(StoreError::Closed)).await });
    settle().await;
    assert!(!reading.is_finished());
    assert!(!refusing.is_finished());
    store.gate.add_permits(1);
    writing.await.unwrap().unwrap();
    assert!(reading.await.unwrap());
    assert!(refusing.await.unwrap().is_err());
    assert!(db.view().get::<Lamp>("hall").unwrap().on);
    assert_eq!(store.transactions.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn writes_that_wait_share_one_transaction() {
    let store = Gated::new();
    let db = Db::open(Arc::clone(&store) as _, kinds()).await.unwrap();
    let writers: Vec<_> = (0..500)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(async move { switch(&db, &n.to_string(), true).await })
        })
        .collect();
    settle().await;
    store.gate.add_permits(2);
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(db.view().revision(), 500);
    assert_eq!(db.view().list::<Lamp>().count(), 500);
    assert!(store.transactions.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_failed_commit_undoes_all_that_stood_on_it() {
    let store = Gated::new();
    let db = Db::open(Arc::clone(&store) as _, kinds()).await.unwrap();
    store.gate.add_permits(1);
    switch(&db, "kept", true).await.unwrap();
    store.fail.store(true, Ordering::SeqCst);
    let writers: Vec<_> = (0..3)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(async move {
                let answer = switch(&db, &n.to_string(), true).await;
                settle().await;
                answer
            })
        })
        .collect();
    settle().await;
    let late = db.clone();
    let late = tokio::spawn(async move { switch(&late, "late", true).await });
    settle().await;
    store.gate.add_permits(1);
    for writer in writers.into_iter().chain([late]) {
        let failed = writer.await.unwrap();
        assert!(matches!(failed, Err(StoreError::Engine(_))), "{failed:?}");
    }
    assert_eq!(db.view().revision(), 1);
    store.fail.store(false, Ordering::SeqCst);
    store.gate.add_permits(1);
    switch(&db, "after", true).await.unwrap();
    let ids: Vec<_> = db.view().list::<Lamp>().map(|lamp| lamp.id()).collect();
    assert_eq!(ids, ["after", "kept"]);
    assert_eq!(db.view().revision(), 2);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_undo_its_change() {
    let store = Gated::new();
    let db = Db::open(Arc::clone(&store) as _, kinds()).await.unwrap();
    let writer = db.clone();
    let writing = tokio::spawn(async move { switch(&writer, "hall", true).await });
    settle().await;
    writing.abort();
    store.gate.add_permits(2);
    switch(&db, "stairs", true).await.unwrap();
    assert_eq!(db.view().list::<Lamp>().count(), 2);
}

#[tokio::test]
async fn changes_are_announced_and_no_change_is_not() {
    let db = Db::in_memory();
    let changes = db.changes();
    switch(&db, "hall", true).await.unwrap();
    assert_eq!(*changes.borrow(), 1);
    let before = db.view().get::<Lamp>("hall").unwrap();
    switch(&db, "hall", true).await.unwrap();
    let nothing = |tx: &mut Tx| {
        tx.put(lamp("brief", true));
        assert!(tx.delete::<Lamp>("brief"));
        assert!(!tx.delete::<Lamp>("absent"));
        tx.update::<Lamp>("hall", |lamp| lamp.on = false);
        tx.update::<Lamp>("hall", |lamp| lamp.on = true);
        Ok::<_, StoreError>(())
    };
    db.write(nothing).await.unwrap();
    let refused = |tx: &mut Tx| {
        tx.put(lamp("x", true));
        Err::<(), _>(StoreError::Closed)
    };
    assert!(db.write(refused).await.is_err());
    assert_eq!(*changes.borrow(), 1);
    assert_eq!(db.view().revision(), 1);
    assert!(Arc::ptr_eq(&before, &db.view().get("hall").unwrap()));
}

#[tokio::test]
async fn a_write_that_panics_harms_no_other() {
    let db = Db::in_memory();
    let writer = db.clone();
    let panicking = tokio::spawn(async move {
        let write = writer.write(|tx| -> Result<(), StoreError> {
            tx.put(lamp("x", true));
            panic!("on purpose")
        });
        write.await
    });
    assert!(panicking.await.is_err());
    switch(&db, "hall", true).await.unwrap();
    assert_eq!(db.view().list::<Lamp>().count(), 1);
}

#[tokio::test]
async fn two_databases_on_one_store_do_not_mix() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let first = Db::open(Arc::clone(&store), kinds()).await.unwrap();
    let second = Db::open(Arc::clone(&store), kinds()).await.unwrap();
    switch(&first, "a", true).await.unwrap();
    for _ in 0..2 {
        let fenced = switch(&second, "b", true).await;
        assert!(matches!(fenced, Err(StoreError::Fenced)), "{fenced:?}");
    }
    switch(&first, "c", true).await.unwrap();
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Odd {
    /// Skipped when serialising, required when deserialising.
    #[serde(skip_serializing)]
    id: String,
    keys: std::collections::BTreeMap<(u8, u8), u8>,
}

impl Record for Odd {
    const KIND: &'static str = "house.odd";
    fn id(&self) -> String {
        self.id.clone()
    }
}

#[tokio::test]
async fn what_cannot_be_stored_or_read_back_is_refused_at_once() {
    let any = Db::in_memory();
    let registered = Db::open(Arc::new(Memory::new()), kinds()).await.unwrap();
    let odd = |keys: &[(u8, u8)]| Odd {
        id: "o".into(),
        keys: keys.iter().map(|key| (*key, 0)).collect(),
    };
    for (name, db, record, part) in [
        (
            "keys that are no text",
            &any,
            odd(&[(1, 2)]),
            "key must be a string",
        ),
        ("not read back", &any, odd(&[]), "cannot be read back"),
        ("unregistered", &registered, odd(&[]), "cannot be"),
    ] {
        let write = db.write(|tx| {
            tx.put(record);
            Ok::<_, StoreError>(())
        });
        let error = write.await.unwrap_err().to_string();
        assert!(
            error.contains("house.odd") && error.contains(part),
            "{name}: {error}"
        );
        assert_eq!(db.view().revision(), 0, "{name}");
    }
    let long = switch(&any, &"x".repeat(5000), true).await;
    assert!(matches!(long, Err(StoreError::Unstorable { .. })));
}

/// Loads a stored state from lines of `KEY VALUE`.
async fn stored(lines: &str) -> Arc<dyn Store> {
    let store = Memory::new();
    let put = |line: &str| {
        let (key, value) = line.split_once(' ').unwrap();
        Op::Put(key.into(), value.as_bytes().into())
    };
    store
        .txn(vec![], lines.lines().map(put).collect())
        .await
        .unwrap();
    Arc::new(store)
}

#[tokio::test]
async fn a_state_in_an_older_format_is_read_and_goes_on() {
    let store = stored(include_str!("fixtures/state-0.1.txt")).await;
    let db = Db::open(Arc::clone(&store), kinds()).await.unwrap();
    let view = db.view();
    assert_eq!(view.revision(), 7);
    assert_eq!(view.get::<Sofa>("old").unwrap().seats, 4);
    assert_eq!(view.get::<Sofa>("new").unwrap().seats, 2);
    assert_eq!(view.get::<Lamp>("a/b").unwrap().id, "a/b");
    let write = db.write(|tx| {
        tx.update::<Sofa>("old", |sofa| sofa.seats += 1);
        Ok::<_, StoreError>(())
    });
    write.await.unwrap();
    let rewritten = store.get("record/house.sofa/old").await.unwrap().unwrap();
    assert_eq!(&*rewritten.value, br#"2 {"id":"old","seats":5}"#);
}

#[tokio::test]
async fn a_state_that_cannot_be_understood_is_not_opened() {
    for (name, lines, want) in [
        (
            "unknown kind",
            "record/house.piano/x 1 {}",
            r#"unknown kind "house.piano""#,
        ),
        ("no kind", "record/x 1 {}", r#""record/x""#),
        (
            "newer format",
            r#"record/house.lamp/x 2 {"id":"x","on":true}"#,
            r#""record/house.lamp/x" cannot be read: it has format 2"#,
        ),
        (
            "broken",
            "record/house.lamp/x 1 {",
            r#""record/house.lamp/x" cannot be read: EOF"#,
        ),
        (
            "wrong id",
            r#"record/house.lamp/x 1 {"id":"y","on":true}"#,
            r#"it says its id is "y""#,
        ),
        ("revision", "meta/revision x", "it is no number"),
    ] {
        let error = Db::open(stored(lines).await, kinds()).await.err().unwrap();
        assert!(error.to_string().contains(want), "{name}: {error}");
    }
}
