//! Verdicts on disk, so that a restart does not lose them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use lath_model::id::HealthCheckId;

use crate::messages::Verdict;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// The file of verdicts, if there is one.
#[derive(Debug)]
pub(crate) struct VerdictFile(pub(crate) Option<PathBuf>);

impl VerdictFile {
    /// The saved verdicts. A damaged file counts as absent, because the peers know the verdicts too.
    pub(crate) fn load(&self) -> BTreeMap<HealthCheckId, Verdict> {
        let Some(path) = &self.0 else {
            return BTreeMap::new();
        };
        match read(path) {
            Ok(verdicts) => verdicts,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "saved verdicts cannot be read");
                BTreeMap::new()
            }
        }
    }

    pub(crate) fn save(&self, verdicts: &BTreeMap<HealthCheckId, Verdict>) {
        let Some(path) = &self.0 else {
            return;
        };
        if let Err(error) = write(path, verdicts) {
            tracing::warn!(path = %path.display(), %error, "verdicts cannot be saved");
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

/// Writes atomically: a temporary file is renamed.
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
        let verdict_file = VerdictFile(Some(directory.path().join("verdicts.json")));
        assert!(verdict_file.load().is_empty());
        let verdict = Verdict {
            healthy: false,
            decided: lath_model::Timestamp::from_millis(7),
            version: 3,
        };
        let verdicts = BTreeMap::from([(HealthCheckId::random(), verdict)]);
        verdict_file.save(&verdicts);
        assert_eq!(verdict_file.load(), verdicts);
        std::fs::write(directory.path().join("verdicts.json"), b"{\"x").unwrap();
        assert!(verdict_file.load().is_empty());
    }
}
