//! Corrects a text that an older version wrote into all records.

use std::sync::Arc;

use crate::load::RECORDS;
use crate::{Op, Store, StoreError};

/// The records of one transaction.
const PAGE: usize = 200;

/// Replaces a text in the ids and values of all records. This happens once; the key `meta/MARK` records it.
/// After a crash it continues, because replaced texts are not found again.
///
/// Must run before [`crate::Db::open`]. Values are JSON: neither text may need escaping in JSON.
///
/// # Errors
/// When the store fails.
pub async fn reword(store: &dyn Store, mark: &str, from: &str, to: &str) -> Result<(), StoreError> {
    let mark = format!("meta/{mark}");
    if store.get(&mark).await?.is_some() {
        return Ok(());
    }
    let mut next = String::new();
    loop {
        let page = store.list(RECORDS, PAGE, &next).await?;
        let mut ops = Vec::new();
        for entry in &page.entries {
            let value = String::from_utf8_lossy(&entry.value);
            if !entry.key.contains(from) && !value.contains(from) {
                continue;
            }
            let key = entry.key.replace(from, to);
            if key != entry.key {
                ops.push(Op::Delete(entry.key.clone()));
            }
            ops.push(Op::Put(key, value.replace(from, to).into_bytes().into()));
        }
        write(store, ops).await?;
        match page.entries.last() {
            Some(last) if page.more => next = format!("{}\0", last.key),
            _ => break,
        }
    }
    write(store, vec![Op::Put(mark, Arc::from(to.as_bytes()))]).await
}

async fn write(store: &dyn Store, ops: Vec<Op>) -> Result<(), StoreError> {
    // Without comparisons there can be no conflict.
    store.txn(Vec::new(), ops).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[tokio::test]
    async fn every_record_is_reworded_once() {
        let store = Memory::new();
        let put = |key: &str, value: &str| Op::Put(key.to_owned(), value.as_bytes().into());
        let policy = "record/iam.policy/arn:aws:iam::1:policy/p";
        let mut ops = vec![
            put(policy, r#"1 {"arn":"arn:aws:iam::1:policy/p"}"#),
            put("record/ec2.vpc/vpc-1", r#"1 {"id":"vpc-1"}"#),
            put("meta/other", "arn:aws:"),
        ];
        ops.extend(
            (0..2 * PAGE).map(|n| put(&format!("record/x.y/{n:04}"), "1 {\"a\":\"arn:aws:x\"}")),
        );
        store.txn(Vec::new(), ops).await.unwrap();
        reword(&store, "m", "arn:aws:", "arn:aws-cn:")
            .await
            .unwrap();
        let value = |key: String| {
            let store = &store;
            async move {
                let entry = store.get(&key).await.unwrap();
                entry.map(|it| String::from_utf8_lossy(&it.value).into_owned())
            }
        };
        assert_eq!(value(policy.to_owned()).await, None);
        assert_eq!(
            value(policy.replace("aws:iam", "aws-cn:iam"))
                .await
                .unwrap(),
            r#"1 {"arn":"arn:aws-cn:iam::1:policy/p"}"#
        );
        for n in 0..2 * PAGE {
            let it = value(format!("record/x.y/{n:04}")).await.unwrap();
            assert_eq!(it, "1 {\"a\":\"arn:aws-cn:x\"}");
        }
        assert_eq!(value("meta/other".into()).await.unwrap(), "arn:aws:");
        // A text that is written later is intended.
        let later = put("record/x.y/later", "1 {\"a\":\"arn:aws:x\"}");
        store.txn(Vec::new(), vec![later]).await.unwrap();
        reword(&store, "m", "arn:aws:", "arn:aws-cn:")
            .await
            .unwrap();
        let later = value("record/x.y/later".into()).await.unwrap();
        assert_eq!(later, "1 {\"a\":\"arn:aws:x\"}");
    }
}
