//! States that end by themselves: waiters are answered when they do (`lath_wire::Operation::is_unsettled`).

use lath_service::Awaited;

use crate::shape::*;

impl Awaited for OneCluster {
    fn is_unsettled(&self) -> bool {
        use ClusterStatus::{Creating, Deleting, Updating};
        let status = self.cluster.as_ref().and_then(|it| it.status);
        status.is_some_and(|it| matches!(it, Creating | Deleting | Updating))
    }
}

impl Awaited for OneNodegroup {
    fn is_unsettled(&self) -> bool {
        use NodegroupStatus::{Creating, Deleting, Updating};
        let status = self.nodegroup.as_ref().and_then(|it| it.status);
        status.is_some_and(|it| matches!(it, Creating | Deleting | Updating))
    }
}

impl Awaited for OneAddon {
    fn is_unsettled(&self) -> bool {
        use AddonStatus::{Creating, Deleting, Updating};
        let status = self.addon.as_ref().and_then(|it| it.status);
        status.is_some_and(|it| matches!(it, Creating | Deleting | Updating))
    }
}
