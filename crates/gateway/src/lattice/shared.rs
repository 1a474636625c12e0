//! What clients of AWS's other APIs have in common with that of Lattice.

use std::sync::Arc;

use aws_config::SdkConfig;

use super::{Fence, shared_config};
use crate::lease::Term;
use crate::metrics::{Counted, Metrics};
use crate::settings::Settings;

/// How APIs are reached: with the credentials of the environment, within the term, and counted.
pub(crate) struct Shared {
    pub(crate) config: SdkConfig,
    term: Arc<Term>,
    metrics: Arc<Metrics>,
}

impl Shared {
    pub(crate) async fn new(settings: &Settings, term: Arc<Term>, metrics: Arc<Metrics>) -> Self {
        let config = shared_config(&settings.region, settings.endpoint_url.as_deref()).await;
        Self {
            config,
            term,
            metrics,
        }
    }

    pub(crate) fn fence(&self) -> Fence {
        Fence(Arc::clone(&self.term))
    }

    pub(crate) fn counted(&self) -> Counted {
        Counted(Arc::clone(&self.metrics))
    }
}
