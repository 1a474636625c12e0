use std::sync::Arc;

use lath_store::{Db, View};
use lath_wire::ApiError;

/// How an operation uses the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It reads the newest view.
    Read,
    /// It is one transaction.
    Change,
    /// It does both, or waits for something else in between.
    Asynchronous,
}

/// A service of one region: what its operations run on.
pub trait App: Send + Sync + 'static {
    /// The newest state.
    fn view(&self) -> Arc<View>;

    /// Whether this region does operations of this way: a service whose state lives in one region refuses them
    /// elsewhere. The default does all of them.
    ///
    /// # Errors
    /// That another region has to be asked.
    fn admit(&self, _way: Way) -> Result<(), ApiError> {
        Ok(())
    }
}

/// A service that has state to change.
pub trait Stateful: App {
    /// The region's state.
    fn db(&self) -> &Db;
}
