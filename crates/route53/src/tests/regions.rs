//! Home and another region: copies, and when a change is in sync.

use super::*;

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use lath_control::{Parts, Section, Told, exchange};
use lath_feed::{Carrier, Mesh, PeerState, RegionObserved, RegionPlace, Topology};
use lath_model::Timestamp;
use lath_model::id::HostedZoneId;
use lath_wire::ApiError;
use tokio::sync::watch;

use crate::SECTIONS;
use crate::record::{CopiedRecords, StoredSet};
use crate::section::note_served;
use crate::shape::{ResourceRecord, ResourceRecordSet, RrType};

fn topology(region: &str) -> Arc<Topology> {
    let place = |index: u8| RegionPlace {
        underlay: [100, 64, index, 1].into(),
        link: [100, 65, index, 1].into(),
        public_key: [0; 32],
        public_pool: "198.18.0.0/19".parse().unwrap(),
    };
    Arc::new(Topology {
        region: region.into(),
        home: "us-east-1".into(),
        regions: BTreeMap::from([
            ("us-east-1".into(), place(0)),
            ("us-west-2".into(), place(1)),
        ]),
        witness: Some(place(2)),
        underlay: None,
    })
}

fn pair() -> (World, World) {
    ["us-east-1", "us-west-2"]
        .map(|region| {
            World::with(|cell| {
                cell.region = region.into();
                cell.topology = topology(region);
            })
        })
        .into()
}

/// Carries what one region has to tell to the other.
async fn carry(section: &Section, from: &World, to: &World) {
    let view = from.cell.db.view();
    let parts: Parts = lath_control::derive_all(&from.cell, section.export, &view);
    if parts.is_empty() {
        return;
    }
    let parts = parts
        .iter()
        .map(|(part, bytes)| (part.clone(), Some(bytes.clone())));
    let told = Told {
        whole: true,
        parts: parts.collect(),
    };
    let region = from.cell.region.as_str();
    let write = to
        .cell
        .db
        .write(|tx| (section.import)(&to.cell, tx, region, &told));
    write.await.unwrap();
}

/// All that a region says.
fn told(parts: &[(&str, &'static [u8])]) -> Told {
    let parts = parts.iter();
    let parts = parts.map(|(part, bytes)| ((*part).to_owned(), Some(Bytes::from_static(bytes))));
    Told {
        whole: true,
        parts: parts.collect(),
    }
}

fn connect(world: &World, region: &str, connected: bool) {
    world.observe(|observed| {
        let seen = RegionObserved {
            connected,
            since: Timestamp::default(),
        };
        observed.regions.insert(region.into(), seen);
    });
}

#[tokio::test]
async fn another_region_contributes_what_home_told() {
    let (home, other) = pair();
    let zone = home.zone("example.com").await;
    let check = home
        .check("<Type>HTTP</Type><FullyQualifiedDomainName>a.b</FullyQualifiedDomainName>")
        .await;
    let record = |action, value: &str| values(action, "a.example.com", "A", "", &[value]);
    home.change(&zone, &[record("CREATE", "192.0.2.1")])
        .await
        .succeeds();
    carry(&SECTIONS[0], &home, &other).await;
    assert_eq!(other.snapshot().hosted_zones, home.snapshot().hosted_zones);
    assert_eq!(other.snapshot().records, home.snapshot().records);
    assert!(
        other
            .snapshot()
            .health_checks
            .contains_key(&check.parse().unwrap())
    );
    let before = other.cell.db.view().revision();
    carry(&SECTIONS[0], &home, &other).await;
    assert_eq!(other.cell.db.view().revision(), before);
    home.change(&zone, &[record("UPSERT", "192.0.2.2")])
        .await
        .succeeds();
    home.call("DELETE", &format!("healthcheck/{check}"), "")
        .await
        .succeeds();
    carry(&SECTIONS[0], &home, &other).await;
    assert_eq!(other.snapshot().hosted_zones, home.snapshot().hosted_zones);
    assert_eq!(other.snapshot().records, home.snapshot().records);
    assert!(other.snapshot().health_checks.is_empty());
    // What somebody else than home tells is nothing.
    let import = SECTIONS[0].import;
    let forged = told(&[("serial", b"9")]);
    let write = other
        .cell
        .db
        .write(|tx| import(&other.cell, tx, "eu-west-1", &forged));
    write.await.unwrap();
    assert_eq!(other.snapshot().hosted_zones.len(), 1);
    let junk = other
        .cell
        .db
        .write(|tx| import(&other.cell, tx, "us-east-1", &told(&[("zone/Z1", b"junk")])));
    let junk: Result<(), ApiError> = junk.await;
    assert!(junk.is_err());
    other
        .get("hostedzone")
        .await
        .fails(503, "ServiceUnavailable", "us-east-1");
}

#[tokio::test]
async fn a_change_is_in_sync_when_all_reachable_regions_serve_it() {
    let (home, other) = pair();
    let zone = home.zone("example.com").await;
    let done = home
        .change(
            &zone,
            &[values("CREATE", "a.example.com", "A", "", &["192.0.2.1"])],
        )
        .await;
    let path = done
        .text("ChangeInfo/Id")
        .trim_start_matches('/')
        .to_owned();
    let status = || async { home.get(&path).await.text("ChangeInfo/Status") };
    assert_eq!(status().await, "PENDING");
    connect(&home, "us-west-2", true);
    home.catch_up();
    assert_eq!(status().await, "PENDING");
    carry(&SECTIONS[0], &home, &other).await;
    carry(&SECTIONS[1], &other, &home).await;
    assert_eq!(status().await, "PENDING", "it was told, but is not served");
    other.catch_up();
    note_served(other.cell.clone()).await.unwrap();
    carry(&SECTIONS[1], &other, &home).await;
    assert_eq!(status().await, "INSYNC");
    home.observe(|observed| observed.dns_version = 0);
    assert_eq!(status().await, "INSYNC", "that does not end");

    let next = home
        .change(
            &zone,
            &[values("CREATE", "b.example.com", "A", "", &["192.0.2.1"])],
        )
        .await;
    let path = next
        .text("ChangeInfo/Id")
        .trim_start_matches('/')
        .to_owned();
    connect(&home, "us-west-2", false);
    assert_eq!(home.get(&path).await.text("ChangeInfo/Status"), "PENDING");
    home.catch_up();
    assert_eq!(
        home.get(&path).await.text("ChangeInfo/Status"),
        "INSYNC",
        "a region that is cut off is not waited for"
    );
    home.get("change/C0").await.fails(404, "NoSuchChange", "C0");
}

#[tokio::test]
async fn what_is_stored_can_be_read_back() {
    let (home, other) = pair();
    let zone = home.zone("example.com").await;
    home.change(
        &zone,
        &[values(
            "CREATE",
            "\\000x.example.com",
            "A",
            "",
            &["192.0.2.1"],
        )],
    )
    .await
    .succeeds();
    carry(&SECTIONS[0], &home, &other).await;
    assert_eq!(
        fed(&other.snapshot(), &zone, "\\000x.example.com.").len(),
        1
    );
    assert_eq!(home.listed(&zone).await.len(), 3);
}

fn stored(zone: &HostedZoneId, number: usize, value: &str) -> StoredSet {
    let name = format!("host-{number}.example.com.");
    let mut set = ResourceRecordSet::new(&name, RrType::A);
    set.ttl = Some(60);
    set.records = Some(vec![ResourceRecord {
        value: value.to_owned(),
    }]);
    StoredSet {
        zone: zone.clone(),
        set,
    }
}

/// As a mesh does, and how many bytes of new values it carried.
async fn join(
    from: Carrier,
    to: watch::Sender<Arc<BTreeMap<String, PeerState>>>,
    bytes: Arc<AtomicUsize>,
) {
    let mut told = from.told;
    let mut before = lath_feed::Values::new();
    loop {
        let values = told.borrow_and_update().clone();
        let new = values
            .iter()
            .filter(|(topic, value)| before.get(*topic) != Some(*value));
        bytes.fetch_add(new.map(|(_, value)| value.len()).sum(), Ordering::Relaxed);
        before.clone_from(&values);
        let state = PeerState {
            connected: true,
            since: Timestamp::default(),
            values,
        };
        to.send_replace(Arc::new(BTreeMap::from([("us-east-1".to_owned(), state)])));
        if told.changed().await.is_err() {
            return;
        }
    }
}

/// `LATH_TEST_RECORDS=100000` for the large one.
#[tokio::test]
async fn many_records_follow_and_a_change_is_told_alone() {
    let asked = std::env::var("LATH_TEST_RECORDS").ok();
    let count: usize = asked.and_then(|it| it.parse().ok()).unwrap_or(2000);
    let (home, other) = pair();
    let zone: HostedZoneId = home.zone("example.com").await.parse().unwrap();
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(5000) {
        let write = home.cell.db.write(|tx| {
            for number in some {
                tx.put(stored(&zone, *number, "192.0.2.1"));
            }
            Ok::<_, ApiError>(())
        });
        write.await.unwrap();
    }
    let ((here, from), (there, to)) = (Mesh::new(), Mesh::new());
    let bytes = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(join(from, to.peers, Arc::clone(&bytes)));
    tasks.spawn(exchange(home.cell.clone(), SECTIONS.to_vec(), here));
    tasks.spawn(exchange(other.cell.clone(), SECTIONS.to_vec(), there));
    let follows = async |number: usize, value: &str| {
        let key = (zone.clone(), format!("host-{number}.example.com."));
        let sees = || {
            let id = format!("{}/{}", key.0, key.1);
            let known = other.cell.db.view().get::<CopiedRecords>(&id)?;
            Some(format!("{:?}", known.sets).contains(value))
        };
        let mut changes = other.cell.db.changes();
        let waited = async {
            while sees() != Some(true) {
                changes.changed().await.unwrap();
            }
        };
        let patience = std::time::Duration::from_secs(300);
        tokio::time::timeout(patience, waited).await.unwrap();
    };
    follows(count - 1, "192.0.2.1").await;
    assert_eq!(other.snapshot().records, home.snapshot().records);
    let before = bytes.load(Ordering::Relaxed);
    let write = home.cell.db.write(|tx| {
        tx.put(stored(&zone, 7, "192.0.2.2"));
        Ok::<_, ApiError>(())
    });
    write.await.unwrap();
    follows(7, "192.0.2.2").await;
    assert_eq!(other.snapshot().records, home.snapshot().records);
    let told = bytes.load(Ordering::Relaxed) - before;
    assert!(told < 1000, "{told} bytes for one record of {count}");
}
