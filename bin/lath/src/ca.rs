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
    // The first start makes it: here its keys would be left in whatever directory this is.
    ensure!(
        data_dir.join(authority::AUTHORITY).exists(),
        "{} has no certificate authority: `lath serve` makes it at its first start",
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
