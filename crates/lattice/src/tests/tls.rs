//! Listeners and groups of every protocol, and what nodes are told of certificates.

use lath_ca::Authority;
use lath_model::lattice::{ListenerProtocol, ProtocolVersion};

use super::*;
use crate::contribute;

async fn secured() -> World {
    let authority = Arc::new(Authority::random(START).unwrap());
    World::with(|cell| cell.authority = Some(authority)).await
}

impl World {
    async fn listener_of(&self, service: &str, protocol: &str, action: Value) -> Answer {
        let body = json!({ "name": protocol.to_lowercase().replace('_', "-"), "protocol": protocol, "defaultAction": action });
        self.post(&format!("/services/{service}/listeners"), body)
            .await
    }

    async fn group_of(&self, name: &str, protocol: &str, version: Option<&str>) -> String {
        let mut config = json!({ "protocol": protocol, "vpcIdentifier": VPC_A });
        if let Some(version) = version {
            config["protocolVersion"] = version.into();
        }
        let group = json!({ "name": name, "type": "IP", "config": config });
        let id = self.post("/targetgroups", group).await.id();
        self.settle().await;
        id
    }
}

#[tokio::test]
async fn the_first_https_listener_brings_a_certificate_for_generated_names() {
    let world = secured().await;
    let service = world.active_service("web").await;
    assert_eq!(world.snapshot().lattice_certificate, None);
    let made = world.listener_of(&service, "HTTPS", fixed(404)).await;
    made.is(201, "");
    assert_eq!(
        (made.text("protocol"), &made.body["port"]),
        ("HTTPS".into(), &json!(443))
    );
    world.pass().await;
    let snapshot = world.snapshot();
    let certificate = snapshot.lattice_certificate.clone().unwrap();
    assert!(certificate.chain.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(certificate.key.0.starts_with("-----BEGIN PRIVATE KEY-----"));
    let its = &snapshot.services[&service.parse().unwrap()];
    let protocols: Vec<_> = its.listeners.values().map(|it| it.protocol).collect();
    assert_eq!(
        (protocols, &its.certificate),
        (vec![ListenerProtocol::Https], &None)
    );
    // It stays, and the state has no key that can be read.
    world.pass().await;
    assert_eq!(world.snapshot().lattice_certificate, Some(certificate));
    let kept = world
        .cell
        .db
        .view()
        .get::<crate::record::GeneratedCertificate>("generated")
        .unwrap();
    let written = serde_json::to_string(&*kept).unwrap();
    assert!(!written.contains("PRIVATE KEY"), "{written}");
    assert_eq!(kept.names, ["*.7d67968.vpc-lattice-svcs.us-east-1.on.aws"]);
    // Keys are not exported to other regions.
    let told = contribute::exported(&world.cell, &world.cell.db.view());
    assert!(told.services.iter().all(|it| it.certificate.is_none()));
}

#[tokio::test]
async fn groups_fit_listeners_of_their_protocol() {
    let world = secured().await;
    let domain = json!({ "name": "web", "customDomainName": "web.example.test" });
    let service = world.post("/services", domain).await.id();
    let plain = world.active_service("plain").await;
    let tcp = world.group_of("tcp", "TCP", None).await;
    let shown = world.get(&format!("/targetgroups/{tcp}")).await;
    let config = &shown.body["config"];
    assert_eq!(
        (&config["protocolVersion"], &config["port"]),
        (&Value::Null, &json!(443))
    );
    assert_eq!(config["healthCheck"]["enabled"], false);
    let grpc = world.group_of("grpc", "HTTPS", Some("GRPC")).await;
    let https = world.group_of("https", "HTTPS", None).await;
    let shown = world.get(&format!("/targetgroups/{https}")).await;
    assert_eq!(shown.body["config"]["healthCheck"]["protocol"], "HTTP");
    let refused = |answer: Answer| answer.is(400, "ValidationException");
    refused(world.listener_of(&service, "HTTPS", forward(&tcp)).await);
    refused(world.listener_of(&service, "HTTP", forward(&grpc)).await);
    refused(
        world
            .listener_of(&service, "TLS_PASSTHROUGH", forward(&https))
            .await,
    );
    refused(
        world
            .listener_of(&plain, "TLS_PASSTHROUGH", forward(&tcp))
            .await,
    );
    let made = world
        .listener_of(&service, "TLS_PASSTHROUGH", forward(&tcp))
        .await;
    made.is(201, "");
    let at = format!("/services/{service}/listeners/{}", made.id());
    refused(
        world
            .patch(&at, json!({ "defaultAction": fixed(404) }))
            .await,
    );
    let rule = json!({ "name": "way", "priority": 1, "action": forward(&tcp), "match": { "httpMatch": { "method": "GET" } } });
    refused(world.post(&format!("{at}/rules"), rule).await);
    let body = json!({ "name": "web", "protocol": "HTTPS", "port": 8443, "defaultAction": forward(&grpc) });
    let made = world
        .post(&format!("/services/{service}/listeners"), body)
        .await;
    made.is(201, "");
    let seen = world.snapshot();
    let group = &seen.target_groups[&tcp.parse().unwrap()];
    assert_eq!(group.protocol_version, None);
}

#[tokio::test]
async fn a_certificate_must_be_there_and_a_service_without_a_domain_has_none() {
    let world = secured().await;
    let arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-4000-8000-000000000000";
    for body in [
        json!({ "name": "web", "certificateArn": arn }),
        json!({ "name": "web", "certificateArn": arn, "customDomainName": "web.example.test" }),
        json!({ "name": "web", "certificateArn": "arn:aws:acm", "customDomainName": "web.example.test" }),
    ] {
        let refused = world.post("/services", body).await;
        refused.is(400, "ValidationException");
    }
    let service = world.active_service("web").await;
    let at = format!("/services/{service}");
    let refused = world.patch(&at, json!({ "certificateArn": arn })).await;
    refused.is(400, "ValidationException");
    world
        .patch(&at, json!({ "certificateArn": "" }))
        .await
        .is(200, "");
}

#[tokio::test]
async fn extended_mode_speaks_grpc_in_the_clear_and_asks_its_health_service() {
    let world = World::with(|cell| cell.mode = lath_control::Mode::Extended).await;
    let service = world.active_service("web").await;
    let path = "/grpc.health.v1.Health/Check?service=shop.Cart";
    for (name, version, checked, told) in [
        ("grpc", "GRPC", "HTTP2", ProtocolVersion::Grpc),
        ("grpc1", "GRPC", "HTTP1", ProtocolVersion::Http1),
        ("http2", "HTTP2", "HTTP2", ProtocolVersion::Http2),
    ] {
        let check = json!({ "enabled": true, "protocolVersion": checked, "path": path });
        let config = json!({ "protocol": "HTTP", "protocolVersion": version, "vpcIdentifier": VPC_A, "healthCheck": check });
        let body = json!({ "name": name, "type": "IP", "config": config });
        let group = world.post("/targetgroups", body).await.id();
        world.settle().await;
        let snapshot = world.snapshot();
        let check = &snapshot.target_groups[&group.parse().unwrap()].health_check;
        assert_eq!(check.as_ref().unwrap().protocol_version, told, "{name}");
        if version == "GRPC" && checked == "HTTP2" {
            let made = world.listener_of(&service, "HTTP", forward(&group)).await;
            made.is(201, "");
        }
    }
}
