//! `lath exec`: runs a command in an instance.

use std::process::ExitCode;

use anyhow::bail;
use lath_instance::ExecRequest;
use lath_model::WorkloadId;

use crate::cli::Exec;
use crate::{config, running, status};

/// Enters the instance's namespaces. The process must have one thread.
pub(crate) fn main(flags: &Exec) -> anyhow::Result<ExitCode> {
    let data_dir = config::data_dir(&flags.data_dir_flag);
    let id = match flags.instance.parse::<WorkloadId>() {
        Ok(id) => id,
        Err(_) => by_name(&data_dir, &flags.instance)?,
    };
    let request = ExecRequest {
        argv: flags.command.clone(),
        ..ExecRequest::default()
    };
    let data_dir = data_dir_of(&data_dir, &id);
    let code = lath_instance::exec_in_instance(&data_dir, &id, &request);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// The data directory of the region that has the instance; the first region's if none has it.
fn data_dir_of(data_dir: &std::path::Path, id: &WorkloadId) -> std::path::PathBuf {
    let regions = running::Running::read(data_dir).map(|running| running.data_dirs(data_dir));
    let mut places = regions.unwrap_or_else(|_| vec![data_dir.to_owned()]);
    let has = |place: &std::path::PathBuf| lath_instance::has_files(place, id);
    let at = places.iter().position(has).unwrap_or(0);
    places.swap_remove(at)
}

/// The one instance with this Name tag.
fn by_name(data_dir: &std::path::Path, name: &str) -> anyhow::Result<WorkloadId> {
    let status = status::fetch(data_dir)?;
    let named: Vec<_> = status
        .instances
        .into_iter()
        .filter(|i| i.name.as_deref() == Some(name))
        .collect();
    match named.as_slice() {
        [one] => Ok(one.id.parse()?),
        [] => bail!("no instance has the id or the Name tag {name:?}; `lath status` lists them"),
        several => {
            let ids: Vec<&str> = several.iter().map(|i| i.id.as_str()).collect();
            bail!(
                "{} instances are named {name:?}: {}",
                several.len(),
                ids.join(", ")
            )
        }
    }
}
