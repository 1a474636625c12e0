//! Verdicts on disk, so that a restart forgets none.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use lath_model::id::HealthCheckId;

use crate::told::Verdict;

/// The largest file that is read.
const LARGEST: u64 = 16 << 20;

/// Where verdicts are kept, if anywhere.
#[derive(Debug)]
pub(crate) struct Keep(pub(crate) Option<PathBuf>);

impl Keep {
    /// What was kept. A file that is broken counts as none: the others know too.
    pub(crate) fn load(&self) -> BTreeMap<HealthCheckId, Verdict> {
        let Some(path) = &self.0 else {
            return BTreeMap::new();
        };
        match read(path) {
            Ok(verdicts) => verdicts,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "kept verdicts cannot be read");
                BTreeMap::new()
            }
        }
    }

    pub(crate) fn save(&self, verdicts: &BTreeMap<HealthCheckId, Verdict>) {
        let Some(path) = &self.0 else {
            return;
        };
        if let Err(error) = write(path, verdicts) {
            tracing::warn!(path = %path.display(), %error, "verdicts cannot be kept");
        }
    }
}

fn read(path: &Path) -> std::io::Result<BTreeMap<HealthCheckId, Verdict>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Old or new, never half: written beside and renamed.
fn write(path: &Path, verdicts: &BTreeMap<HealthCheckId, Verdict>) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(&serde_json::to_vec(verdicts)?)?;
    file.sync_data()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let keep = Keep(Some(directory.path().join("verdicts.json")));
        assert!(keep.load().is_empty());
        let verdict = Verdict {
            healthy: false,
            decided: lath_model::Timestamp::from_millis(7),
            version: 3,
        };
        let verdicts = BTreeMap::from([(HealthCheckId::random(), verdict)]);
        keep.save(&verdicts);
        assert_eq!(keep.load(), verdicts);
        std::fs::write(directory.path().join("verdicts.json"), b"{\"x").unwrap();
        assert!(keep.load().is_empty());
    }
}
