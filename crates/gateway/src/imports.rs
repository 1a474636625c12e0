//! ServiceImports of AWS's group, beside what routes make of them.

use kube::ResourceExt as _;

use crate::controller::{App, Undone};
use crate::kinds;
use crate::settings::AWS_CONTROLLER;
use crate::world::Name;

/// With what the finalizer begins that AWS's controller puts on imports.
const THEIRS: &str = "serviceimport.k8s.aws/";

impl App {
    /// Lets an import go that AWS's controller holds, where this one has taken its place: nothing in Lattice is an import's.
    pub(crate) async fn import(&self, name: &Name) -> Result<(), Undone> {
        let form = self.form(kinds::service_import());
        let Some(import) = self.look().imports.get(name).cloned() else {
            return Ok(());
        };
        let goes = import.metadata.deletion_timestamp.is_some();
        let held = import.finalizers().iter().any(|it| it.starts_with(THEIRS));
        if goes && held && self.settings.answers_to(AWS_CONTROLLER) {
            self.finalizer(&form, &*import, |all| {
                all.retain(|it| !it.starts_with(THEIRS))
            })
            .await?;
        }
        Ok(())
    }
}
