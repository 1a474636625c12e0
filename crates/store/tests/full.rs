//! A disk that becomes full and then has space again.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_store::{Condition, Db, Kinds, Record, Rewording, Store, StoreError, open_dir};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Crate {
    id: String,
    content: String,
}

impl Record for Crate {
    const KIND: &'static str = "house.box";
    fn id(&self) -> String {
        self.id.clone()
    }
}

async fn open(directory: &Path) -> Db {
    let kinds = Kinds::default().with::<Crate>();
    Db::open(open_dir(directory).unwrap(), kinds).await.unwrap()
}

async fn put(db: &Db, id: &str, length: usize) -> Result<(), StoreError> {
    let (id, content) = (id.to_owned(), "x".repeat(length));
    db.write(|tx| {
        tx.put(Crate { id, content });
        Ok(())
    })
    .await
}

async fn delete(db: &Db, id: &str) -> Result<(), StoreError> {
    db.write(|tx| {
        tx.delete::<Crate>(id);
        Ok(())
    })
    .await
}

fn ids(db: &Db) -> BTreeSet<String> {
    db.view().list::<Crate>().map(|it| it.id.clone()).collect()
}

async fn until(db: &Db, what: &str, holds: impl Fn(&Condition) -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !holds(&db.condition().borrow()) {
        assert!(
            Instant::now() < end,
            "waited in vain for {what}: {:?}",
            db.condition().borrow()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs `work` with a small file system in a private mount namespace.
fn on_a_small_disk(work: impl FnOnce(&Path) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: needs root (a tmpfs in a mount namespace)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(
            Some("lath-test"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=16m"),
        )
        .unwrap();
        work(&path);
    });
    thread.join().unwrap();
}

/// More bytes than fit on the full disk, even after deletes.
const LARGE: usize = 7 << 20;

/// Writes until the disk is full. Returns the acknowledged ids.
async fn fill(db: &Db, prefix: &str) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    for number in 0..2000 {
        let id = format!("{prefix}-{number:04}");
        match put(db, &id, 20_000).await {
            Ok(()) => assert!(acknowledged.insert(id)),
            Err(StoreError::Full(_)) => return acknowledged,
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("the disk is larger than it was made");
}

#[test]
fn a_full_disk_refuses_what_adds_and_is_well_again_when_there_is_room() {
    on_a_small_disk(|path| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work(path));
    });
}

async fn work(path: &Path) {
    let (data, ballast) = (path.join("data"), path.join("ballast"));
    std::fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let db = open(&data).await;
    let mut want = fill(&db, "a").await;
    assert!(want.len() > 20, "{}", want.len());
    assert_eq!(ids(&db), want);
    // Other files take the remaining space: until then the store may find again that it has its reserve.
    let _ = std::fs::write(path.join("greedy"), vec![1; 16 << 20]);

    // Deletes and changes work, but free no space for new records.
    let gone: Vec<String> = want.iter().take(10).cloned().collect();
    for id in &gone {
        delete(&db, id).await.unwrap();
        want.remove(id);
    }
    let kept = want.first().unwrap().clone();
    put(&db, &kept, 10).await.unwrap();
    // The engine may return space freed by deletes to the disk: only a large record is sure not to fit.
    assert!(matches!(
        put(&db, "new", LARGE).await,
        Err(StoreError::Full(_))
    ));
    assert_eq!(ids(&db), want);

    // A start on the full disk reads everything.
    drop(db);
    let db = open(&data).await;
    assert_eq!(ids(&db), want);
    assert!(matches!(
        put(&db, "new", LARGE).await,
        Err(StoreError::Full(_))
    ));
    assert!(matches!(&*db.condition().borrow(), Condition::Full { .. }));
    delete(&db, &kept).await.unwrap();
    want.remove(&kept);

    // Once there is space, writing works again by itself.
    std::fs::remove_file(path.join("greedy")).unwrap();
    std::fs::remove_file(&ballast).unwrap();
    until(&db, "the store to be well", Condition::is_well).await;
    put(&db, "new", 20_000).await.unwrap();
    want.insert("new".into());
    want.extend(fill(&db, "b").await);
    assert_eq!(ids(&db), want);
    drop(db);
    assert_eq!(ids(&open(&data).await), want);
}

/// A store that is being reworded is closed when that page is written.
async fn reopened(directory: &Path) -> Arc<dyn Store> {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        match open_dir(directory) {
            Err(StoreError::InUse(_)) if Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

/// What stands in records is meant otherwise.
async fn open_reworded(directory: &Path) -> Db {
    let kinds = Kinds::default().with::<Crate>();
    let rewording = Rewording {
        mark: "test",
        from: "old:".into(),
        to: "renewed:".into(),
    };
    let store = reopened(directory).await;
    Db::open_reworded(store, kinds, rewording).await.unwrap()
}

async fn put_text(db: &Db, id: &str, content: &str) -> Result<(), StoreError> {
    let (id, content) = (id.to_owned(), content.to_owned());
    db.write(|tx| {
        tx.put(Crate { id, content });
        Ok(())
    })
    .await
}

fn texts(db: &Db) -> Vec<(String, String)> {
    let view = db.view();
    let small = view.list::<Crate>().filter(|it| it.content.len() < 100);
    small
        .map(|it| (it.id.clone(), it.content.clone()))
        .collect()
}

#[test]
fn records_are_reworded_in_memory_on_a_full_disk_and_on_it_when_there_is_room() {
    on_a_small_disk(|path| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(reword(path));
    });
}

async fn reword(path: &Path) {
    let (data, ballast) = (path.join("data"), path.join("ballast"));
    // Half of the disk: a state that is rewritten is twice as large for a while, and there is a reserve.
    std::fs::write(&ballast, vec![1; 8 << 20]).unwrap();
    let db = open(&data).await;
    for id in ["old:kept", "old:changed", "old:deleted"] {
        put_text(&db, id, "is old:x").await.unwrap();
    }
    // All of them say it, so that there is no room to rewrite them.
    let large = format!("old:{}", "x".repeat(20_000));
    let mut number = 0;
    while put_text(&db, &format!("large-{number:04}"), &large)
        .await
        .is_ok()
    {
        number += 1;
    }
    assert!(number > 20, "{number}");
    // Another program takes what is left, but for what a small transaction needs.
    let greedy = path.join("greedy");
    let _ = std::fs::write(&greedy, vec![1; 16 << 20]);
    let file = std::fs::File::options().write(true).open(&greedy).unwrap();
    let taken = file.metadata().unwrap().len();
    file.set_len(taken.saturating_sub(1 << 20)).unwrap();
    drop(db);

    let pair = |id: &str, content: &str| (id.to_owned(), content.to_owned());
    let db = open_reworded(&data).await;
    assert!(matches!(&*db.condition().borrow(), Condition::Full { .. }));
    let all = ["changed", "deleted", "kept"];
    let all = all.map(|id| pair(&format!("renewed:{id}"), "is renewed:x"));
    assert_eq!(texts(&db), all);
    let is_reworded = |it: &Crate| it.content.starts_with("renewed:");
    let large = |db: &Db| {
        db.view()
            .list::<Crate>()
            .filter(|it| is_reworded(it))
            .count()
    };
    assert_eq!(large(&db), number);
    delete(&db, "renewed:deleted").await.unwrap();
    // What is written now is what is meant.
    put_text(&db, "renewed:changed", "means old:x")
        .await
        .unwrap();
    let want = vec![
        pair("renewed:changed", "means old:x"),
        pair("renewed:kept", "is renewed:x"),
    ];
    assert_eq!(texts(&db), want);

    std::fs::remove_file(&greedy).unwrap();
    std::fs::remove_file(&ballast).unwrap();
    until(&db, "the store to be well", Condition::is_well).await;
    // It is reworded a moment later: then a store that is opened as it is says the same.
    drop(db);
    let db = open_reworded(&data).await;
    assert!(db.condition().borrow().is_well());
    drop(db);
    let store = reopened(&data).await;
    assert!(store.get("meta/test").await.unwrap().is_some());
    drop(store);
    let db = open(&data).await;
    assert_eq!(large(&db), number);
    let found = texts(&db);
    let kept = found.iter().find(|(id, _)| id == "renewed:kept");
    assert_eq!(kept, want.last());
    assert_eq!(found.len(), want.len());
}
