//! Random transactions must have the same result on the database and on plain maps, before and after a restart.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_store::{Db, Kinds, Memory, Record, Store, StoreError, Tx, View};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

macro_rules! record {
    ($name:ident, $kind:literal) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        struct $name(String, u8);
        impl Record for $name {
            const KIND: &'static str = $kind;
            fn id(&self) -> String {
                self.0.clone()
            }
        }
    };
}

record!(Apple, "fruit.apple");
record!(Pear, "fruit.pear");

#[derive(Debug, Clone)]
enum Step {
    PutApple(String, u8),
    PutPear(String, u8),
    AddToApple(String),
    DeleteApple(String),
    DeletePear(String),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || "[ab/]{0,3}";
    prop_oneof![
        (id(), 0..4u8).prop_map(|(id, n)| Step::PutApple(id, n)),
        (id(), 0..4u8).prop_map(|(id, n)| Step::PutPear(id, n)),
        id().prop_map(Step::AddToApple),
        id().prop_map(Step::DeleteApple),
        id().prop_map(Step::DeletePear),
    ]
}

/// The steps of a transaction, and whether it commits.
fn transaction() -> impl Strategy<Value = (Vec<Step>, bool)> {
    (
        prop::collection::vec(step(), 0..6),
        prop::bool::weighted(0.8),
    )
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    apples: BTreeMap<String, u8>,
    pears: BTreeMap<String, u8>,
}

impl Model {
    fn of(view: &View) -> Self {
        Self {
            apples: view
                .list::<Apple>()
                .map(|it| (it.0.clone(), it.1))
                .collect(),
            pears: view.list::<Pear>().map(|it| (it.0.clone(), it.1)).collect(),
        }
    }
}

/// Applies the step to both and compares the results.
fn take(step: &Step, tx: &mut Tx, model: &mut Model) {
    match step {
        Step::PutApple(id, n) => {
            tx.put(Apple(id.clone(), *n));
            model.apples.insert(id.clone(), *n);
        }
        Step::PutPear(id, n) => {
            tx.put(Pear(id.clone(), *n));
            model.pears.insert(id.clone(), *n);
        }
        Step::AddToApple(id) => {
            let there = tx.update::<Apple>(id, |apple| apple.1 = apple.1.wrapping_add(1));
            let known = model.apples.get_mut(id);
            assert_eq!(there.is_some(), known.is_some());
            known.into_iter().for_each(|n| *n = n.wrapping_add(1));
        }
        Step::DeleteApple(id) => {
            assert_eq!(tx.delete::<Apple>(id), model.apples.remove(id).is_some());
        }
        Step::DeletePear(id) => {
            assert_eq!(tx.delete::<Pear>(id), model.pears.remove(id).is_some());
        }
    }
    assert_eq!(Model::of(tx.view()), *model);
}

async fn run(transactions: Vec<(Vec<Step>, bool)>) {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let kinds = || Kinds::default().with::<Apple>().with::<Pear>();
    let mut db = Db::open(Arc::clone(&store), kinds()).await.unwrap();
    let mut model = Model::default();
    let mut revision = 0;
    for (steps, succeeds) in transactions {
        let mut next = model.clone();
        let write = db.write(|tx| {
            steps.iter().for_each(|step| take(step, tx, &mut next));
            succeeds.then_some(()).ok_or(StoreError::Closed)
        });
        assert_eq!(write.await.is_ok(), succeeds);
        if succeeds && next != model {
            revision += 1;
            model = next;
        }
        agree(&db.view(), &model, revision);
    }
    db = Db::open(store, kinds()).await.unwrap();
    agree(&db.view(), &model, revision);
}

fn agree(view: &View, model: &Model, revision: u64) {
    assert_eq!(Model::of(view), *model);
    assert_eq!(view.revision(), revision);
    for prefix in ["", "a", "a/", "b", "//"] {
        let found = view.range::<Apple>(prefix).map(|apple| apple.0.clone());
        let want = model.apples.keys().filter(|id| id.starts_with(prefix));
        assert!(found.eq(want.cloned()), "prefix {prefix:?}");
    }
    for (id, n) in &model.pears {
        assert_eq!(view.get::<Pear>(id).unwrap().1, *n);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_database_is_two_maps(transactions in prop::collection::vec(transaction(), 0..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(transactions));
    }
}
