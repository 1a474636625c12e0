//! Lambda's part of the feed: a pure function of the state.

use std::sync::Arc;

use lath_control::{Cell, Contribute, Derive};
use lath_feed::{Hidden, Snapshot};
use lath_store::{Record, View};

use crate::ident;
use crate::record::Function;

/// Fills functions.
pub const CONTRIBUTIONS: [Contribute; 1] = [Derive::Each {
    kind: Function::KIND,
    make: functions,
}];

fn functions(cell: &Cell, view: &View, name: &str, snapshot: &mut Snapshot) {
    match view.get::<Function>(name) {
        Some(it) => {
            let function = Arc::new(feed(cell, &it));
            snapshot.functions.insert(name.to_owned(), function);
        }
        None => drop(snapshot.functions.remove(&name.to_owned())),
    }
}

fn feed(cell: &Cell, it: &Function) -> lath_feed::Function {
    let environment = it.environment.iter();
    lath_feed::Function {
        name: it.name.clone(),
        arn: ident::arn(cell, &it.name),
        unique_id: it.unique_id.clone(),
        revision: it.revision,
        runtime: it.runtime.clone(),
        handler: it.handler.clone(),
        code: it.code.clone(),
        memory_mib: it.memory,
        timeout_seconds: it.timeout,
        environment: environment
            .map(|(name, value)| (name.clone(), Hidden(value.clone())))
            .collect(),
        log_group: it.log_group(),
        reserved_concurrency: it.reserved,
        keys: it.session.as_ref().map(|it| it.keys.clone()),
    }
}
