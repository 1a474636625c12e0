//! Load balancing policies by tags of target groups.

use lath_control::Mode;
use lath_model::balancing::LoadBalancing;

use super::authorization::needs;
use super::*;
use crate::shape::{TagResource, UntagResource};

const TAG: &str = "lath:load-balancing";
const LIMITS: &str = r#"{"circuitBreakers":{"maxRequests":7}}"#;

async fn extended() -> World {
    World::with(|cell| cell.mode = Mode::Extended).await
}

fn tags_of(group: &str) -> String {
    format!("/tags/{}", segment(&format!("{ARN}targetgroup/{group}")))
}

fn policy(world: &World, group: &str) -> Option<LoadBalancing> {
    world.snapshot().target_groups[&group.parse().unwrap()]
        .balancing
        .clone()
}

fn new_group(tags: Value) -> Value {
    json!({
        "name": "limited", "type": "IP", "tags": tags,
        "config": { "port": 80, "protocol": "HTTP", "vpcIdentifier": VPC_A },
    })
}

#[tokio::test]
async fn strict_mode_knows_no_policies() {
    let world = World::new().await;
    let group = world.active_group("web").await;
    let tags = json!({ TAG: LIMITS });
    let refused = world.post("/targetgroups", new_group(tags.clone())).await;
    refused.is(400, "ValidationException");
    assert!(
        refused.text("message").contains("--extended"),
        "{refused:?}"
    );
    let tagged = json!({ "tags": tags });
    let refused = world.post(&tags_of(&group), tagged).await;
    refused.is(400, "ValidationException");
}

#[tokio::test]
async fn a_group_has_the_policy_that_its_tags_say() {
    let world = extended().await;
    let made = world
        .post("/targetgroups", new_group(json!({ TAG: LIMITS })))
        .await;
    let group = made.id();
    let breakers = policy(&world, &group).unwrap().circuit_breakers;
    assert_eq!(breakers.max_requests, Some(7));
    let text = r#"{"outlierDetection":{"consecutive5xx":5}}"#;
    let tagged = json!({ "tags": { TAG: text, "env": "prod" } });
    world.post(&tags_of(&group), tagged).await.is(200, "");
    let outliers = policy(&world, &group).unwrap().outlier_detection.unwrap();
    assert_eq!(outliers.consecutive_5xx, Some(5));
    // What is wrong changes nothing.
    for (tags, want) in [
        (json!({ TAG: "{" }), "lath:load-balancing: EOF"),
        (json!({ TAG: "{}" }), "it says nothing"),
        (
            json!({ format!("{TAG}-2"): "{}" }),
            "Part lath:load-balancing is missing",
        ),
        (
            json!({ TAG: "{}", format!("{TAG}-17"): "{}" }),
            "is no part of a load balancing policy",
        ),
        (json!({ "lath:traffic-policy": "{}" }), "is a tag of rules"),
    ] {
        let refused = world.post(&tags_of(&group), json!({ "tags": tags })).await;
        refused.is(400, "ValidationException");
        let message = refused.text("message");
        assert!(message.contains(want), "{message}");
    }
    assert!(policy(&world, &group).unwrap().outlier_detection.is_some());
    let path = format!("{}?tagKeys=lath%3Aload-balancing", tags_of(&group));
    world.delete(&path).await.is(200, "");
    assert_eq!(policy(&world, &group), None);
    // Only groups have one.
    let service = world.active_service("web").await;
    let tags = format!("/tags/{}", segment(&format!("{ARN}service/{service}")));
    let refused = world.post(&tags, json!({ "tags": { TAG: LIMITS } })).await;
    refused.is(400, "ValidationException");
}

#[tokio::test]
async fn a_policy_is_a_change_of_its_group() {
    let world = extended().await;
    let group = world.active_group("web").await;
    let arn = format!("{ARN}targetgroup/{group}");
    let keys = format!("aws:RequestTag/{TAG}={LIMITS} aws:TagKeys={TAG}");
    needs::<TagResource>(
        &world,
        json!({ "resourceArn": arn, "tags": { TAG: LIMITS } }),
        &[
            &format!("TagResource targetgroup/{group} {keys}"),
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
}
