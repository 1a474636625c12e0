//! How operations run: what [`operations!`](crate::operations!) expands to.

use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::{App, Stateful, Way};

/// Runs `f` on the newest state; a dry run answers `DryRunOperation`.
///
/// # Errors
/// That the region does not do it, those of `f`, `DryRunOperation`.
pub fn read<A: App, T>(
    app: &A,
    dry: Option<bool>,
    f: impl FnOnce(&View) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    app.admit(Way::Read)?;
    let answer = f(&app.view())?;
    rehearsed(dry).map(|()| answer)
}

/// Runs `f` in a transaction; a dry run does all of it, keeps nothing and answers `DryRunOperation`.
///
/// # Errors
/// That the region does not do it, those of `f` and of the store, `DryRunOperation`.
pub async fn change<A: Stateful, T: Send>(
    app: &A,
    dry: Option<bool>,
    f: impl FnOnce(&mut Tx) -> Result<T, ApiError> + Send,
) -> Result<T, ApiError> {
    app.admit(Way::Change)?;
    app.db()
        .write(|tx| {
            let answer = f(tx)?;
            rehearsed(dry).map(|()| answer)
        })
        .await
}

fn rehearsed(dry: Option<bool>) -> Result<(), ApiError> {
    if dry == Some(true) {
        return Err(dry_run());
    }
    Ok(())
}

/// The request is fine, and only a rehearsal.
pub fn dry_run() -> ApiError {
    ApiError::new(
        "DryRunOperation",
        412,
        "Request would have succeeded, but DryRun flag is set.",
    )
}
