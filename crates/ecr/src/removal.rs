//! Removes the images of repositories that were deleted.

use std::sync::Arc;

use lath_wire::ApiError;

use crate::Ecr;
use crate::record::Removal;

/// Removes the images of a repository that was deleted; nothing if there is none.
pub(crate) async fn finish(app: &Ecr, name: &str) -> Result<(), ApiError> {
    let is_due = || app.cell.db.view().get::<Removal>(name).is_some();
    if !is_due() {
        return Ok(());
    }
    // Two at once would remove what is pushed to a new repository of the name.
    let _alone = app.removing.lock().await;
    if !is_due() {
        return Ok(());
    }
    let store = app.store(name)?;
    let cleared = crate::blocking(move || store.clear()).await?;
    cleared.map_err(crate::of_store)?;
    let forget = app.cell.db.write(|tx| {
        tx.delete::<Removal>(name);
        Ok::<_, ApiError>(())
    });
    forget.await
}

/// Finishes what was begun before a crash.
///
/// # Errors
/// Files or the state cannot be changed.
pub async fn finish_removals(app: &Arc<Ecr>) -> Result<(), ApiError> {
    let left: Vec<_> = app.cell.db.view().list::<Removal>().collect();
    for removal in left {
        finish(app, &removal.name).await?;
    }
    Ok(())
}
