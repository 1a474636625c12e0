//! Home and another region: copies, and when a change is in sync.

use super::*;

use bytes::Bytes;
use lath_control::{Parts, Section, Told};
use lath_feed::{RegionObserved, RegionPlace, Topology};
use lath_model::Timestamp;
use lath_wire::ApiError;

use crate::SECTIONS;
use crate::section::note_served;

fn topology(region: &str) -> Arc<Topology> {
    let place = |index: u8| RegionPlace {
        index,
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
            since: Timestamp::now(),
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
