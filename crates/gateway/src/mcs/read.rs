//! What clusters export, as Lattice has it: polled, because Lattice sends no events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Exported, SET};
use crate::RESYNC;
use crate::controller::App;
use crate::desired::{SOURCE_TYPE, Tags, key};
use crate::lattice::{Fault, Lattice};
use crate::world::{BackendKind, Key, Name};

/// How often each region is looked at.
const LOOK: Duration = Duration::from_secs(3);

impl App {
    /// What the clusters of a region export.
    async fn exported_in(&self, lattice: &Lattice) -> Result<BTreeMap<Name, Vec<Exported>>, Fault> {
        let set = self.settings.cluster_set.clone().unwrap_or_default();
        let tags = Tags::from([
            (SET.to_owned(), set),
            (key(SOURCE_TYPE), "ServiceExport".to_owned()),
        ]);
        let mut all: BTreeMap<Name, Vec<Exported>> = BTreeMap::new();
        for (arn, port, tags) in lattice.tagged_groups(&tags).await? {
            if let Some((name, exported)) = Exported::of(&arn, port, &tags, &self.settings) {
                all.entry(name).or_default().push(exported);
            }
        }
        Ok(all)
    }

    /// Looks at the own region once.
    #[cfg(test)]
    pub(crate) async fn look_at_exports(&self) -> Result<(), Fault> {
        let now = self.exported_in(&self.lattice).await?;
        self.learn(&self.settings.region, now);
        Ok(())
    }

    /// Takes in what a region says; what it changes is worked on.
    pub(crate) fn learn(&self, region: &str, now: BTreeMap<Name, Vec<Exported>>) {
        let mut world = self.world();
        let before = world.exported.get(region).cloned();
        if before.as_ref() == Some(&now) {
            return;
        }
        let none = BTreeMap::new();
        let known = before.as_ref().unwrap_or(&none);
        let names = known.keys().chain(now.keys());
        let mut changed: Vec<_> = names
            .filter(|it| known.get(*it) != now.get(*it))
            .cloned()
            .collect();
        if before.is_none() {
            // That a region has nothing is news for imports that were made before.
            changed.extend(world.mcs_imports.keys().cloned());
        }
        changed.sort();
        changed.dedup();
        world.exported.insert(region.to_owned(), now);
        let mut keys = Vec::new();
        for name in changed {
            keys.extend(world.touched_by_backend(BackendKind::Mcs, &name));
            if world.mcs_exports.contains_key(&name) {
                keys.push(Key::Export(name.clone()));
            }
            keys.push(Key::Mcs(name));
        }
        drop(world);
        keys.into_iter().for_each(|key| self.queue.add(key));
    }
}

/// Follows one region for as long as the process lives.
async fn follow_region(app: Arc<App>, region: String, lattice: Option<Lattice>) {
    let mut said = false;
    let mut since = Instant::now();
    loop {
        // The own region's memory is the workers', who see to it.
        if let Some(lattice) = lattice.as_ref().filter(|_| since.elapsed() > RESYNC) {
            lattice.forget().await;
            since = Instant::now();
        }
        let at = lattice.as_ref().unwrap_or(&app.lattice);
        match app.exported_in(at).await {
            Ok(now) => {
                app.learn(&region, now);
                said = false;
            }
            // What it said last goes on to count: its data plane does not need its control plane.
            Err(fault) if !said => {
                tracing::warn!(region, error = %fault, "what clusters of a region export is not known anew");
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Follows all regions of the ClusterSet.
pub(crate) fn follow(app: &Arc<App>, others: Vec<(String, Lattice)>) {
    if app.settings.cluster_set.is_none() {
        return;
    }
    let own = (app.settings.region.clone(), None);
    let others = others
        .into_iter()
        .map(|(region, lattice)| (region, Some(lattice)));
    for (region, lattice) in std::iter::once(own).chain(others) {
        tokio::spawn(follow_region(Arc::clone(app), region, lattice));
    }
}
