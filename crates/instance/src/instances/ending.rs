//! How instances end and go.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use lath_feed::InstancePhase;
use lath_model::WorkloadId;
use rustix::process::{Signal, pidfd_send_signal};

use super::{InstanceError, Instances, ignore_missing, io_error};
use crate::layout::{self, Layout};
use crate::living::{STOP_SLACK, alive, bury, ended_within, goes_on, kill, kill_or_warn, reap};
use crate::record::{EndReason, Ended, Running, load, save};
use crate::tree;

impl Instances {
    /// Ends the instance's processes; its files and console stay.
    ///
    /// # Errors
    /// [`InstanceError::DoesNotEnd`] when even SIGKILL did not end them in time; call again.
    pub async fn ensure_stopped(&self, id: &WorkloadId) -> Result<(), InstanceError> {
        let turn = self.turn(id);
        let _turn = turn.lock().await;
        self.end(id).await
    }

    /// Ends the instance's processes at once and without a word to them, as a loss of power does; a shutdown that
    /// waits for them is cut short. It counts as stopped, so that the same boot number starts it again.
    ///
    /// # Errors
    /// As [`Self::ensure_stopped`].
    pub async fn ensure_killed(&self, id: &WorkloadId) -> Result<(), InstanceError> {
        let layout = self.layout(id);
        let turn = self.turn(id);
        let _turn = self.turn_by_force(id, &layout, &turn).await;
        if let Some((running, supervisor)) = alive(&layout) {
            kill_or_warn(id, &layout, &running, self.0.config.clock.now());
            // `end` waits longer, and says so when they do not go.
            let _ = ended_within(&supervisor, STOP_SLACK).await;
            reap(running.supervisor.pid);
        }
        self.end(id).await
    }

    /// Ends the instance's processes at once, as [`Self::ensure_killed`] does, but it counts as failed: what died by itself
    /// is not started again before its boot number grows. Does nothing to one that has ended.
    ///
    /// # Errors
    /// As [`Self::ensure_stopped`].
    pub async fn ensure_lost(&self, id: &WorkloadId, how: &str) -> Result<(), InstanceError> {
        let layout = self.layout(id);
        let turn = self.turn(id);
        let _turn = self.turn_by_force(id, &layout, &turn).await;
        if let Some((running, supervisor)) = alive(&layout) {
            let reason = EndReason::Died { how: how.into() };
            kill(&layout, &running, reason, self.0.config.clock.now())
                .map_err(|source| io_error(id, "recording how it ended", source))?;
            if !ended_within(&supervisor, STOP_SLACK).await {
                return Err(InstanceError::DoesNotEnd { id: id.clone() });
            }
            reap(running.supervisor.pid);
            let groups = running.groups;
            let _ = tokio::task::spawn_blocking(move || groups.kill_and_remove()).await;
        }
        self.settle(id);
        Ok(())
    }

    /// Kills the processes in control groups that the workload's own processes have made, by the groups' names, as those of
    /// a node's containers; gives how many these were.
    ///
    /// # Errors
    /// When the workload does not run.
    pub async fn kill_groups(
        &self,
        id: &WorkloadId,
        names: BTreeSet<String>,
    ) -> Result<usize, InstanceError> {
        let Some((running, _)) = alive(&self.layout(id)) else {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(io_error(id, "finding its processes", source));
        };
        let killed = tokio::task::spawn_blocking(move || running.groups.kill_named(&names)).await;
        killed.map_err(|error| io_error(id, "killing processes", io::Error::other(error)))
    }

    /// Waits for the turn, and kills what a shutdown waits for meanwhile: one that has the turn, or one that gets it
    /// before this does.
    async fn turn_by_force<'a>(
        &self,
        id: &WorkloadId,
        layout: &Layout,
        turn: &'a tokio::sync::Mutex<()>,
    ) -> tokio::sync::MutexGuard<'a, ()> {
        let mut changes = self.0.observed.subscribe();
        let turn = turn.lock();
        tokio::pin!(turn);
        loop {
            let known = changes.borrow_and_update().get(id).cloned();
            if known.is_some_and(|known| known.state == InstancePhase::Stopping)
                && let Some((running, _)) = alive(layout)
            {
                // The one that has the turn sees them end, and does the rest.
                kill_or_warn(id, layout, &running, self.0.config.clock.now());
            }
            tokio::select! {
                turn = &mut turn => return turn,
                // The sender is here.
                _ = changes.changed() => {}
            }
        }
    }

    /// Ends the instance's processes and deletes its files.
    ///
    /// # Errors
    /// As [`Self::ensure_stopped`], or when files cannot be deleted; call again.
    pub async fn ensure_absent(&self, id: &WorkloadId) -> Result<(), InstanceError> {
        let turn = self.turn(id);
        let guard = turn.lock().await;
        self.end(id).await?;
        let layout = self.layout(id);
        let trash = layout::trash(&self.0.config.data_dir);
        let prefix = format!("{}-", layout::folder_name(id));
        let groups = self.groups_of(id);
        let removed = tokio::task::spawn_blocking(move || {
            groups.kill_and_remove();
            // Renamed first: what is half deleted is never taken for an instance.
            let name = format!("{prefix}{:016x}", rand::random::<u64>());
            ignore_missing(fs::rename(layout.data(), trash.join(name)))?;
            // What an earlier try could not delete goes too.
            for entry in fs::read_dir(&trash)? {
                let entry = entry?;
                let name = entry.file_name();
                let suffix = name.to_str().and_then(|it| it.strip_prefix(&prefix));
                if suffix.is_some_and(|it| it.len() == 16 && !it.contains('-')) {
                    tree::remove(&entry.path())?;
                }
            }
            tree::remove(layout.run())
        });
        let removed = removed.await.map_err(io::Error::other).flatten();
        removed.map_err(|source| io_error(id, "deleting its files", source))?;
        self.0
            .observed
            .send_if_modified(|all| all.remove(id).is_some());
        drop(guard);
        self.0
            .turns
            .lock()
            .expect("never poisoned: no panic under it")
            .remove(id);
        Ok(())
    }

    pub(super) async fn end(&self, id: &WorkloadId) -> Result<(), InstanceError> {
        let layout = self.layout(id);
        self.await_half_started(&layout).await;
        self.settle(id);
        let Some((running, supervisor)) = alive(&layout) else {
            self.mark_stopped(id, &layout);
            return Ok(());
        };
        self.observe(
            id,
            InstancePhase::Stopping,
            running.boot,
            self.0.config.clock.now(),
        );
        let _ = pidfd_send_signal(&supervisor, Signal::TERM);
        let grace = running.stop_time.max(self.0.config.stop_grace) + STOP_SLACK;
        if !ended_within(&supervisor, grace).await {
            tracing::warn!(instance.id = %id, "its supervisor does not end: it is killed");
            kill_or_warn(id, &layout, &running, self.0.config.clock.now());
            if !ended_within(&supervisor, STOP_SLACK).await {
                return Err(InstanceError::DoesNotEnd { id: id.clone() });
            }
        }
        reap(running.supervisor.pid);
        let groups = running.groups;
        let _ = tokio::task::spawn_blocking(move || groups.kill_and_remove()).await;
        self.settle(id);
        self.mark_stopped(id, &layout);
        Ok(())
    }

    /// It is down because it should be, whatever brought it down.
    fn mark_stopped(&self, id: &WorkloadId, layout: &Layout) {
        let Some(ended) = load::<Ended>(&layout.ended()) else {
            let known = self.status(id);
            if let Some(known) = known.filter(|known| known.state != InstancePhase::Stopped) {
                self.observe(
                    id,
                    InstancePhase::Stopped,
                    known.boot,
                    self.0.config.clock.now(),
                );
            }
            return;
        };
        if ended.reason != EndReason::Stopped {
            let reason = EndReason::Stopped;
            let _ = save(&layout.ended(), &Ended { reason, ..ended });
        }
        self.observe(id, InstancePhase::Stopped, ended.boot, ended.at);
    }

    /// Makes records and memory agree with which processes live.
    pub(super) fn settle(&self, id: &WorkloadId) {
        let layout = self.layout(id);
        if alive(&layout).is_some() {
            return;
        }
        if let Some(running) = load::<Running>(&layout.running()) {
            if running.supervisor.open().is_some_and(|it| goes_on(&it)) {
                tracing::warn!(instance.id = %id, "its files are a copy of those of an instance that lives");
                let _ = fs::remove_file(layout.running());
            } else {
                bury(&layout, &running, self.0.config.clock.now());
            }
        }
        if let Some(ended) = load::<Ended>(&layout.ended()) {
            let phase = match ended.reason {
                EndReason::Stopped | EndReason::LifelineLost => InstancePhase::Stopped,
                EndReason::Died { how } => InstancePhase::Failed {
                    reason: format!("its first process was {how}"),
                },
            };
            self.observe(id, phase, ended.boot, ended.at);
        }
    }
}
