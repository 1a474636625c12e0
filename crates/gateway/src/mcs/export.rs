//! Exports: their groups are made, of AWS's kind and of the Kubernetes project's, and the latter are told what became of them.

use std::collections::BTreeSet;

use kube::ResourceExt as _;

use super::{conflict, export_groups, invalid};
use crate::condition::{ConditionState, merged};
use crate::controller::{App, Undone};
use crate::desired::{MANAGED_BY, SERVICE_NAME, SERVICE_NAMESPACE, SOURCE_TYPE, tags};
use crate::kinds::{self, McsExport};
use crate::lattice::Fault;
use crate::world::{Name, backing};

/// The finalizer of AWS's kind, and that of the Kubernetes project's.
const FINALIZER: &str = "serviceexport.k8s.aws/resources";
const MCS_FINALIZER: &str = "serviceexport.lath.dev/resources";

impl App {
    /// Brings Lattice to what the exports of a name ask for. Both kinds have groups of the same names and tags, and are looked after
    /// together: what one no longer needs, the other may.
    pub(crate) async fn export(&self, name: &Name) -> Result<(), Undone> {
        let (aws, mcs, groups, valid) = {
            let world = self.look();
            let aws = world.exports.get(name).cloned();
            let set = self.settings.cluster_set.is_some();
            let held = |it: &McsExport| it.finalizers().iter().any(|it| it == MCS_FINALIZER);
            // Without a ClusterSet only what was made before goes.
            let mcs = world
                .mcs_exports
                .get(name)
                .filter(|it| set || held(it))
                .cloned();
            let valid = invalid(world.services.get(name).map(|it| &**it), name);
            (aws, mcs, export_groups(&world, &self.settings, name), valid)
        };
        let held = |all: &[String], own: &str| all.iter().any(|it| it == own);
        let aws_held = aws
            .as_ref()
            .is_some_and(|it| held(it.finalizers(), FINALIZER));
        let mcs_held = mcs
            .as_ref()
            .is_some_and(|it| held(it.finalizers(), MCS_FINALIZER));
        let stays = |at: &kube::core::ObjectMeta| at.deletion_timestamp.is_none();
        if !groups.is_empty() {
            // What holds an object comes before what is made for it. The new state comes by the watch, and with it this work again.
            if let Some(export) = aws.as_ref().filter(|it| stays(&it.metadata) && !aws_held)
                && !self.aws_groups(name).is_empty()
            {
                let form = self.form(kinds::service_export());
                self.finalizer(&form, &**export, |all| all.push(FINALIZER.to_owned()))
                    .await?;
                return Ok(());
            }
            if let Some(export) = mcs.as_ref().filter(|it| stays(&it.metadata) && !mcs_held) {
                let form = self.form(kinds::mcs_export());
                self.finalizer(&form, &**export, |all| all.push(MCS_FINALIZER.to_owned()))
                    .await?;
                return Ok(());
            }
        }
        if !aws_held && !mcs_held {
            if let Some(export) = mcs.filter(|it| stays(&it.metadata)) {
                self.write_export_status(name, &export, valid, Ok(()))
                    .await?;
            }
            return Ok(());
        }
        let result = self.fit_export(name, &groups).await;
        if let Some(export) = mcs.as_ref().filter(|it| stays(&it.metadata)) {
            self.write_export_status(name, export, valid, result.clone())
                .await?;
        }
        result?;
        if let Some(export) = aws.as_ref() {
            self.look_at_gates(backing(name, export));
            if !stays(&export.metadata) {
                let form = self.form(kinds::service_export());
                self.finalizer(&form, &**export, |all| all.retain(|it| it != FINALIZER))
                    .await?;
            }
        }
        if let Some(export) = mcs.as_ref() {
            self.look_at_gates(name.clone());
            if !stays(&export.metadata) || self.settings.cluster_set.is_none() {
                let form = self.form(kinds::mcs_export());
                self.finalizer(&form, &**export, |all| all.retain(|it| it != MCS_FINALIZER))
                    .await?;
            }
        }
        Ok(())
    }

    fn aws_groups(&self, name: &Name) -> Vec<crate::desired::Group> {
        let world = self.look();
        let export = world.exports.get(name);
        let groups = export.and_then(|it| crate::plan::export(&world, &self.settings, name, it));
        groups.unwrap_or_default()
    }

    async fn fit_export(&self, name: &Name, groups: &[crate::desired::Group]) -> Result<(), Fault> {
        let mut keep = BTreeSet::new();
        for made in self.lattice.ensure_groups(groups).await {
            keep.insert(made?.1);
        }
        let own = tags([
            (MANAGED_BY, &self.settings.managed_by()),
            (SOURCE_TYPE, "ServiceExport"),
            (SERVICE_NAME, &name.name),
            (SERVICE_NAMESPACE, &name.namespace),
        ]);
        let still = self.look().backing_targets(name);
        self.lattice.end_exports(&own, &keep, &still).await
    }

    /// Says what became of an export.
    async fn write_export_status(
        &self,
        name: &Name,
        export: &McsExport,
        invalid: Option<ConditionState>,
        result: Result<(), Fault>,
    ) -> Result<(), Undone> {
        let ready = match (&invalid, result) {
            (Some(_), _) => ConditionState::bad("Pending", "the export is not valid"),
            (None, Ok(())) => ConditionState::good("Exported"),
            (None, Err(Fault::Waits(why) | Fault::Unanswered(why))) => {
                ConditionState::bad("Pending", why)
            }
            (None, Err(fault)) => ConditionState::bad("Failed", fault.to_string()),
        };
        let valid = invalid.unwrap_or_else(|| ConditionState::good("Valid"));
        let conflict = {
            let world = self.look();
            conflict(&world.exported(name))
        };
        let conflict = conflict.unwrap_or_else(|| ConditionState::bad("NoConflicts", ""));
        let known = export.status.clone().unwrap_or_default().conditions;
        let generation = export.metadata.generation.unwrap_or_default();
        let new = vec![
            valid.condition("Valid", generation),
            ready.condition("Ready", generation),
            conflict.condition("Conflict", generation),
        ];
        let next = merged(
            &self.settings.now(),
            &known,
            new,
            &["Valid", "Ready", "Conflict"],
        );
        if next != known {
            let form = self.form(kinds::mcs_export());
            let status = serde_json::json!({"conditions": next});
            self.set_status(&form, export, status).await?;
        }
        Ok(())
    }
}
