//! Verification of targets by tags of target groups.

use lath_ca::{Authority, Certificate};
use lath_control::{Mode, claims_on};
use lath_feed::{TargetName, TargetTls};

use super::authorization::needs;
use super::*;
use crate::shape::{TagResource, UntagResource};

const TAG: &str = "lath:target-tls";

async fn extended(authority: &Arc<Authority>) -> World {
    let authority = Arc::clone(authority);
    World::with(|cell| {
        cell.mode = Mode::Extended;
        cell.authority = Some(authority);
    })
    .await
}

/// The text's certificate, as a tag has it.
fn base64(pem: &str) -> String {
    let lines = pem.lines().filter(|it| !it.starts_with("-----"));
    lines.collect()
}

/// A text of several parts, as tags.
fn tags(text: &str) -> Value {
    let parts = text.as_bytes().chunks(256).enumerate();
    let parts = parts.map(|(at, part)| {
        let name = match at {
            0 => TAG.to_owned(),
            at => format!("{TAG}-{}", at + 1),
        };
        (name, json!(str::from_utf8(part).unwrap()))
    });
    Value::Object(parts.collect())
}

fn new_group(name: &str, protocol: &str, tags: &Value) -> Value {
    json!({
        "name": name, "type": "IP", "tags": tags,
        "config": { "port": 443, "protocol": protocol, "vpcIdentifier": VPC_A },
    })
}

fn told(world: &World, group: &str) -> Option<TargetTls> {
    let groups = world.snapshot().target_groups;
    groups[&group.parse().unwrap()].tls.clone()
}

#[tokio::test]
async fn a_group_verifies_as_its_tag_says() {
    let authority = Arc::new(Authority::random(START).unwrap());
    let world = extended(&authority).await;
    let root = authority.root_pem();
    let text = format!(
        r#"{{"hostname":"a.example.com","subjectAltNames":[{{"type":"URI","uri":"spiffe://a/b"}}],"trustAnchorCertificates":["{}"]}}"#,
        base64(&root)
    );
    let plain = new_group("plain", "HTTP", &tags(&text));
    let refused = world.post("/targetgroups", plain).await;
    refused.is(400, "ValidationException");
    assert!(refused.text("message").contains("HTTPS"), "{refused:?}");
    let made = new_group("secure", "HTTPS", &tags(&text));
    let made = world.post("/targetgroups", made).await;
    made.is(201, "");
    let group = made.id();
    let want = TargetTls {
        hostname: "a.example.com".to_owned(),
        anchors: vec![Certificate::all_from_pem(root.as_bytes()).unwrap()[0].pem()],
        system: false,
        names: vec![TargetName::Uri("spiffe://a/b".to_owned())],
        check_certificate: None,
    };
    assert_eq!(told(&world, &group), Some(want));
    let arn = format!("{ARN}targetgroup/{group}");
    let place = format!("/tags/{}", segment(&arn));
    // A shorter text is set in one call.
    let short = r#"{"hostname":"b.example.com","wellKnownCACertificates":"System"}"#;
    let tagged = world.post(&place, json!({ "tags": { TAG: short } })).await;
    tagged.is(200, "");
    let now = told(&world, &group).unwrap();
    assert_eq!((now.hostname.as_str(), now.system), ("b.example.com", true));
    assert!(now.anchors.is_empty() && now.names.is_empty());
    let unknown = "arn:aws:acm:us-east-1:111122223333:certificate/none";
    for (member, word) in [
        ("trustAnchors", "trustAnchors"),
        ("healthCheckCertificateArn", "cannot be used"),
    ] {
        let value = match member {
            "trustAnchors" => json!([unknown]),
            _ => json!(unknown),
        };
        let mut text: Value = serde_json::from_str(short).unwrap();
        text[member] = value;
        let refused = json!({ "tags": tags(&text.to_string()) });
        let refused = world.post(&place, refused).await;
        refused.is(400, "ValidationException");
        assert!(refused.text("message").contains(word), "{refused:?}");
    }
    assert!(claims_on(&world.cell.db.view(), unknown).is_empty());
    world
        .delete(&format!("{place}?tagKeys={}", segment(TAG)))
        .await
        .is(200, "");
    assert_eq!(told(&world, &group), None);
}

#[tokio::test]
async fn the_tag_is_a_change_of_a_group_and_of_nothing_else() {
    let authority = Arc::new(Authority::random(START).unwrap());
    let world = extended(&authority).await;
    let group = world.active_group("web").await;
    let text = r#"{"hostname":"a","wellKnownCACertificates":"System"}"#;
    let arn = format!("{ARN}targetgroup/{group}");
    needs::<TagResource>(
        &world,
        json!({ "resourceArn": arn, "tags": { TAG: text } }),
        &[
            &format!(
                "TagResource targetgroup/{group} aws:RequestTag/{TAG}={text} aws:TagKeys={TAG}"
            ),
            &format!("UpdateTargetGroup targetgroup/{group}"),
        ],
    );
    needs::<UntagResource>(
        &world,
        json!({ "resourceArn": arn, "tagKeys": [TAG] }),
        &[
            &format!("UntagResource targetgroup/{group} aws:TagKeys={TAG}"),
            &format!("UpdateTargetGroup targetgroup/{group}"),
        ],
    );
    let service = json!({ "name": "shop", "tags": { TAG: text } });
    let refused = world.post("/services", service).await;
    refused.is(400, "ValidationException");
    let strict = World::new().await;
    let made = new_group("web", "HTTPS", &json!({ TAG: text }));
    let refused = strict.post("/targetgroups", made).await;
    refused.is(400, "ValidationException");
    let message = refused.text("message");
    assert!(message.contains("--extended"), "{message}");
}
