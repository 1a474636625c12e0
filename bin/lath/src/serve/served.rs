//! A control plane and its listeners.

use lath_tasks::Group;

use super::Control;

/// A running control plane with everything by which others reach it. It is the same beside the node of a single region and in a
/// process of its own, so both start and stop alike.
pub(crate) struct ServedControl {
    pub(crate) control: Control,
    /// What clients connect to. It stops first, so that no half-stopped server answers a call.
    pub(crate) doors: Group,
    /// What the node and other regions connect to. It stops after the reconcilers, so that the node can follow until then.
    pub(crate) links: Group,
}

impl ServedControl {
    pub(crate) fn new(control: Control) -> Self {
        Self {
            control,
            doors: Group::new("a listener"),
            links: Group::new("the feed"),
        }
    }

    /// Waits until a part ends unexpectedly. Returns its name.
    pub(crate) async fn failed(&mut self) -> &'static str {
        tokio::select! {
            part = self.doors.failed() => part,
            part = self.links.failed() => part,
            part = self.control.failed() => part,
        }
    }

    /// Stops answering, publishing and reconciling. The archive still takes what the node measures.
    pub(crate) async fn close(&mut self) {
        self.doors.stop().await;
        self.control.rest().await;
    }

    /// Stops everything. Call it after the node has stopped.
    pub(crate) async fn stop(&mut self) {
        self.close().await;
        self.links.stop().await;
        self.control.stop().await;
    }
}
