//! Configuration: defaults, then a TOML file, then the environment and flags.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use lath_model::Partition;
use serde::{Deserialize, Serialize};

use crate::cli;

/// All settings. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) dns_listen: SocketAddr,
    pub(crate) dns_responses_per_second: u32,
    pub(crate) registry_listen: SocketAddr,
    pub(crate) region: String,
    pub(crate) regions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) home: Option<String>,
    pub(crate) account: String,
    pub(crate) extended: bool,
    pub(crate) api_in_vpcs: bool,
    pub(crate) default_vpc: bool,
    pub(crate) keep: bool,
    pub(crate) proxy_threads: usize,
    pub(crate) drain_seconds: u64,
    pub(crate) log_bytes: u64,
    pub(crate) log_json: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_credentials: Option<PathBuf>,
    pub(crate) image_authorities: PathBuf,
    pub(crate) image_cache_bytes: u64,
    // Tables come last: TOML takes a key after one for a member of it.
    pub(crate) remote_regions: BTreeMap<String, String>,
    pub(crate) images: BTreeMap<String, PathBuf>,
    pub(crate) image_upstreams: BTreeMap<String, String>,
}

/// Each region needs one of the /19 blocks of public addresses.
pub(crate) const MAX_REGIONS: usize = 15;

/// Each thread has its own descriptors; no machine has more cores.
const MAX_PROXY_THREADS: usize = 1024;

/// Where Debian and others keep the certificate authorities of the system.
pub(crate) const DEFAULT_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The explanation of each key, with an example for keys without a value, for `--print-config`.
const MEANINGS: [(&str, &str, Option<&str>); 24] = [
    (
        "data_dir",
        "State, keys, logs, instance file systems. Created with mode 0700.",
        None,
    ),
    (
        "listen",
        "The address of the AWS APIs. Keep it on loopback unless you put TLS in front of it.",
        None,
    ),
    (
        "admin_listen",
        "The address of the Prometheus endpoint /metrics. Loopback only.",
        None,
    ),
    (
        "dns_listen",
        "The address of the authoritative DNS server of the first region; each further region uses the next port.",
        None,
    ),
    (
        "dns_responses_per_second",
        "The limit of equal UDP responses per second to one client network (/24, /56); 0 is no limit.",
        None,
    ),
    (
        "registry_listen",
        "The address of the image registry (ECR) of the first region; each further region uses the next port. Keep it on loopback.",
        None,
    ),
    (
        "region",
        "The single region to serve, in one process. Ignored when `regions` is set.",
        None,
    ),
    (
        "regions",
        "The regions to serve, each with its own processes and network, under a supervisor.",
        None,
    ),
    (
        "home",
        "The home of the global services (IAM, Route 53); by default the first region. Cannot be changed later.",
        Some("home = \"us-east-1\""),
    ),
    ("account", "The account id: twelve digits.", None),
    (
        "extended",
        "Lift AWS quotas and allow features that AWS does not have.",
        None,
    ),
    (
        "api_in_vpcs",
        "Answer programs in VPCs that call the AWS APIs at http://169.254.170.24, signed as everywhere.",
        None,
    ),
    (
        "default_vpc",
        "Begin a new data directory with a default VPC in each region, as AWS begins an account.",
        None,
    ),
    (
        "keep",
        "On exit, leave instances and networks running; the next start adopts them.",
        None,
    ),
    (
        "proxy_threads",
        "Proxy threads; 0 means one per core.",
        None,
    ),
    (
        "drain_seconds",
        "How long a clean stop waits for requests in flight.",
        None,
    ),
    (
        "log_bytes",
        "The size limit of stored log events, in bytes; beyond it the oldest are dropped.",
        None,
    ),
    ("log_json", "Print log lines as JSON.", None),
    (
        "image_credentials",
        "User names and passwords for the registries of `image_upstreams`, in a file as `docker login` writes it.",
        Some("image_credentials = \"/root/.docker/config.json\""),
    ),
    (
        "image_authorities",
        "The certificate authorities that the registries of `image_upstreams` are trusted by (PEM).",
        None,
    ),
    (
        "image_cache_bytes",
        "The size limit of images that were pulled through, in bytes; beyond it the longest unused go.",
        None,
    ),
    (
        "remote_regions",
        "Regions on other machines: the name, and the URL of the AWS APIs there.",
        Some("\"eu-west-1\" = \"http://192.0.2.1:4566\""),
    ),
    (
        "images",
        "Additional machine images: a name, and a directory with a root file system.",
        Some("\"my-image\" = \"/srv/images/my-image\""),
    ),
    (
        "image_upstreams",
        "Registries that nodes of clusters may pull through, and the host that is asked: none unless it is named here.",
        Some("\"docker.io\" = \"registry-1.docker.io\""),
    ),
];

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            listen: SocketAddr::from(([127, 0, 0, 1], 4566)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 4567)),
            dns_listen: SocketAddr::from(([127, 0, 0, 1], 4553)),
            dns_responses_per_second: 200,
            registry_listen: SocketAddr::from(([127, 0, 0, 1], 4568)),
            region: "us-east-1".into(),
            regions: Vec::new(),
            home: None,
            account: "000000000000".into(),
            extended: false,
            api_in_vpcs: true,
            default_vpc: true,
            keep: false,
            proxy_threads: 0,
            drain_seconds: 10,
            log_bytes: 1 << 30,
            log_json: false,
            remote_regions: BTreeMap::new(),
            images: BTreeMap::new(),
            image_upstreams: BTreeMap::new(),
            image_credentials: None,
            image_authorities: DEFAULT_AUTHORITIES.into(),
            image_cache_bytes: 20 << 30,
        }
    }
}

/// `/var/lib/lath` as root, else `$XDG_DATA_HOME/lath`.
pub(crate) fn default_data_dir() -> PathBuf {
    // In its own user namespace Lath is root too, but HOME and XDG_DATA_HOME are still the user's.
    if nix::unistd::geteuid().is_root() && !lath_instance::is_rootless() {
        return "/var/lib/lath".into();
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into()));
    std::env::var_os("XDG_DATA_HOME")
        .map_or_else(|| home().join(".local/share"), PathBuf::from)
        .join("lath")
}

/// The data directory that a command applies to.
pub(crate) fn data_dir(flag: &cli::DataDir) -> PathBuf {
    flag.data_dir.clone().unwrap_or_else(default_data_dir)
}

impl Config {
    /// Loads the configuration from the flags (clap includes the environment) and the file.
    ///
    /// # Errors
    /// When the file cannot be read or a value is invalid.
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
        set(&mut self.data_dir, &flags.data_dir_flag.data_dir);
        set(&mut self.listen, &flags.listen);
        set(&mut self.admin_listen, &flags.admin_listen);
        if flags.region.is_some() {
            self.regions.clear();
        }
        set(&mut self.dns_listen, &flags.dns_listen);
        set(&mut self.registry_listen, &flags.registry_listen);
        set(&mut self.region, &flags.region);
        if !flags.regions.is_empty() {
            self.regions.clone_from(&flags.regions);
        }
        if flags.home.is_some() {
            self.home.clone_from(&flags.home);
        }
        set(&mut self.account, &flags.account);
        set(&mut self.default_vpc, &flags.default_vpc);
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
        self.check_regions()?;
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
                listener.addr = %self.listen,
                "the AWS APIs listen beyond loopback without TLS: requests are signed, but anyone on the path can read them"
            );
        }
        if !self.registry_listen.ip().is_loopback() {
            tracing::warn!(
                listener.addr = %self.registry_listen,
                "the image registry listens beyond loopback without TLS: anyone on the path can read its passwords"
            );
        }
        if let Some(path) = self.image_credentials.as_deref() {
            lath_registry::Credentials::open(path).context("image_credentials")?;
        }
        for (name, directory) in &self.images {
            if !directory.is_dir() {
                bail!("image {name}: {} is not a directory", directory.display());
            }
        }
        Ok(())
    }

    fn check_regions(&self) -> anyhow::Result<()> {
        check_region(&self.region)?;
        for (place, region) in self.regions.iter().enumerate() {
            check_region(region)?;
            ensure!(
                !self.regions[..place].contains(region),
                "regions names {region} twice"
            );
            ensure!(
                !self.remote_regions.contains_key(region),
                "{region} is among both regions and remote_regions"
            );
        }
        ensure!(
            self.regions.len() <= MAX_REGIONS,
            "{} regions are more than {MAX_REGIONS}",
            self.regions.len()
        );
        if let Some(home) = &self.home {
            ensure!(
                self.regions.contains(home),
                "home {home} is not among regions: {}",
                self.regions.join(", ")
            );
        }
        self.check_partition()?;
        for (region, url) in &self.remote_regions {
            check_region(region)?;
            authority(url).with_context(|| format!("remote_regions: {region}"))?;
        }
        Ok(())
    }

    /// Accounts, IAM and Route 53 belong to one partition: all regions must be in the same one.
    fn check_partition(&self) -> anyhow::Result<()> {
        let mut all = self.regions.iter().chain(self.remote_regions.keys());
        let first = self.regions.first().unwrap_or(&self.region);
        let ours = Partition::of_region(first);
        if let Some(other) = all.find(|region| Partition::of_region(region) != ours) {
            bail!(
                "{first} is in the partition {ours} and {other} in {}: accounts do not span partitions, so run one Lath for each",
                Partition::of_region(other)
            );
        }
        Ok(())
    }

    /// The configuration as a TOML file with an explanation of each key.
    pub(crate) fn print(&self) -> anyhow::Result<String> {
        let table = toml::Table::try_from(self)?;
        let mut text = String::from("# lath.toml: the effective configuration of `lath serve`.\n");
        for (key, meaning, example) in MEANINGS {
            let example = example.unwrap_or_default();
            let Some(value) = table.get(key) else {
                write!(text, "\n# {meaning}\n# {example}\n")?;
                continue;
            };
            match value {
                toml::Value::Table(table) if table.is_empty() => {
                    write!(text, "\n# {meaning}\n# [{key}]\n# {example}\n")?;
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

fn check_region(region: &str) -> anyhow::Result<()> {
    let parts: Vec<&str> = region.split('-').collect();
    let plausible = parts.len() >= 3
        && region.len() <= 32
        && region
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && parts.last().is_some_and(|last| last.parse::<u8>().is_ok());
    ensure!(
        plausible,
        "{region:?} is not a region name such as us-east-1 or eu-central-1"
    );
    Ok(())
}

/// `host:port` of `http://host:port`.
pub(crate) fn authority(url: &str) -> anyhow::Result<String> {
    let uri: http::Uri = url
        .parse()
        .with_context(|| format!("{url:?} is not a URL"))?;
    let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
    let authority = uri
        .authority()
        .filter(|authority| plain && uri.query().is_none() && !authority.as_str().contains('@'));
    let Some(authority) = authority else {
        bail!("{url:?} is not of the form http://host:port");
    };
    let port = authority.port_u16().unwrap_or(80);
    Ok(format!("{}:{port}", authority.host()))
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
        config
            .image_upstreams
            .insert("docker.io".into(), "registry-1.docker.io".into());
        config.image_credentials = Some("/x".into());
        config.regions = vec!["us-east-1".into(), "us-west-2".into()];
        config.home = Some("us-west-2".into());
        config
            .remote_regions
            .insert("eu-west-1".into(), "http://192.0.2.1:4566".into());
        assert_eq!(
            toml::from_str::<Config>(&config.print().unwrap()).unwrap(),
            config
        );
    }

    #[test]
    fn every_key_has_a_meaning() {
        let config = Config {
            home: Some("us-east-1".into()),
            image_credentials: Some("/x".into()),
            ..Config::default()
        };
        let keys = toml::Table::try_from(config).unwrap();
        assert!(
            keys.keys()
                .all(|key| MEANINGS.iter().any(|(known, ..)| known == key)),
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
            ("a region twice", "regions = [\"us-east-1\", \"us-east-1\"]"),
            ("regions that are none", "regions = [\"us-east-1\", \"..\"]"),
            (
                "two partitions",
                "regions = [\"us-east-1\", \"cn-north-1\"]",
            ),
            (
                "a remote region of another partition",
                "region = \"us-gov-west-1\"\n[remote_regions]\nus-east-1 = \"http://a:1\"",
            ),
            (
                "a home elsewhere",
                "regions = [\"us-east-1\"]\nhome = \"us-west-2\"",
            ),
            (
                "a region here and there",
                "regions = [\"us-east-1\"]\n[remote_regions]\nus-east-1 = \"http://a:1\"",
            ),
            (
                "a remote region without a URL",
                "[remote_regions]\neu-west-1 = \"192.0.2.1\"",
            ),
            (
                "a remote region by TLS",
                "[remote_regions]\neu-west-1 = \"https://192.0.2.1\"",
            ),
            (
                "a remote region with a path",
                "[remote_regions]\neu-west-1 = \"http://a/b\"",
            ),
        ] {
            let read = toml::from_str::<Config>(text).map_err(anyhow::Error::from);
            assert!(read.and_then(|config| config.check()).is_err(), "{name}");
        }
    }
}
