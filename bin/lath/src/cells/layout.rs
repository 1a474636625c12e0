//! The files of an installation with several regions: their paths, the permanent list of regions, and the
//! configuration of each process.

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

use super::known::KnownRegions;
use super::process::Role;
use crate::config::Config;
use crate::installation::{Refused, evidence};
use crate::{private_file, running};

/// The witness's number on the WAN; 255 is the router's.
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

    /// The configuration of a cell's processes.
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
    pub(crate) fn snapshot_file(&self, name: &str) -> PathBuf {
        self.cell(name).join("snapshot.cbor")
    }

    /// The file with the reason why a region's control plane does not start.
    pub(crate) fn refusal(&self, name: &str) -> RefusalFile {
        RefusalFile(self.run_dir(name).join("control.refused"))
    }

    /// The file with the error that ended a process.
    pub(crate) fn failure(&self, name: &str, role: Role) -> FailureFile {
        FailureFile(self.run_dir(name).join(format!("{}.failed", role.name())))
    }

    /// Whether the list of regions says that a region has answered before.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub(crate) fn was_served(&self, region: &str) -> anyhow::Result<bool> {
        let known = read(&self.regions_file())?;
        Ok(known.is_some_and(|known| known.served.contains(region)))
    }

    /// Records in the list of regions that a region has a state, or has none any more.
    ///
    /// # Errors
    /// When the list cannot be read or written.
    pub(crate) fn set_served(&self, region: &str, served: bool) -> anyhow::Result<()> {
        let path = self.regions_file();
        let Some(mut known) = read(&path)? else {
            return Ok(());
        };
        let changed = if served {
            known.served.insert(region.to_owned())
        } else {
            known.served.remove(region)
        };
        if changed {
            private_file::write(&path, &serde_json::to_vec_pretty(&known)?)?;
        }
        Ok(())
    }

    /// The orders of drills.
    pub(crate) fn orders(&self) -> lath_drill::order::Orders {
        lath_drill::order::Orders::of(&self.installation, lath_clock::Clock::system())
    }

    /// The supervisor's own run directory; the WAN is pinned there too.
    pub(crate) fn own_run_dir(&self) -> PathBuf {
        running::run_dir(&self.installation)
    }

    fn regions_file(&self) -> PathBuf {
        self.installation.join("cells.json")
    }

    /// Makes the directories of a cell with mode 0700.
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

/// The regions of an installation, including those not served at the moment; empty for an installation of a single
/// region.
pub(crate) fn regions_in(installation: &Path) -> Vec<String> {
    let layout = Layout::new(installation);
    let known = read(&layout.regions_file()).ok().flatten();
    let known = known.or_else(|| recover_from_cells(&layout));
    known.map_or_else(Vec::new, |known| known.indices.into_keys().collect())
}

/// Whether the list of regions in the parent of `cell` says that the region has answered before.
pub(crate) fn was_served(cell: &Path, region: &str) -> bool {
    let installation = cell.parent().unwrap_or(cell);
    Layout::new(installation)
        .was_served(region)
        .unwrap_or(false)
}

/// The small files of an installation with several regions, and what is wrong with each.
pub(crate) fn check_files(installation: &Path) -> Vec<(PathBuf, anyhow::Result<()>)> {
    let layout = Layout::new(installation);
    let regions = regions_in(installation);
    if regions.is_empty() {
        return Vec::new();
    }
    let regions_file = layout.regions_file();
    let check = read(&regions_file).and_then(|known| known.map(drop).context("it is missing"));
    let mut files = vec![(regions_file, check)];
    for name in regions.iter().map(String::as_str).chain([WITNESS]) {
        let (cell, snapshot) = (layout.cell_file(name), layout.snapshot_file(name));
        let key = layout.cell(name).join("link.key");
        if cell.exists() {
            let check = CellFile::read(&cell).map(drop);
            files.push((cell, check));
        }
        if key.exists() {
            files.push((key, link_key(&layout.cell(name)).map(drop)));
        }
        if snapshot.exists() {
            let look = lath_feed::stream::SnapshotFile::at(&snapshot).look(name);
            let check = look.map(drop).map_err(|reason| {
                anyhow::anyhow!("it is damaged ({reason}): it is not used, and written anew")
            });
            files.push((snapshot, check));
        }
    }
    files
}

/// Why a control plane does not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reason {
    /// For clients of the region: without paths and ids.
    pub(crate) summary: String,
    /// For the operator of Lath.
    pub(crate) text: String,
}

/// A file in which a control plane writes why it does not start.
#[derive(Debug, Clone)]
pub(crate) struct RefusalFile(PathBuf);

impl RefusalFile {
    /// The current reason, if there is one.
    pub(crate) fn read(&self) -> Option<Reason> {
        serde_json::from_slice(&fs::read(&self.0).ok()?).ok()
    }

    pub(crate) fn write(&self, reason: &Reason) -> anyhow::Result<()> {
        private_file::write(&self.0, &serde_json::to_vec(reason)?)
    }

    pub(crate) fn remove(&self) {
        // A file that cannot be removed now is overwritten or removed by the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// The last words of a process that ended with an error. The supervisor repeats them to users, who would otherwise
/// only see that a region does not answer.
pub(crate) struct FailureFile(PathBuf);

impl FailureFile {
    /// Writes them. The process is ending anyway: what cannot be written is only in its log.
    pub(crate) fn write(&self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        let _ = private_file::write(&self.0, text.as_bytes());
    }

    /// Reads and removes them.
    pub(crate) fn take(&self) -> Option<String> {
        let bytes = fs::read(&self.0).ok()?;
        let _ = fs::remove_file(&self.0);
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

/// Refuses to serve a single region from a data directory of several.
///
/// # Errors
/// When the directory belongs to several regions.
pub(crate) fn refuse_if_cells(config: &Config) -> anyhow::Result<()> {
    let layout = Layout::new(&config.data_dir);
    if let Some(known) = read_or_refuse(&layout.regions_file())? {
        let regions: Vec<&str> = known.indices.keys().map(String::as_str).collect();
        bail!(
            "{} belongs to several regions: start them with --regions {}, or name another --data-dir",
            config.data_dir.display(),
            regions.join(",")
        );
    }
    Ok(())
}

fn read_or_refuse(path: &Path) -> anyhow::Result<Option<KnownRegions>> {
    let refused = |error: anyhow::Error| {
        let text = format!("{error:#}. Nothing was changed");
        Refused::new("the list of regions cannot be read", text).into()
    };
    read(path).map_err(refused)
}

/// Refuses a start without the list when regions were served before: they would get other numbers.
fn refuse_if_list_lost(layout: &Layout) -> anyhow::Result<()> {
    ensure!(
        !layout.installation.join("state.redb").exists(),
        "{} belongs to one region alone: name another --data-dir",
        layout.installation.display()
    );
    let shown = evidence(&layout.installation)?;
    if shown.is_empty() && recover_from_cells(layout).is_none() {
        return Ok(());
    }
    let path = layout.regions_file();
    let text = format!(
        "{} is missing, and regions were served from here. Nothing was changed. Put it back from a backup{}",
        path.display(),
        proposal(layout)
    );
    Err(Refused::new("the list of regions is missing", text).into())
}

/// Recovers the list of regions from the regions' own files.
fn recover_from_cells(layout: &Layout) -> Option<KnownRegions> {
    let cells = fs::read_dir(&layout.installation).ok()?.flatten();
    let files = cells.filter_map(|cell| CellFile::read(&cell.path().join("cell.json")).ok());
    KnownRegions::of_cells(files.map(|file| file.topology))
}

fn proposal(layout: &Layout) -> String {
    let text = recover_from_cells(layout).and_then(|known| serde_json::to_string(&known).ok());
    text.map_or_else(String::new, |text| {
        format!(", or write what the regions' own files say: {text}")
    })
}

fn read(path: &Path) -> anyhow::Result<Option<KnownRegions>> {
    match fs::read(path) {
        Ok(bytes) => KnownRegions::parse(&bytes).map(Some).with_context(|| {
            let layout = Layout::new(path.parent().unwrap_or(path));
            format!(
                "{} is damaged: put it back from a backup{}",
                path.display(),
                proposal(&layout)
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The topology of all regions, from the view of the home. Adds new regions to the list.
///
/// # Errors
/// When the home would change, or a file cannot be read or written.
pub(crate) fn lay_out(layout: &Layout, config: &Config) -> anyhow::Result<Topology> {
    let path = layout.regions_file();
    let known = read_or_refuse(&path)?;
    if known.is_none() {
        refuse_if_list_lost(layout)?;
    }
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
        known.give_number(region)?;
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

fn place(index: u8, public_key: &[u8; 32]) -> RegionPlace {
    let public_pool = if index == WITNESS_INDEX {
        Ipv4Net::from(Ipv4Addr::UNSPECIFIED)
    } else {
        // Sixteen parts of 198.18.0.0/15 (RFC 2544).
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + u32::from(index) * (1 << 13);
        Ipv4Net::new_assert(Ipv4Addr::from(base), 19)
    };
    RegionPlace {
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

/// Like [`link_key`], and also sets the file's mode to 0600.
///
/// # Errors
/// Like [`link_key`].
pub(crate) fn open_link_key(cell: &Path) -> anyhow::Result<PrivateKey> {
    let key = link_key(cell)?;
    private_file::close_to_others(&cell.join("link.key"))?;
    Ok(key)
}

/// A cell's private key for the encrypted links. Made at its first start.
///
/// # Errors
/// When the file cannot be read or written, or does not contain a key.
pub(crate) fn link_key(cell: &Path) -> anyhow::Result<PrivateKey> {
    let path = cell.join("link.key");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let bytes = hex::decode(text.trim()).ok();
            let key = bytes
                .and_then(|bytes| bytes.try_into().ok())
                .map(PrivateKey);
            key.with_context(|| {
                format!(
                    "{} is damaged: it does not hold the key of the region's encrypted links (64 hexadecimal digits). Put it back from a backup, or remove it: a new one is made, which the other regions learn at their next start",
                    path.display()
                )
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = lath_tunnel::private_key();
            private_file::write(&path, hex::encode(key.0).as_bytes())?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The configuration of a cell's processes. A process is outdated when its file has changed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CellFile {
    /// The data directory of the whole installation.
    pub(crate) installation: PathBuf,
    /// The configuration of this region alone.
    pub(crate) config: Config,
    /// The topology from the view of this region.
    pub(crate) topology: Topology,
}

impl CellFile {
    /// The configuration of the processes of the cell `name`.
    pub(crate) fn of(layout: &Layout, config: &Config, topology: &Topology, name: &str) -> Self {
        let number = topology.place(name).map_or(0, RegionPlace::number);
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let mut dns_listen = config.dns_listen;
        dns_listen.set_port(dns_listen.port().saturating_add(number));
        let mut registry_listen = config.registry_listen;
        registry_listen.set_port(registry_listen.port().saturating_add(number));
        let own = Config {
            data_dir: layout.cell(name),
            region: name.to_owned(),
            dns_listen,
            registry_listen,
            // The supervisor alone listens on these: a change must not restart the cells' processes.
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
        private_file::write_anyway(&path, &serde_json::to_vec_pretty(self)?)
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(&self.installation)
    }
}
