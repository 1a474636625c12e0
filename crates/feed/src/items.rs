//! Maps of items that share what did not change.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut, Index};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde::{Deserialize, Serialize};

/// Items of one kind. A copy is a pointer, and what differs between two of them is found without looking at what they
/// share: a change costs what it touches.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound(serialize = "K: Ord + Serialize, V: Serialize"))]
#[serde(bound(deserialize = "K: Ord + Clone + Deserialize<'de>, V: Deserialize<'de>"))]
pub struct Items<K: Ord, V>(OrdMap<K, Arc<V>>);

impl<K: Ord, V> Items<K, V> {
    /// None.
    pub fn new() -> Self {
        Self(OrdMap::new())
    }

    /// What must happen to these to become `new`; `None` is an item that is no more. Equal items are no change.
    pub fn changes<'a>(&'a self, new: &'a Self) -> impl Iterator<Item = (&'a K, Option<&'a Arc<V>>)>
    where
        V: Eq,
    {
        self.0.diff(&new.0).map(|item| match item {
            DiffItem::Add(key, value) => (key, Some(value)),
            DiffItem::Update { new, .. } => (new.0, Some(new.1)),
            DiffItem::Remove(key, _) => (key, None),
        })
    }

    /// The item of a key.
    pub fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.0.get(key)
    }

    /// Whether there is an item of a key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Takes over from `old` what is equal there, so that readers see by pointer what did not change.
    pub(crate) fn share_with(&mut self, old: &Self)
    where
        K: Clone,
        V: Eq,
    {
        let mut shared = old.clone();
        for (key, change) in old.changes(self) {
            match change {
                Some(value) => drop(shared.insert(key.clone(), Arc::clone(value))),
                None => drop(shared.remove(key)),
            }
        }
        *self = shared;
    }
}

impl<K: Ord + Clone, V> Items<K, V> {
    /// The item of a key, for changes.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut Arc<V>> {
        self.0.get_mut(key)
    }

    /// Takes an item away.
    pub fn remove(&mut self, key: &K) -> Option<Arc<V>> {
        self.0.remove(key)
    }

    /// Keeps those alone for which `keeps` holds.
    pub fn retain(&mut self, keeps: impl Fn(&K, &Arc<V>) -> bool) {
        let gone = self.0.iter().filter(|(key, item)| !keeps(key, item));
        let gone: Vec<K> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.0.remove(&key);
        }
    }
}

impl<K: Ord, V> Clone for Items<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Ord, V> Default for Items<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, V> Deref for Items<K, V> {
    type Target = OrdMap<K, Arc<V>>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K: Ord, V> DerefMut for Items<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<K: Ord, V> Index<&K> for Items<K, V> {
    type Output = Arc<V>;
    fn index(&self, key: &K) -> &Arc<V> {
        &self.0[key]
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, Arc<V>)> for Items<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, Arc<V>)>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<K: Ord + Clone, V> Extend<(K, Arc<V>)> for Items<K, V> {
    fn extend<I: IntoIterator<Item = (K, Arc<V>)>>(&mut self, items: I) {
        self.0.extend(items);
    }
}

impl<K: Ord + Clone, V, const N: usize> From<[(K, Arc<V>); N]> for Items<K, V> {
    fn from(items: [(K, Arc<V>); N]) -> Self {
        items.into_iter().collect()
    }
}

impl<K: Ord + Clone, V> From<BTreeMap<K, Arc<V>>> for Items<K, V> {
    fn from(items: BTreeMap<K, Arc<V>>) -> Self {
        items.into_iter().collect()
    }
}

impl<'a, K: Ord, V> IntoIterator for &'a Items<K, V> {
    type Item = (&'a K, &'a Arc<V>);
    type IntoIter = imbl::ordmap::Iter<'a, K, Arc<V>, imbl::shared_ptr::DefaultSharedPtr>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_shared_and_what_is_not_is_a_change() {
        let one: Items<u32, String> = (0..100).map(|n| (n, Arc::new(n.to_string()))).collect();
        let mut two: Items<u32, String> = (0..100).map(|n| (n, Arc::new(n.to_string()))).collect();
        two.insert(7, Arc::new("other".into()));
        two.remove(&8);
        two.insert(200, Arc::default());
        let changed: Vec<u32> = one.changes(&two).map(|(key, _)| *key).collect();
        assert_eq!(changed, [7, 8, 200]);
        two.share_with(&one);
        assert!(Arc::ptr_eq(&one[&9], &two[&9]));
        assert!(*two[&7] == "other" && two.get(&8).is_none() && two.len() == 100);
        two.retain(|key, _| *key < 7);
        assert_eq!(two.len(), 7);
    }
}
