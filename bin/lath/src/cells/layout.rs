//! Where cells keep their things, what is remembered of them for ever, and what each process is told.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use ipnet::Ipv4Net;
use lath_feed::{PrivateKey, RegionPlace, Topology, WITNESS};
use serde::{Deserialize, Serialize};

use crate::config::{Config, MAX_REGIONS};
use crate::{private_file, running};

/// The witness's place on the WAN; 255 is the router's.
const WITNESS_INDEX: u8 = 254;
/// The longest path of a Unix socket, with its NUL.
const SOCKET_PATH: usize = 108;

/// The directories of an installation.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    installation: PathBuf,
}

impl Layout {
    pub(crate) fn new(installation: &Path) -> Self {
        Self {
            installation: installation.to_owned(),
        }
    }

    pub(crate) fn installation(&self) -> &Path {
        &self.installation
    }

    /// The data directory of a region, or of the witness.
    pub(crate) fn cell(&self, name: &str) -> PathBuf {
        self.installation.join(name)
    }

    pub(crate) fn run_dir(&self, name: &str) -> PathBuf {
        running::run_dir(&self.cell(name))
    }

    /// What the processes of a cell are told.
    pub(crate) fn cell_file(&self, name: &str) -> PathBuf {
        self.cell(name).join("cell.json")
    }

    pub(crate) fn api_socket(&self, name: &str) -> PathBuf {
        self.run_dir(name).join("api.sock")
    }

    pub(crate) fn feed_socket(&self, name: &str) -> PathBuf {
        self.run_dir(name).join("feed.sock")
    }

    /// A node's last snapshot.
    pub(crate) fn kept(&self, name: &str) -> PathBuf {
        self.cell(name).join("snapshot.cbor")
    }

    /// What drills ask for.
    pub(crate) fn orders(&self) -> lath_drill::order::Orders {
        lath_drill::order::Orders::of(&self.installation)
    }

    /// The supervisor's own run directory, where the WAN is pinned too.
    pub(crate) fn own_run_dir(&self) -> PathBuf {
        running::run_dir(&self.installation)
    }

    fn remembered(&self) -> PathBuf {
        self.installation.join("cells.json")
    }

    /// Makes the directories of a cell, closed to others.
    pub(crate) fn make(&self, name: &str) -> anyhow::Result<()> {
        let run_dir = self.run_dir(name);
        let make = || {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&run_dir)
        };
        make().with_context(|| format!("cannot make {}", run_dir.display()))?;
        let socket = self.api_socket(name);
        ensure!(
            socket.as_os_str().len() < SOCKET_PATH - "feed".len(),
            "the data directory's path is too long: a socket cannot be made at {}",
            socket.display()
        );
        Ok(())
    }
}

/// What an installation remembers of its regions for ever.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Remembered {
    home: String,
    /// Regions that are not served at the moment keep theirs.
    indices: BTreeMap<String, u8>,
}

/// One region alone cannot be served from a data directory that cells use.
///
/// # Errors
/// When cells use it.
pub(crate) fn refuse_if_cells(config: &Config) -> anyhow::Result<()> {
    let layout = Layout::new(&config.data_dir);
    if let Some(known) = read(&layout.remembered())? {
        let regions: Vec<&str> = known.indices.keys().map(String::as_str).collect();
        bail!(
            "{} belongs to several regions: start them with --regions {}, or name another --data-dir",
            config.data_dir.display(),
            regions.join(",")
        );
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Option<Remembered>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is damaged", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The regions as they are laid out, from the view of each of them. Remembers new ones.
///
/// # Errors
/// When the home would change, or a file cannot be read or written; the text says which.
pub(crate) fn lay_out(layout: &Layout, config: &Config) -> anyhow::Result<Topology> {
    let path = layout.remembered();
    let known = read(&path)?;
    ensure!(
        known.is_some() || !layout.installation.join("state.redb").exists(),
        "{} belongs to one region alone: name another --data-dir",
        layout.installation.display()
    );
    let mut known = known.unwrap_or_default();
    let first = config.regions.first().context("no region is named")?;
    let home = match (&config.home, known.home.as_str()) {
        (Some(home), "") => home.clone(),
        (None, "") => first.clone(),
        (Some(home), its) if home != its => {
            bail!("the home is {its} and cannot be changed to {home}: IAM and Route 53 live there")
        }
        (_, its) => its.to_owned(),
    };
    ensure!(
        config.regions.contains(&home),
        "regions lacks {home}, the home of IAM and Route 53"
    );
    known.home.clone_from(&home);
    for region in &config.regions {
        give_index(&mut known.indices, region)?;
    }
    private_file::write(&path, &serde_json::to_vec_pretty(&known)?)?;
    let mut regions = BTreeMap::new();
    for region in &config.regions {
        layout.make(region)?;
        let place = place(known.indices[region], &public_key(layout, region)?);
        regions.insert(region.clone(), place);
    }
    let witness = if regions.len() % 2 == 0 {
        layout.make(WITNESS)?;
        Some(place(WITNESS_INDEX, &public_key(layout, WITNESS)?))
    } else {
        None
    };
    Ok(Topology {
        region: home.clone(),
        home,
        regions,
        witness,
        underlay: None,
    })
}

fn give_index(indices: &mut BTreeMap<String, u8>, region: &str) -> anyhow::Result<()> {
    if indices.contains_key(region) {
        return Ok(());
    }
    let most = u8::try_from(MAX_REGIONS).unwrap_or(u8::MAX);
    let free = (0..most).find(|index| !indices.values().any(|known| known == index));
    let index = free.with_context(|| {
        format!("{MAX_REGIONS} regions have been served from here: there is no room for {region}")
    })?;
    indices.insert(region.to_owned(), index);
    Ok(())
}

fn place(index: u8, public_key: &[u8; 32]) -> RegionPlace {
    let public_pool = if index == WITNESS_INDEX {
        Ipv4Net::from(Ipv4Addr::UNSPECIFIED)
    } else {
        // 198.18.0.0/15 (RFC 2544) in sixteen parts.
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + u32::from(index) * (1 << 13);
        Ipv4Net::new_assert(Ipv4Addr::from(base), 19)
    };
    RegionPlace {
        index,
        underlay: Ipv4Addr::new(100, 64, index, 1),
        link: Ipv4Addr::new(100, 65, index, 1),
        public_key: *public_key,
        public_pool,
    }
}

fn public_key(layout: &Layout, name: &str) -> anyhow::Result<[u8; 32]> {
    let key = link_key(&layout.cell(name))?;
    Ok(lath_tunnel::public_key(&key))
}

/// The private key of a cell for the encrypted links; a new one at its first start.
///
/// # Errors
/// When the file cannot be read or written, or holds something else.
pub(crate) fn link_key(cell: &Path) -> anyhow::Result<PrivateKey> {
    let path = cell.join("link.key");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let bytes = hex::decode(text.trim()).ok();
            let key = bytes
                .and_then(|bytes| bytes.try_into().ok())
                .map(PrivateKey);
            key.with_context(|| format!("{} does not hold a key", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = lath_tunnel::private_key();
            private_file::write(&path, hex::encode(key.0).as_bytes())?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// What a process of a cell is told. Processes that were told the same are the same.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CellFile {
    /// The data directory of the whole installation.
    pub(crate) installation: PathBuf,
    /// As [`Config`] says, of this region alone.
    pub(crate) config: Config,
    /// From the view of this region.
    pub(crate) topology: Topology,
}

impl CellFile {
    /// What the processes of the cell `name` are told.
    pub(crate) fn of(layout: &Layout, config: &Config, topology: &Topology, name: &str) -> Self {
        let index = topology.place(name).map_or(0, |place| place.index);
        let mut dns_listen = config.dns_listen;
        dns_listen.set_port(dns_listen.port().saturating_add(index.into()));
        let own = Config {
            data_dir: layout.cell(name),
            region: name.to_owned(),
            dns_listen,
            // Processes need not be started anew because another port is listened on.
            ..Config {
                listen: Config::default().listen,
                admin_listen: Config::default().admin_listen,
                remote_regions: BTreeMap::new(),
                ..config.clone()
            }
        };
        let topology = Topology {
            region: name.to_owned(),
            underlay: Some(lath_fabric::wan::pin(&layout.own_run_dir(), name)),
            ..topology.clone()
        };
        Self {
            installation: layout.installation.clone(),
            config: own,
            topology,
        }
    }

    pub(crate) fn write(&self, layout: &Layout) -> anyhow::Result<()> {
        let path = layout.cell_file(&self.topology.region);
        private_file::write(&path, &serde_json::to_vec_pretty(self)?)
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(&self.installation)
    }
}
