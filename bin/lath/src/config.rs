//! Configuration: defaults, then a TOML file, then the environment and flags.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::cli;

/// Everything that can be set. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) extended: bool,
    pub(crate) keep: bool,
    pub(crate) proxy_threads: usize,
    pub(crate) drain_seconds: u64,
    pub(crate) log_bytes: u64,
    pub(crate) log_json: bool,
    pub(crate) images: BTreeMap<String, PathBuf>,
}

/// Each has descriptors of its own; nobody has more cores.
const MAX_PROXY_THREADS: usize = 1024;

/// What each key means, for `--print-config`.
const MEANINGS: [(&str, &str); 12] = [
    (
        "data_dir",
        "State, keys, logs, instance file systems. Made with mode 0700.",
    ),
    (
        "listen",
        "Where the AWS APIs listen. Loopback, unless you put TLS in front of it.",
    ),
    (
        "admin_listen",
        "Where Prometheus reads /metrics. Loopback only.",
    ),
    ("region", "The region served."),
    ("account", "The account id: twelve digits."),
    (
        "extended",
        "Lift AWS's limits and allow what AWS cannot do.",
    ),
    (
        "keep",
        "On exit, leave instances and networks as they are; the next start adopts them.",
    ),
    ("proxy_threads", "Proxy threads; 0 is one per core."),
    (
        "drain_seconds",
        "How long a clean stop waits for requests in flight.",
    ),
    (
        "log_bytes",
        "Bytes of log events kept; beyond it the oldest are dropped.",
    ),
    ("log_json", "Print log lines as JSON."),
    (
        "images",
        "Further machine images: a name, and a directory that holds a root file system.",
    ),
];

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            listen: SocketAddr::from(([127, 0, 0, 1], 4566)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 4567)),
            region: "us-east-1".into(),
            account: "000000000000".into(),
            extended: false,
            keep: false,
            proxy_threads: 0,
            drain_seconds: 10,
            log_bytes: 1 << 30,
            log_json: false,
            images: BTreeMap::new(),
        }
    }
}

/// `/var/lib/lath` as root, else `$XDG_DATA_HOME/lath`.
pub(crate) fn default_data_dir() -> PathBuf {
    // In a user namespace of our own we are root too, but the environment is still the user's.
    if nix::unistd::geteuid().is_root() && !lath_instance::is_rootless() {
        return "/var/lib/lath".into();
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into()));
    std::env::var_os("XDG_DATA_HOME")
        .map_or_else(|| home().join(".local/share"), PathBuf::from)
        .join("lath")
}

/// The data directory that a command talks about.
pub(crate) fn data_dir(place: &cli::Place) -> PathBuf {
    place.data_dir.clone().unwrap_or_else(default_data_dir)
}

impl Config {
    /// The configuration that the flags (and the environment, which clap reads) ask for.
    ///
    /// # Errors
    /// When the file cannot be read, or a value does not make sense; the text says which.
    pub(crate) fn load(flags: &cli::Serve) -> anyhow::Result<Self> {
        let mut config = match &flags.config {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        config.override_with(flags);
        if config.data_dir.is_relative() {
            config.data_dir = std::env::current_dir()?.join(&config.data_dir);
        }
        config.check()?;
        Ok(config)
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        toml::from_str(&text)
            .with_context(|| format!("{} is not a valid configuration", path.display()))
    }

    fn override_with(&mut self, flags: &cli::Serve) {
        fn set<T: Clone>(value: &mut T, flag: &Option<T>) {
            if let Some(flag) = flag {
                value.clone_from(flag);
            }
        }
        set(&mut self.data_dir, &flags.place.data_dir);
        set(&mut self.listen, &flags.listen);
        set(&mut self.admin_listen, &flags.admin_listen);
        set(&mut self.region, &flags.region);
        set(&mut self.account, &flags.account);
        set(&mut self.proxy_threads, &flags.proxy_threads);
        self.extended |= flags.extended;
        self.keep |= flags.keep;
        self.log_json |= flags.log_json;
    }

    fn check(&self) -> anyhow::Result<()> {
        let account = &self.account;
        ensure!(
            account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()),
            "account {account:?} is not twelve digits"
        );
        let region = &self.region;
        let parts: Vec<&str> = region.split('-').collect();
        let plausible = parts.len() >= 3
            && region
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && parts.last().is_some_and(|last| last.parse::<u8>().is_ok());
        ensure!(
            plausible,
            "region {region:?} does not look like one: us-east-1, eu-central-1, ..."
        );
        ensure!(
            self.proxy_threads <= MAX_PROXY_THREADS,
            "proxy_threads {} is more than {MAX_PROXY_THREADS}",
            self.proxy_threads
        );
        ensure!(
            self.admin_listen.ip().is_loopback(),
            "admin_listen {} is not a loopback address: metrics are served without TLS",
            self.admin_listen
        );
        if !self.listen.ip().is_loopback() {
            tracing::warn!(
                listen = %self.listen,
                "the AWS APIs listen beyond loopback without TLS: requests are signed, but can be read on the way"
            );
        }
        for (name, directory) in &self.images {
            if !directory.is_dir() {
                bail!("image {name}: {} is not a directory", directory.display());
            }
        }
        Ok(())
    }

    /// The configuration as a TOML file with what each key means.
    pub(crate) fn print(&self) -> anyhow::Result<String> {
        let table = toml::Table::try_from(self)?;
        let mut text = String::from("# lath.toml: what `lath serve` would use.\n");
        for (key, meaning) in MEANINGS {
            let Some(value) = table.get(key) else {
                continue;
            };
            match value {
                toml::Value::Table(table) if table.is_empty() => {
                    write!(
                        text,
                        "\n# {meaning}\n# [{key}]\n# \"my-image\" = \"/srv/images/my-image\"\n"
                    )?;
                }
                toml::Value::Table(table) => {
                    write!(text, "\n# {meaning}\n[{key}]\n{}", toml::to_string(table)?)?;
                }
                value => write!(text, "\n# {meaning}\n{key} = {value}\n")?,
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        let mut config = Config::default();
        assert_eq!(
            toml::from_str::<Config>(&config.print().unwrap()).unwrap(),
            config
        );
        config
            .images
            .insert("debian 12".into(), "/srv/debian".into());
        assert_eq!(
            toml::from_str::<Config>(&config.print().unwrap()).unwrap(),
            config
        );
    }

    #[test]
    fn every_key_has_a_meaning() {
        let keys = toml::Table::try_from(Config::default()).unwrap();
        assert!(
            keys.keys()
                .all(|key| MEANINGS.iter().any(|(known, _)| known == key)),
            "{keys:?}"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for (name, text) in [
            ("an unknown key", "lissen = \"127.0.0.1:1\""),
            ("an account that is too short", "account = \"123\""),
            ("a region that is none", "region = \"Frankfurt\""),
            ("threads without end", "proxy_threads = 100000"),
            ("metrics for everyone", "admin_listen = \"0.0.0.0:1\""),
        ] {
            let read = toml::from_str::<Config>(text).map_err(anyhow::Error::from);
            assert!(read.and_then(|config| config.check()).is_err(), "{name}");
        }
    }
}
