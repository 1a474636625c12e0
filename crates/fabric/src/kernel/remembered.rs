//! What the host's sysctls were before: written down before the first change, so that even a successor
//! of a killed process can give them back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::plan::Namespace;

/// Former values by path, kept in a file of lines `PATH = VALUE`.
pub(crate) struct Remembered {
    file: PathBuf,
    values: BTreeMap<String, String>,
}

impl Remembered {
    /// Reads what a predecessor wrote.
    pub(crate) fn open(file: PathBuf) -> io::Result<Self> {
        let text = match fs::read_to_string(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        let pairs = text.lines().filter_map(|line| line.split_once(" = "));
        let values = pairs
            .map(|(path, value)| (path.to_owned(), value.to_owned()))
            .collect();
        Ok(Self { file, values })
    }

    /// Keeps the first value that it gets.
    pub(crate) fn note(&mut self, path: &str, value: Option<String>) -> io::Result<()> {
        let Some(value) = value.filter(|_| !self.values.contains_key(path)) else {
            return Ok(());
        };
        self.values.insert(path.to_owned(), value);
        self.save()
    }

    pub(crate) fn forget(&mut self, path: &str) -> io::Result<()> {
        self.values.remove(path);
        self.save()
    }

    /// What is remembered and not wanted any more.
    pub(crate) fn except(&self, wanted: &Namespace) -> BTreeMap<String, String> {
        let gone = self
            .values
            .iter()
            .filter(|(path, _)| !wanted.sysctls.contains_key(*path));
        gone.map(|(path, value)| (path.clone(), value.clone()))
            .collect()
    }

    /// Whole or not at all: a file next to it takes its place.
    fn save(&self) -> io::Result<()> {
        if self.values.is_empty() {
            return match fs::remove_file(&self.file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
        }
        let lines: Vec<String> = self
            .values
            .iter()
            .map(|(path, value)| format!("{path} = {value}\n"))
            .collect();
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, lines.concat())?;
        fs::rename(&fresh, &self.file)
    }
}
