//! Corrects a text that an older version wrote into all records.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::load::RECORDS;
use crate::{Compare, Condition, Entry, Listing, Op, Outcome, Store, StoreError, Watch};

/// The records of one transaction.
const PAGE: usize = 200;

/// After a failure.
const RETRY: Duration = Duration::from_secs(1);

/// A text that takes the place of another in the ids and values of all records, once: see
/// [`Db::open_reworded`](crate::Db::open_reworded).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewording {
    /// The key `meta/MARK` says that it was done.
    pub mark: &'static str,
    /// What stands in the records. Values are JSON: neither text may need escapes there.
    pub from: String,
    /// What is meant.
    pub to: String,
}

impl Rewording {
    fn mark(&self) -> String {
        format!("meta/{}", self.mark)
    }

    /// Where the revision of a deferred rewording is kept.
    fn deferred(&self) -> String {
        format!("meta/{}-deferred", self.mark)
    }

    /// The revision up to which records are reworded: the store's, unless an earlier start deferred the rewording and
    /// records were written since then.
    ///
    /// # Errors
    /// That the store failed.
    pub(crate) async fn revision(&self, store: &dyn Store) -> Result<u64, StoreError> {
        let deferred = store.get(&self.deferred()).await?;
        let first = deferred.and_then(|it| std::str::from_utf8(&it.value).ok()?.parse().ok());
        match first {
            Some(revision) => Ok(revision),
            None => Ok(store.list(RECORDS, 1, "").await?.revision),
        }
    }

    /// The entry as it is meant; `None` when it says that already, or was written after `revision`.
    pub(crate) fn apply(&self, entry: &Entry, revision: u64) -> Option<Entry> {
        if entry.mod_revision > revision {
            return None;
        }
        let value = String::from_utf8_lossy(&entry.value);
        if !entry.key.contains(&self.from) && !value.contains(&self.from) {
            return None;
        }
        Some(Entry {
            key: entry.key.replace(&self.from, &self.to),
            value: value.replace(&self.from, &self.to).into_bytes().into(),
            mod_revision: entry.mod_revision,
        })
    }

    /// Whether nothing is left to do.
    pub(crate) async fn is_done(&self, store: &dyn Store) -> Result<bool, StoreError> {
        Ok(store.get(&self.mark()).await?.is_some())
    }

    /// Rewrites the records whose last write is not after `revision`: what was written later is what was meant. A
    /// crash on the way does no harm, for what was replaced already is not found again, and neither does another
    /// writer.
    ///
    /// # Errors
    /// That the store failed.
    pub(crate) async fn perform(&self, store: &dyn Store, revision: u64) -> Result<(), StoreError> {
        let mut next = String::new();
        loop {
            let page = store.list(RECORDS, PAGE, &next).await?;
            let (mut compares, mut ops) = (Vec::new(), Vec::new());
            for entry in &page.entries {
                let Some(reworded) = self.apply(entry, revision) else {
                    continue;
                };
                compares.push(Compare {
                    key: entry.key.clone(),
                    mod_revision: entry.mod_revision,
                });
                if reworded.key != entry.key {
                    ops.push(Op::Delete(entry.key.clone()));
                }
                ops.push(Op::Put(reworded.key, reworded.value));
            }
            if store.txn(compares, ops).await? == Outcome::Conflict {
                // Somebody wrote one of them meanwhile: look again.
                continue;
            }
            match page.entries.last() {
                Some(last) if page.more => next = format!("{}\0", last.key),
                _ => break,
            }
        }
        let done = Op::Put(self.mark(), Arc::from(self.to.as_bytes()));
        let ops = vec![done, Op::Delete(self.deferred())];
        store.txn(Vec::new(), ops).await.map(drop)
    }
}

/// A store whose records are still to be reworded, because its disk is full: what is written under a reworded key takes
/// the place of what stands under the old one.
pub(crate) struct Reworded {
    store: Arc<dyn Store>,
    rewording: Rewording,
    revision: u64,
    /// Whether the store knows the revision, so that the next start rewords no record that this one wrote.
    recorded: AtomicBool,
    done: Arc<AtomicBool>,
}

impl Reworded {
    /// Goes on with the rewording whenever the disk has room, until it is done or the store is closed.
    pub(crate) fn new(store: Arc<dyn Store>, rewording: Rewording, revision: u64) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let condition = store.condition();
        let (weak, task) = (Arc::downgrade(&store), rewording.clone());
        tokio::spawn(finish(weak, task, revision, condition, Arc::clone(&done)));
        Self {
            store,
            rewording,
            revision,
            recorded: AtomicBool::new(false),
            done,
        }
    }

    /// What keeps the revision, where a write is the first one. Deletes do without it, so that they still work on a
    /// full disk.
    fn record(&self, ops: &[Op]) -> Option<Op> {
        let writes = ops.iter().any(|op| matches!(op, Op::Put(..)));
        let value = self.revision.to_string().into_bytes();
        let first = writes && !self.recorded.load(Relaxed);
        first.then(|| Op::Put(self.rewording.deferred(), value.into()))
    }
}

async fn finish(
    store: Weak<dyn Store>,
    rewording: Rewording,
    revision: u64,
    mut condition: watch::Receiver<Condition>,
    done: Arc<AtomicBool>,
) {
    while condition.wait_for(Condition::is_well).await.is_ok() {
        let Some(store) = store.upgrade() else {
            return;
        };
        match rewording.perform(&*store, revision).await {
            Ok(()) => {
                done.store(true, Relaxed);
                tracing::info!(rewording.from, rewording.to, "the records are reworded");
                return;
            }
            Err(error) => tracing::warn!(%error, "the records cannot be reworded yet"),
        }
        drop(store);
        tokio::time::sleep(RETRY).await;
    }
}

#[async_trait]
impl Store for Reworded {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str, limit: usize, from: &str) -> Result<Listing, StoreError> {
        self.store.list(prefix, limit, from).await
    }

    async fn txn(&self, compares: Vec<Compare>, mut ops: Vec<Op>) -> Result<Outcome, StoreError> {
        if !self.done.load(Relaxed) {
            let Rewording { from, to, .. } = &self.rewording;
            let keys = ops.iter().map(Op::key);
            let renamed = keys.filter(|key| key.starts_with(RECORDS) && key.contains(to.as_str()));
            let old: Vec<Op> = renamed
                .map(|key| Op::Delete(key.replace(to, from)))
                .collect();
            ops.extend(old);
            if let Some(record) = self.record(&ops) {
                ops.push(record);
                let outcome = self.store.txn(compares, ops).await?;
                if outcome != Outcome::Conflict {
                    self.recorded.store(true, Relaxed);
                }
                return Ok(outcome);
            }
        }
        self.store.txn(compares, ops).await
    }

    async fn watch(&self, from: u64) -> Result<Watch, StoreError> {
        self.store.watch(from).await
    }

    fn condition(&self) -> watch::Receiver<Condition> {
        self.store.condition()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    fn put(key: &str, value: &str) -> Op {
        Op::Put(key.to_owned(), value.as_bytes().into())
    }

    async fn value(store: &dyn Store, key: &str) -> Option<String> {
        let entry = store.get(key).await.unwrap();
        entry.map(|it| String::from_utf8_lossy(&it.value).into_owned())
    }

    fn china() -> Rewording {
        Rewording {
            mark: "m",
            from: "arn:aws:".into(),
            to: "arn:aws-cn:".into(),
        }
    }

    const POLICY: &str = "record/iam.policy/arn:aws:iam::1:policy/p";

    #[tokio::test]
    async fn every_record_is_reworded_but_those_that_were_written_later() {
        let store = Memory::new();
        let mut ops = vec![
            put(POLICY, r#"1 {"arn":"arn:aws:iam::1:policy/p"}"#),
            put("record/ec2.vpc/vpc-1", r#"1 {"id":"vpc-1"}"#),
            put("meta/other", "arn:aws:"),
        ];
        ops.extend(
            (0..2 * PAGE).map(|n| put(&format!("record/x.y/{n:04}"), "1 {\"a\":\"arn:aws:x\"}")),
        );
        store.txn(Vec::new(), ops).await.unwrap();
        let revision = store.list(RECORDS, 1, "").await.unwrap().revision;
        let later = put("record/x.y/later", "1 {\"a\":\"arn:aws:x\"}");
        store.txn(Vec::new(), vec![later]).await.unwrap();
        assert!(!china().is_done(&store).await.unwrap());
        china().perform(&store, revision).await.unwrap();
        assert!(china().is_done(&store).await.unwrap());
        assert_eq!(value(&store, POLICY).await, None);
        assert_eq!(
            value(&store, &POLICY.replace("aws:iam", "aws-cn:iam"))
                .await
                .unwrap(),
            r#"1 {"arn":"arn:aws-cn:iam::1:policy/p"}"#
        );
        for n in 0..2 * PAGE {
            let it = value(&store, &format!("record/x.y/{n:04}")).await.unwrap();
            assert_eq!(it, "1 {\"a\":\"arn:aws-cn:x\"}");
        }
        assert_eq!(value(&store, "meta/other").await.unwrap(), "arn:aws:");
        let later = value(&store, "record/x.y/later").await.unwrap();
        assert_eq!(later, "1 {\"a\":\"arn:aws:x\"}");
    }

    #[tokio::test]
    async fn a_write_under_a_reworded_key_replaces_what_is_under_the_old_one() {
        for deletes in [false, true] {
            let store = Arc::new(Memory::new());
            let before = put(POLICY, "1 {\"v\":1}");
            store.txn(Vec::new(), vec![before]).await.unwrap();
            let waits = Reworded {
                store: Arc::clone(&store) as Arc<dyn Store>,
                rewording: china(),
                revision: 1,
                recorded: AtomicBool::new(false),
                done: Arc::default(),
            };
            let key = POLICY.replace("arn:aws:", "arn:aws-cn:");
            let change = match deletes {
                true => Op::Delete(key.clone()),
                false => put(&key, "1 {\"v\":2}"),
            };
            waits.txn(Vec::new(), vec![change]).await.unwrap();
            assert_eq!(value(&*store, POLICY).await, None);
            let want = (!deletes).then(|| "1 {\"v\":2}".to_owned());
            assert_eq!(value(&*store, &key).await, want);
        }
    }

    #[tokio::test]
    async fn what_a_deferring_start_wrote_is_not_reworded_by_the_next_one() {
        let store = Arc::new(Memory::new());
        let before = put("record/x.y/1", r#"1 {"a":"arn:aws:x"}"#);
        store.txn(Vec::new(), vec![before]).await.unwrap();
        let revision = china().revision(&*store).await.unwrap();
        let deferring = Reworded {
            store: Arc::clone(&store) as Arc<dyn Store>,
            rewording: china(),
            revision,
            recorded: AtomicBool::new(false),
            done: Arc::default(),
        };
        for n in 2..4 {
            let later = put(&format!("record/x.y/{n}"), r#"1 {"a":"arn:aws:x"}"#);
            deferring.txn(Vec::new(), vec![later]).await.unwrap();
        }
        drop(deferring);
        assert_eq!(china().revision(&*store).await.unwrap(), revision);
        china().perform(&*store, revision).await.unwrap();
        for (n, want) in [(1, "arn:aws-cn:x"), (2, "arn:aws:x"), (3, "arn:aws:x")] {
            let it = value(&*store, &format!("record/x.y/{n}")).await.unwrap();
            assert_eq!(it, format!("1 {{\"a\":\"{want}\"}}"), "{n}");
        }
        assert_eq!(value(&*store, &china().deferred()).await, None);
    }
}
