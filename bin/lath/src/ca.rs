//! `lath ca`: the root certificate that clients must trust.

use anyhow::{Context as _, ensure};

use crate::cli::Ca;
use crate::config;
use crate::installation::authority;
use crate::output;

pub(crate) fn main(flags: &Ca) -> anyhow::Result<()> {
    let data_dir = config::data_dir(&flags.data_dir_flag);
    ensure!(
        data_dir.is_dir(),
        "there is no installation in {}",
        data_dir.display()
    );
    let root = authority::load_or_create(&data_dir)?.root_pem();
    match &flags.output {
        None => output::print(&root),
        Some(path) => {
            std::fs::write(path, root).with_context(|| format!("cannot write {}", path.display()))
        }
    }
}
