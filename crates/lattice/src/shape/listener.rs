use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_model::lattice::ListenerProtocol;
use lath_service::Checked;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use super::RuleAction;
use crate::{constraint, gateway};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateListener {
    pub(crate) service_identifier: String,
    pub(crate) name: String,
    pub(crate) protocol: ListenerProtocol,
    pub(crate) port: Option<i64>,
    pub(crate) default_action: RuleAction,
    pub(crate) client_token: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

/// What CreateListener and UpdateListener answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListenerOutput {
    pub(crate) arn: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<ListenerProtocol>,
    pub(crate) port: Option<i64>,
    pub(crate) service_arn: Option<String>,
    pub(crate) service_id: Option<String>,
    pub(crate) default_action: Option<RuleAction>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetListener {
    pub(crate) service_identifier: String,
    pub(crate) listener_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetListenerOutput {
    pub(crate) arn: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<ListenerProtocol>,
    pub(crate) port: Option<i64>,
    pub(crate) service_arn: Option<String>,
    pub(crate) service_id: Option<String>,
    pub(crate) default_action: Option<RuleAction>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListListeners {
    pub(crate) service_identifier: String,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListListenersOutput {
    pub(crate) items: Vec<ListenerSummary>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListenerSummary {
    pub(crate) arn: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<ListenerProtocol>,
    pub(crate) port: Option<i64>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateListener {
    pub(crate) service_identifier: String,
    pub(crate) listener_identifier: String,
    pub(crate) default_action: RuleAction,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteListener {
    pub(crate) service_identifier: String,
    pub(crate) listener_identifier: String,
}

impl Checked for CreateListener {
    fn check(&self, p: &mut Problems) {
        self.default_action.check_at(p, "defaultAction");
        if self.protocol == ListenerProtocol::TlsPassthrough
            && self.default_action.fixed_response.is_some()
            && !gateway::TAG.is_asked(self.tags.keys())
        {
            p.add(
                "defaultAction",
                "A TLS_PASSTHROUGH listener can only forward",
            );
        }
        constraint::tags_with_policy(p, &self.tags);
    }
}

impl Checked for UpdateListener {
    fn check(&self, p: &mut Problems) {
        self.default_action.check_at(p, "defaultAction");
    }
}
