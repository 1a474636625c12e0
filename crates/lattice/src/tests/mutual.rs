//! Mutual TLS by tags of listeners and service networks.

use lath_ca::Authority;
use lath_control::{Mode, claims_on};
use lath_feed::MutualTlsMode;

use super::authorization::needs;
use super::*;
use crate::shape::TagResource;

const TAG: &str = "lath:mutual-tls";

async fn extended() -> World {
    let authority = Arc::new(Authority::random(START).unwrap());
    World::with(|cell| {
        cell.mode = Mode::Extended;
        cell.authority = Some(authority);
    })
    .await
}

#[tokio::test]
async fn a_listener_asks_for_what_its_tag_says() {
    let world = extended().await;
    let service = world.active_service("web").await;
    let path = format!("/services/{service}/listeners");
    let listener = |protocol: &str, tags: Value| json!({ "name": protocol.to_lowercase(), "protocol": protocol, "defaultAction": fixed(404), "tags": tags });
    let passthrough = json!({ TAG: r#"{"mode":"passthrough"}"# });
    let plain = world
        .post(&path, listener("HTTP", passthrough.clone()))
        .await;
    plain.is(400, "ValidationException");
    let made = world.post(&path, listener("HTTPS", passthrough)).await;
    made.is(201, "");
    let id = made.id();
    let asked = |world: &World| {
        let services = world.snapshot().services;
        services[&service.parse().unwrap()].listeners[&id.parse().unwrap()]
            .mutual_tls
            .clone()
    };
    assert_eq!(asked(&world).unwrap().mode, MutualTlsMode::Passthrough);
    let tags = format!("/tags/{}", segment(&made.text("arn")));
    let unknown = format!("{ARN}service/{service}");
    let verify = format!(r#"{{"mode":"verify","trustAnchors":["{unknown}"]}}"#);
    let refused = world.post(&tags, json!({ "tags": { TAG: verify } })).await;
    refused.is(400, "ValidationException");
    assert!(refused.text("message").contains(&unknown), "{refused:?}");
    assert_eq!(asked(&world).unwrap().mode, MutualTlsMode::Passthrough);
    world
        .delete(&format!("{tags}?tagKeys={}", segment(TAG)))
        .await
        .is(200, "");
    assert_eq!(asked(&world), None);
    assert!(claims_on(&world.cell.db.view(), &unknown).is_empty());
}

#[tokio::test]
async fn a_network_requires_it_or_does_not_and_the_tag_is_a_change_of_it() {
    let world = extended().await;
    let network = world.network("mesh").await;
    let required =
        |world: &World| world.snapshot().service_networks[&network.parse().unwrap()].workloads_only;
    assert!(!required(&world));
    let arn = format!("{ARN}servicenetwork/{network}");
    let tags = format!("/tags/{}", segment(&arn));
    needs::<TagResource>(
        &world,
        json!({ "resourceArn": arn, "tags": { TAG: "required" } }),
        &[
            &format!(
                "TagResource servicenetwork/{network} aws:RequestTag/{TAG}=required aws:TagKeys={TAG}"
            ),
            &format!("UpdateServiceNetwork servicenetwork/{network}"),
        ],
    );
    for (value, status) in [("perhaps", 400), ("required", 200)] {
        let told = world.post(&tags, json!({ "tags": { TAG: value } })).await;
        assert_eq!(told.status.as_u16(), status, "{value}");
    }
    assert!(required(&world));
    world
        .delete(&format!("{tags}?tagKeys={}", segment(TAG)))
        .await
        .is(200, "");
    assert!(!required(&world));
    let strict = World::new().await;
    let made = json!({ "name": "mesh", "tags": { TAG: "required" } });
    let refused = strict.post("/servicenetworks", made).await;
    refused.is(400, "ValidationException");
}

#[tokio::test]
async fn workloads_have_an_authority_in_extended_mode_only() {
    let world = extended().await;
    world.pass().await;
    let told = world.snapshot().workload_authority.clone().unwrap();
    assert!(told.trust_domain.starts_with("lath-"));
    assert!(
        told.certificate
            .chain
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    world.pass().await;
    assert_eq!(world.snapshot().workload_authority, Some(told));
    let strict =
        World::with(|cell| cell.authority = Some(Arc::new(Authority::random(START).unwrap())))
            .await;
    strict.pass().await;
    assert_eq!(strict.snapshot().workload_authority, None);
}
