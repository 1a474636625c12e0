//! A peering between two regions: two cells in memory that exchange sections.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lath_control::exchange;
use lath_ec2::records::PeerTransit;
use lath_feed::{Carrier, Mesh, PeerState, RegionPlace, Topology, TransitPeer, Values};
use lath_model::Timestamp;

use crate::api::Api;

fn place(index: u8) -> RegionPlace {
    RegionPlace {
        underlay: Ipv4Addr::new(100, 64, index, 1),
        link: Ipv4Addr::new(100, 65, index, 1),
        public_key: [index; 32],
        public_pool: format!("198.18.{}.0/19", u16::from(index) * 32)
            .parse()
            .expect("a block"),
    }
}

fn topology(region: &str) -> Topology {
    Topology {
        regions: BTreeMap::from([
            ("us-east-1".to_owned(), place(0)),
            ("us-west-2".to_owned(), place(1)),
        ]),
        ..Topology::single(region)
    }
}

/// Two regions, and what each was told by the other.
struct Pair {
    east: Api,
    west: Api,
    carriers: [Carrier; 2],
}

impl Pair {
    fn new() -> Self {
        let (east, one) = joined("us-east-1");
        let (west, two) = joined("us-west-2");
        Self {
            east,
            west,
            carriers: [one, two],
        }
    }

    /// Carries what each side tells to the other one.
    fn carry(&mut self) {
        let told: Vec<Values> = self
            .carriers
            .iter()
            .map(|it| it.told.borrow().clone())
            .collect();
        for (to, from, name) in [(0, 1, "us-west-2"), (1, 0, "us-east-1")] {
            let state = PeerState {
                connected: true,
                since: Timestamp::from_millis(0),
                values: told[from].clone(),
            };
            let state = BTreeMap::from([(name.to_owned(), state)]);
            self.carriers[to].peers.send_if_modified(|known| {
                let differs = **known != state;
                if differs {
                    *known = Arc::new(state);
                }
                differs
            });
        }
    }

    /// Lets nodes, reconcilers and links work until the condition holds.
    async fn until(&mut self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        for _ in 0..3000 {
            self.east.settle().await;
            self.west.settle().await;
            self.carry();
            if holds(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }

    async fn states(&mut self, id: &str, east: &str, west: &str) {
        self.until(&format!("{east} and {west}"), async |pair| {
            state(&pair.east, id).await == east && state(&pair.west, id).await == west
        })
        .await;
    }
}

fn joined(region: &str) -> (Api, Carrier) {
    let mut api = Api::new();
    api.place(region, topology(region));
    let (mesh, carrier) = Mesh::new();
    let cell = api.app.cell.clone();
    tokio::spawn(exchange(cell, vec![lath_ec2::SECTION], mesh));
    (api, carrier)
}

async fn state(api: &Api, id: &str) -> String {
    let form = format!(
        "Action=DescribeTransitGatewayPeeringAttachments&Filter.1.Name=transit-gateway-attachment-id&Filter.1.Value.1={id}"
    );
    api.all("state", &form).await.pop().unwrap_or_default()
}

async fn request(pair: &Pair, mine: &str, theirs: &str) -> String {
    let form = format!(
        "Action=CreateTransitGatewayPeeringAttachment&TransitGatewayId={mine}&PeerTransitGatewayId={theirs}&PeerAccountId=123456789012&PeerRegion=us-west-2"
    );
    pair.east.get("transitGatewayAttachmentId", &form).await
}

fn tunnel(api: &Api, gateway: &str, id: &str) -> lath_feed::PeeringTunnel {
    let snapshot = api.snapshot();
    let gateway = &snapshot.transit_gateways[&gateway.parse().expect("an id")];
    let attachment = &gateway.attachments[&id.parse().expect("an id")];
    match &attachment.to {
        TransitPeer::Tunnel(tunnel) => tunnel.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_peering_is_requested_accepted_used_and_deleted() {
    let mut pair = Pair::new();
    let (mine, theirs) = (pair.east.transit().await, pair.west.transit().await);
    let id = request(&pair, &mine, &theirs).await;
    assert_eq!(state(&pair.east, &id).await, "initiatingRequest");
    pair.states(&id, "pendingAcceptance", "pendingAcceptance")
        .await;
    let on = |action: &str| format!("Action={action}&TransitGatewayAttachmentId={id}");
    let accept = on("AcceptTransitGatewayPeeringAttachment");
    pair.east
        .refuses(&[(&accept, "InvalidParameterValue")])
        .await;
    pair.west.ok(&accept).await;
    pair.states(&id, "available", "available").await;

    let (east, west) = (
        tunnel(&pair.east, &mine, &id),
        tunnel(&pair.west, &theirs, &id),
    );
    assert_eq!(east.peer.to_string(), "100.64.1.1:52000");
    assert_eq!(west.peer.to_string(), "100.64.0.1:52000");
    assert_eq!((east.port, west.port), (52000, 52000));
    assert_eq!((&*east.region, &*west.region), ("us-west-2", "us-east-1"));
    assert_ne!(east.peer_public_key, west.peer_public_key);

    let told = pair
        .west
        .app
        .cell
        .db
        .view()
        .get::<PeerTransit>("us-east-1")
        .unwrap();
    assert_eq!(told.told.peerings.len(), 1);
    pair.west
        .ok(&on("DeleteTransitGatewayPeeringAttachment"))
        .await;
    pair.states(&id, "deleted", "deleted").await;
    for (api, gateway) in [(&pair.east, &mine), (&pair.west, &theirs)] {
        api.ok(&format!(
            "Action=DeleteTransitGateway&TransitGatewayId={gateway}"
        ))
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peering_is_rejected_or_fails() {
    let mut pair = Pair::new();
    let (mine, theirs) = (pair.east.transit().await, pair.west.transit().await);
    let absent = request(&pair, &mine, "tgw-0123456789abcdef0").await;
    pair.states(&absent, "failed", "").await;
    let id = request(&pair, &mine, &theirs).await;
    pair.states(&id, "pendingAcceptance", "pendingAcceptance")
        .await;
    let form =
        format!("Action=RejectTransitGatewayPeeringAttachment&TransitGatewayAttachmentId={id}");
    pair.west.ok(&form).await;
    pair.states(&id, "rejected", "rejected").await;
}

#[tokio::test(start_paused = true)]
async fn a_region_that_is_cut_off_delays_and_loses_nothing() {
    let mut pair = Pair::new();
    let (mine, theirs) = (pair.east.transit().await, pair.west.transit().await);
    let id = request(&pair, &mine, &theirs).await;
    pair.states(&id, "pendingAcceptance", "pendingAcceptance")
        .await;
    let on = |action: &str| format!("Action={action}&TransitGatewayAttachmentId={id}");
    // Nothing is carried: each side goes on alone.
    pair.west
        .ok(&on("AcceptTransitGatewayPeeringAttachment"))
        .await;
    pair.east
        .ok(&on("DeleteTransitGatewayPeeringAttachment"))
        .await;
    pair.east.settle().await;
    pair.west.settle().await;
    assert_eq!(state(&pair.east, &id).await, "deleted");
    assert_eq!(state(&pair.west, &id).await, "pending");
    pair.states(&id, "deleted", "deleted").await;
}
