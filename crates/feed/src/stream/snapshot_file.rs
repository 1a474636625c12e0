//! A node's last snapshot on disk, so that it can start while control is away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lath_model::id::{HostedZoneId, TransitGatewayId, VpcId};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::frame;
use crate::{NamedRecords, Snapshot, SnapshotReceiver};

/// Changes that come together are written together.
const SETTLE: Duration = Duration::from_millis(50);
/// Before what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What the version before wrote otherwise.
#[derive(Deserialize)]
struct Former {
    /// By VPC, the others whose public names lead to private addresses in it: those with a Transit Gateway in common.
    #[serde(default)]
    private_names: BTreeMap<VpcId, BTreeSet<VpcId>>,
}

impl Former {
    /// The same by gateways, until control says which: one for each two VPCs.
    fn name_sharing(self) -> BTreeMap<VpcId, BTreeSet<TransitGatewayId>> {
        let of_one = |(one, others): (VpcId, BTreeSet<VpcId>)| {
            others.into_iter().map(move |other| (one.clone(), other))
        };
        let pairs = self.private_names.into_iter().flat_map(of_one);
        let pairs: BTreeSet<(VpcId, VpcId)> = pairs
            .map(|(one, other)| {
                if one < other {
                    (one, other)
                } else {
                    (other, one)
                }
            })
            .collect();
        let mut shared: BTreeMap<VpcId, BTreeSet<TransitGatewayId>> = BTreeMap::new();
        for (one, other) in pairs {
            let gateway = TransitGatewayId::random();
            shared.entry(one).or_default().insert(gateway.clone());
            shared.entry(other).or_default().insert(gateway);
        }
        shared
    }
}

/// The file. It holds what snapshots hold, user data and private keys included: mode 0600.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    path: PathBuf,
}

impl SnapshotFile {
    /// The file at `path`, which need not exist.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The snapshot, when there is a readable one of this region. Whatever else is in the file is of no use:
    /// the log says so, and control tells better.
    pub fn load(&self, region: &str) -> Option<Snapshot> {
        self.look(region).unwrap_or_else(|reason| {
            let path = self.path.display();
            tracing::warn!(%path, reason, "the kept snapshot cannot be used: control is waited for, which writes it anew");
            None
        })
    }

    /// The snapshot; nothing where there is no file.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub fn look(&self, region: &str) -> Result<Option<Snapshot>, String> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| error.to_string())?,
        };
        let (head, body) = bytes.split_first_chunk().ok_or("it is cut off")?;
        let length = frame::body_length(*head).map_err(|error| error.to_string())?;
        if length != body.len() {
            return Err("it is cut off".into());
        }
        let mut snapshot: Snapshot = frame::decode(body).map_err(|error| error.to_string())?;
        if snapshot.name_sharing.is_empty() {
            let former: Former = frame::decode(body).map_err(|error| error.to_string())?;
            snapshot.name_sharing = former.name_sharing().into();
        }
        let former: FormerZones = frame::decode(body).map_err(|error| error.to_string())?;
        former.complete(&mut snapshot);
        if snapshot.region != region {
            return Err(format!("it is of the region {}", snapshot.region));
        }
        Ok(Some(snapshot))
    }

    /// Writes the snapshot: complete, or not at all.
    ///
    /// # Errors
    /// When it cannot be written, such as on a full disk.
    pub fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        let bytes = frame::encode(snapshot)?;
        let beside = self.path.with_extension("new");
        let mut file = new_file(&beside)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&beside, &self.path)
    }

    /// Removes the file: after a clean stop there is nothing to start from.
    pub fn forget(&self) {
        // A node that finds it nevertheless starts from it, until control sends a newer one.
        let _ = fs::remove_file(&self.path);
    }

    /// Writes every snapshot but those that newer ones overtake, until `stop`.
    pub async fn keep(self, mut snapshots: SnapshotReceiver, stop: CancellationToken) {
        let mut saved: Option<Arc<Snapshot>> = None;
        loop {
            let newest = Arc::clone(&snapshots.borrow_and_update());
            let mut missed = false;
            // Of one version there are several: what a node has of it is another thing when VPCs move to other nodes.
            if newest.version > 0 && saved.as_ref().is_none_or(|saved| *saved != newest) {
                missed = !self.save_apart(Arc::clone(&newest)).await;
                saved = (!missed).then_some(newest);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = snapshots.changed() => if changed.is_err() { return },
                // What is on disk is older than it may be: there may be room again.
                () = tokio::time::sleep(RETRY), if missed => {}
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Whether it was written.
    async fn save_apart(&self, snapshot: Arc<Snapshot>) -> bool {
        let this = self.clone();
        let saved = tokio::task::spawn_blocking(move || this.save(&snapshot)).await;
        if let Ok(Err(error)) = &saved {
            tracing::error!(%error, path = %self.path.display(), "the snapshot cannot be kept");
        }
        matches!(saved, Ok(Ok(())))
    }
}

/// What the version before wrote elsewhere: a zone held its records.
#[derive(Deserialize)]
struct FormerZones {
    hosted_zones: BTreeMap<HostedZoneId, FormerZone>,
}

#[derive(Deserialize)]
struct FormerZone {
    #[serde(default)]
    records: BTreeMap<String, NamedRecords>,
}

impl FormerZones {
    fn complete(self, snapshot: &mut Snapshot) {
        for (id, zone) in self.hosted_zones {
            let named = zone.records.into_iter();
            let records = named.map(|(name, sets)| ((id.clone(), name), Arc::new(sets)));
            snapshot.records.extend(records);
        }
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::sync::watch;

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_that_could_not_be_written_is_written_once_it_can_be() {
        let directory = tempfile::tempdir().unwrap();
        let later = directory.path().join("later");
        let kept = SnapshotFile::at(&later.join("snapshot.cbor"));
        let snapshot = Snapshot {
            version: 7,
            region: "us-east-1".into(),
            ..Snapshot::default()
        };
        let (_snapshots_tx, snapshots) = watch::channel(Arc::new(snapshot));
        let stop = CancellationToken::new();
        let task = tokio::spawn(kept.clone().keep(snapshots, stop.clone()));
        tokio::time::sleep(SETTLE * 4).await;
        fs::create_dir(&later).unwrap();
        let written = async {
            while kept.load("us-east-1").is_none() {
                tokio::time::sleep(SETTLE).await;
            }
        };
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, written).await.unwrap();
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_node_has_of_the_same_version_is_written_when_it_is_another_thing() {
        let directory = tempfile::tempdir().unwrap();
        let kept = SnapshotFile::at(&directory.path().join("snapshot.cbor"));
        let mut snapshot = Snapshot {
            version: 7,
            region: "us-east-1".into(),
            ..Snapshot::default()
        };
        snapshot
            .name_sharing
            .insert(VpcId::random(), BTreeSet::new());
        let (snapshots_tx, snapshots) = watch::channel(Arc::new(snapshot.clone()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(kept.clone().keep(snapshots, stop.clone()));
        let has = async |vpcs: usize| {
            let is_so = || {
                let read = kept.load("us-east-1");
                read.is_some_and(|it| it.name_sharing.len() == vpcs)
            };
            let written = async {
                while !is_so() {
                    tokio::time::sleep(SETTLE).await;
                }
            };
            let patience = Duration::from_secs(60);
            tokio::time::timeout(patience, written).await.unwrap();
        };
        has(1).await;
        // The VPC is on another node now.
        snapshot.name_sharing = Default::default();
        snapshots_tx.send_replace(Arc::new(snapshot));
        has(0).await;
        stop.cancel();
        task.await.unwrap();
    }

    #[test]
    fn shared_names_of_the_version_before_are_read() {
        let [one, two, three, four]: [VpcId; 4] = std::array::from_fn(|_| VpcId::random());
        let former = BTreeMap::from([
            (one.clone(), BTreeSet::from([two.clone(), three.clone()])),
            (two.clone(), BTreeSet::from([one.clone()])),
            (three.clone(), BTreeSet::from([one.clone()])),
        ]);
        let mut value = ciborium::Value::serialized(&Snapshot::default()).unwrap();
        for (name, content) in value.as_map_mut().unwrap() {
            if name.as_text() == Some("name_sharing") {
                *name = "private_names".into();
                *content = ciborium::Value::serialized(&former).unwrap();
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot.cbor");
        fs::write(&path, frame::encode(&value).unwrap()).unwrap();
        let snapshot = SnapshotFile::at(&path).look("").unwrap().unwrap();
        let of = |vpc: &VpcId| snapshot.name_sharing.get(vpc).cloned().unwrap_or_default();
        let shares = |a: &VpcId, b: &VpcId| !of(a).is_disjoint(&of(b));
        assert!(shares(&one, &two) && shares(&one, &three));
        assert!(!shares(&two, &three) && of(&four).is_empty());
    }

    #[test]
    fn records_that_the_version_before_kept_in_their_zone_are_found() {
        #[derive(serde::Serialize)]
        struct Zone {
            id: HostedZoneId,
            name: String,
            vpcs: Option<()>,
            name_servers: Vec<String>,
            records: BTreeMap<String, NamedRecords>,
        }
        let id = HostedZoneId::random();
        let zone = Zone {
            id: id.clone(),
            name: "a.test.".into(),
            vpcs: None,
            name_servers: Vec::new(),
            records: BTreeMap::from([("www.a.test.".into(), NamedRecords::new())]),
        };
        let mut bytes = Vec::new();
        ciborium::into_writer(&Snapshot::default(), &mut bytes).unwrap();
        let mut whole: ciborium::Value = ciborium::from_reader(&bytes[..]).unwrap();
        let zones = BTreeMap::from([(id.clone(), zone)]);
        for (member, value) in whole.as_map_mut().unwrap() {
            if member.as_text() == Some("hosted_zones") {
                *value = ciborium::Value::serialized(&zones).unwrap();
            }
        }
        whole
            .as_map_mut()
            .unwrap()
            .retain(|(member, _)| member.as_text() != Some("records"));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot.cbor");
        fs::write(&path, frame::encode(&whole).unwrap()).unwrap();
        let read = SnapshotFile::at(&path).look("").unwrap().unwrap();
        assert!(read.hosted_zones.contains_key(&id));
        let names: Vec<&str> = read.records_of(&id).map(|(name, _)| name).collect();
        assert_eq!(names, ["www.a.test."]);
    }
}
