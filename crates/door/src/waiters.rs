//! Requests of waiters that the front door holds: few of them, so that they cost other callers nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Most held requests.
const MOST: usize = 64;
/// Most held requests of one account.
const MOST_OF_ACCOUNT: usize = 16;

type Counts = Arc<Mutex<BTreeMap<String, usize>>>;

/// How many requests are held, by account.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Counts);

/// Counts as a held request until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    counts: Counts,
    account: String,
}

impl Waiters {
    /// Leave to hold one more; `None`: too many are.
    pub(crate) fn hold(&self, account: &str) -> Option<Held> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_account = counts.get(account).copied().unwrap_or_default();
        if counts.values().sum::<usize>() >= MOST || of_account >= MOST_OF_ACCOUNT {
            return None;
        }
        counts.insert(account.to_owned(), of_account + 1);
        Some(Held {
            counts: Arc::clone(&self.0),
            account: account.to_owned(),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counts.get(&self.account).map_or(0, |count| count - 1);
        if left == 0 {
            counts.remove(&self.account);
        } else {
            counts.insert(self.account.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_holds_some_and_all_hold_a_few_more() {
        let waiters = Waiters::default();
        let mut held: Vec<_> = (0..MOST_OF_ACCOUNT).map(|_| waiters.hold("1")).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(waiters.hold("1").is_none());
        held.extend((MOST_OF_ACCOUNT..MOST).map(|n| waiters.hold(&(2 + n / 8).to_string())));
        assert!(held.iter().all(Option::is_some));
        assert!(waiters.hold("99").is_none());
        drop(held);
        assert!(waiters.hold("1").is_some());
        assert!(waiters.0.lock().unwrap().is_empty());
    }
}
