//! Tests that every engine must pass. A new engine adds one test at the end.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::sync::Arc;

use futures::StreamExt as _;
use lath_store::{
    Changes, Compare, Embedded, Event, MAX_KEY, MAX_VALUE, Memory, Op, Opening, Outcome, Store,
    StoreError,
};

async fn conforms(fresh: impl Fn() -> Arc<dyn Store>) {
    revisions_grow_by_one_with_each_change(&*fresh()).await;
    lists_are_pages_in_key_order(&*fresh()).await;
    compares_guard_every_operation(&*fresh()).await;
    limits_are_refused_and_change_nothing(&*fresh()).await;
    watches_see_every_change_once_in_order(&*fresh()).await;
    watches_wait_for_the_future(fresh()).await;
    racing_transactions_are_one_after_another(fresh()).await;
}

fn put(key: &str, value: &str) -> Op {
    Op::Put(key.into(), value.as_bytes().into())
}

fn delete(key: &str) -> Op {
    Op::Delete(key.into())
}

fn compare(key: &str, mod_revision: u64) -> Compare {
    Compare {
        key: key.into(),
        mod_revision,
    }
}

async fn txn(store: &dyn Store, ops: Vec<Op>) -> u64 {
    match store.txn(Vec::new(), ops).await.unwrap() {
        Outcome::Committed { revision } => revision,
        Outcome::Conflict => panic!("nothing was compared"),
    }
}

/// The value and the revision under a key.
async fn get(store: &dyn Store, key: &str) -> Option<(String, u64)> {
    let entry = store.get(key).await.unwrap()?;
    assert_eq!(entry.key, key);
    let value = String::from_utf8(entry.value.to_vec()).unwrap();
    Some((value, entry.mod_revision))
}

async fn revisions_grow_by_one_with_each_change(store: &dyn Store) {
    assert_eq!(get(store, "a").await, None);
    assert_eq!(txn(store, vec![]).await, 0, "nothing was changed yet");
    assert_eq!(txn(store, vec![put("a", "1"), put("b", "1")]).await, 1);
    assert_eq!(txn(store, vec![put("a", "2")]).await, 2);
    assert_eq!(txn(store, vec![delete("absent")]).await, 2, "no change");
    assert_eq!(get(store, "a").await, Some(("2".into(), 2)));
    assert_eq!(get(store, "b").await, Some(("1".into(), 1)));
    assert_eq!(txn(store, vec![delete("a"), put("c", "")]).await, 3);
    assert_eq!(get(store, "a").await, None);
    assert_eq!(get(store, "c").await, Some((String::new(), 3)));
}

async fn lists_are_pages_in_key_order(store: &dyn Store) {
    let keys = ["p/1", "p/10", "p/2", "p/é", "q/1", "o"];
    txn(store, keys.iter().map(|key| put(key, key)).collect()).await;
    for (name, prefix, limit, from, want, more) in [
        (
            "all",
            "",
            9,
            "",
            vec!["o", "p/1", "p/10", "p/2", "p/é", "q/1"],
            false,
        ),
        (
            "prefix",
            "p/",
            9,
            "",
            vec!["p/1", "p/10", "p/2", "p/é"],
            false,
        ),
        ("first page", "p/", 2, "", vec!["p/1", "p/10"], true),
        ("next page", "p/", 2, "p/10\0", vec!["p/2", "p/é"], false),
        ("from is included", "p/", 1, "p/2", vec!["p/2"], true),
        ("from before the prefix", "q/", 9, "a", vec!["q/1"], false),
        ("from after the prefix", "p/", 9, "q", vec![], false),
        ("nothing", "x", 9, "", vec![], false),
    ] {
        let listing = store.list(prefix, limit, from).await.unwrap();
        let found: Vec<_> = listing.entries.iter().map(|entry| &*entry.key).collect();
        assert_eq!((found, listing.more), (want, more), "{name}");
        assert_eq!(listing.revision, 1, "{name}");
    }
}

async fn compares_guard_every_operation(store: &dyn Store) {
    txn(store, vec![put("a", "1")]).await;
    let ops = || vec![put("a", "2"), put("b", "2")];
    for (name, compares, want) in [
        ("older", vec![compare("a", 0)], None),
        ("newer", vec![compare("a", 9)], None),
        ("one of two", vec![compare("a", 1), compare("b", 1)], None),
        ("both", vec![compare("a", 1), compare("b", 0)], Some(2)),
        ("no longer", vec![compare("a", 1)], None),
    ] {
        let outcome = store.txn(compares, ops()).await.unwrap();
        let wanted = want.map_or(Outcome::Conflict, |revision| Outcome::Committed {
            revision,
        });
        assert_eq!(outcome, wanted, "{name}");
    }
    assert_eq!(get(store, "b").await, Some(("2".into(), 2)));
}

async fn limits_are_refused_and_change_nothing(store: &dyn Store) {
    let long = "k".repeat(MAX_KEY + 1);
    let large = Op::Put("k".into(), vec![0; MAX_VALUE + 1].into());
    for (name, op) in [
        ("empty key", put("", "1")),
        ("long key", put(&long, "1")),
        ("large value", large),
        ("twice", delete("a")),
    ] {
        let refused = store.txn(vec![], vec![put("a", "1"), op]).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{name}");
    }
    assert_eq!(get(store, "a").await, None);
    let longest = "k".repeat(MAX_KEY);
    assert_eq!(txn(store, vec![put(&longest, "1")]).await, 1);
    assert_eq!(get(store, &longest).await, Some(("1".into(), 1)));
}

async fn watches_see_every_change_once_in_order(store: &dyn Store) {
    txn(store, vec![put("a", "1")]).await;
    txn(store, vec![delete("a"), put("b", "1"), delete("absent")]).await;
    let from_the_start = store.watch(1).await.unwrap();
    let from_now = store.watch(0).await.unwrap();
    txn(store, vec![put("c", "1")]).await;
    let seen: Vec<Changes> = from_the_start.take(3).map(Result::unwrap).collect().await;
    let first = Event::Put("a".into(), b"1".as_slice().into());
    assert_eq!(&*seen[0].events, [first]);
    let second = Event::Put("b".into(), b"1".as_slice().into());
    assert_eq!(&*seen[1].events, [Event::Delete("a".into()), second]);
    let revisions: Vec<u64> = seen.iter().map(|changes| changes.revision).collect();
    assert_eq!(revisions, [1, 2, 3]);
    let seen: Vec<Changes> = from_now.take(1).map(Result::unwrap).collect().await;
    assert_eq!(seen[0].revision, 3);
}

async fn watches_wait_for_the_future(store: Arc<dyn Store>) {
    let mut later = store.watch(3).await.unwrap();
    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        for n in 0..3 {
            txn(&*writer, vec![put("a", &n.to_string())]).await;
        }
    });
    assert_eq!(later.next().await.unwrap().unwrap().revision, 3);
    writing.await.unwrap();
    drop(store);
    assert!(later.next().await.is_none(), "the store is gone");
}

async fn racing_transactions_are_one_after_another(store: Arc<dyn Store>) {
    let writers: Vec<_> = (0..8)
        .map(|_| tokio::spawn(count_up(Arc::clone(&store), 25)))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(get(&*store, "count").await, Some(("200".into(), 200)));
}

/// Increments a counter `times` times, and retries after conflicts.
async fn count_up(store: Arc<dyn Store>, times: usize) {
    let mut done = 0;
    while done < times {
        let (value, revision) = get(&*store, "count")
            .await
            .unwrap_or_else(|| ("0".into(), 0));
        let next = value.parse::<u64>().unwrap() + 1;
        let ops = vec![put("count", &next.to_string())];
        let outcome = store.txn(vec![compare("count", revision)], ops).await;
        done += usize::from(outcome.unwrap() != Outcome::Conflict);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_in_memory_conforms() {
    conforms(|| Arc::new(Memory::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let made = std::cell::Cell::new(0);
    let fresh = || -> Arc<dyn Store> {
        made.set(made.get() + 1);
        let file = directory.path().join(format!("{}.redb", made.get()));
        Arc::new(Embedded::open(&file, &Opening::default()).unwrap())
    };
    conforms(fresh).await;
}

#[tokio::test]
async fn the_embedded_store_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.redb");
    let store = Embedded::open(&file, &Opening::default()).unwrap();
    txn(&store, vec![put("a", "1"), put("b", "1")]).await;
    txn(&store, vec![delete("a")]).await;
    drop(store);
    let store = Embedded::open(&file, &Opening::default()).unwrap();
    assert_eq!(get(&store, "a").await, None);
    assert_eq!(get(&store, "b").await, Some(("1".into(), 1)));
    assert_eq!(txn(&store, vec![put("b", "2")]).await, 3);
    let early = store.watch(2).await.err();
    assert!(matches!(early, Some(StoreError::Compacted { oldest: 3 })));
    assert_eq!(
        store
            .watch(3)
            .await
            .unwrap()
            .next()
            .await
            .unwrap()
            .unwrap()
            .revision,
        3
    );
}
