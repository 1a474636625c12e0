//! GetConsoleOutput.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_ec2_kit::Ec2;
use lath_ec2_records::Instance;
use lath_ec2_records::ids;
use lath_ec2_records::resources::INSTANCE;
use lath_model::Timestamp;
use lath_service::operations;
use lath_service::run::read;
use lath_wire::{ApiError, Caller};
use serde::{Deserialize, Serialize};

/// The console of an instance. `Latest` or not, the newest output is given: the node has it at hand.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetConsoleOutput {
    instance_id: String,
    #[serde(rename = "Latest")]
    _latest: Option<bool>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetConsoleOutputResult {
    instance_id: String,
    timestamp: Timestamp,
    /// In base64.
    output: Option<String>,
}

operations! {
    for Ec2 as "ec2";
    asynchronous GetConsoleOutput -> GetConsoleOutputResult = get
        => on(&INSTANCE, |op, _| op.instance_id.clone());
}

async fn get(
    app: &Ec2,
    _caller: &Caller,
    op: GetConsoleOutput,
) -> Result<GetConsoleOutputResult, ApiError> {
    let instance = read(app, op.dry_run, |view| {
        ids::find::<Instance>(view, &op.instance_id)
    })?;
    let console = app.cell.node.console_output(&instance.id).await;
    let console = console.filter(|console| !console.bytes.is_empty());
    Ok(GetConsoleOutputResult {
        instance_id: instance.id.to_string(),
        timestamp: console
            .as_ref()
            .map_or(instance.launched_at, |console| console.at),
        output: console.map(|console| STANDARD.encode(console.bytes)),
    })
}

#[cfg(test)]
impl GetConsoleOutput {
    pub(super) fn of(id: &str) -> Self {
        Self {
            instance_id: id.to_owned(),
            ..Self::default()
        }
    }
}
