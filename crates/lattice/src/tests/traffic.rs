//! Traffic policies by tags of rules and listeners.

use std::time::Duration;

use lath_control::Mode;
use lath_model::lattice::Action;
use lath_model::traffic::TrafficPolicy;

use super::authorization::needs;
use super::*;
use crate::shape::{CreateRule, TagResource, UntagResource};

const TAG: &str = "lath:traffic-policy";

/// A listener with a rule, in extended mode.
struct Fixture {
    world: World,
    service: String,
    group: String,
    listener: String,
}

impl Fixture {
    async fn new() -> Self {
        Self::of(World::with(|cell| cell.mode = Mode::Extended).await).await
    }

    async fn of(world: World) -> Self {
        let group = world.active_group("web").await;
        let service = world.active_service("web").await;
        let listener = world.listener(&service, "http", 80, forward(&group)).await;
        Self {
            world,
            service,
            group,
            listener: listener.id(),
        }
    }

    fn rules(&self) -> String {
        format!(
            "/services/{}/listeners/{}/rules",
            self.service, self.listener
        )
    }

    async fn rule(&self, name: &str, action: Value, tags: Value) -> Answer {
        let path = json!({ "pathMatch": { "match": { "prefix": format!("/{name}") } } });
        let priority = name.len();
        let rule = json!({
            "name": format!("for-{name}"), "priority": priority, "action": action,
            "match": { "httpMatch": path }, "tags": tags
        });
        self.world.post(&self.rules(), rule).await
    }

    fn arn(&self, rest: &str) -> String {
        format!(
            "{ARN}service/{}/listener/{}{rest}",
            self.service, self.listener
        )
    }

    fn tags_of(&self, rest: &str) -> String {
        format!("/tags/{}", segment(&self.arn(rest)))
    }

    async fn tag(&self, rest: &str, tags: Value) -> Answer {
        self.world
            .post(&self.tags_of(rest), json!({ "tags": tags }))
            .await
    }

    fn fed(&self) -> lath_feed::Listener {
        let services = self.world.snapshot().services;
        services[&self.service.parse().unwrap()].listeners[&self.listener.parse().unwrap()].clone()
    }

    fn policy(&self, rule: &str) -> Option<TrafficPolicy> {
        self.fed().traffic.get(&rule.parse().unwrap()).cloned()
    }
}

/// A text in as many tags as it needs.
fn parts(text: &str) -> Value {
    let mut tags = serde_json::Map::new();
    let chars: Vec<char> = text.chars().collect();
    for (index, part) in chars.chunks(256).enumerate() {
        let key = match index {
            0 => TAG.to_owned(),
            _ => format!("{TAG}-{}", index + 1),
        };
        tags.insert(key, json!(part.iter().collect::<String>()));
    }
    Value::Object(tags)
}

#[tokio::test]
async fn strict_mode_knows_no_policies() {
    let place = Fixture::of(World::new().await).await;
    let tags = json!({ TAG: r#"{"timeouts":{"request":"1s"}}"# });
    let refused = place.rule("a", forward(&place.group), tags.clone()).await;
    refused.is(400, "ValidationException");
    assert!(
        refused.text("message").contains("--extended"),
        "{refused:?}"
    );
    for rest in ["", "/rule/rule-00000000000000000"] {
        place
            .tag(rest, tags.clone())
            .await
            .is(400, "ValidationException");
    }
    let listener = json!({
        "name": "other", "protocol": "HTTP", "port": 81, "defaultAction": fixed(404), "tags": tags
    });
    let listeners = format!("/services/{}/listeners", place.service);
    place
        .world
        .post(&listeners, listener)
        .await
        .is(400, "ValidationException");
    place.tag("", json!({ "env": "prod" })).await.is(200, "");
}

#[tokio::test]
async fn a_policy_is_set_with_its_rule_and_changed_as_a_whole() {
    let place = Fixture::new().await;
    let long = format!(
        r#"{{"requestHeaders":{{"set":{{"x-a":"{}"}}}},"timeouts":{{"request":"5s"}}}}"#,
        "v".repeat(600)
    );
    let tags = parts(&long);
    assert_eq!(tags.as_object().unwrap().len(), 3);
    let rule = place.rule("a", forward(&place.group), tags).await.id();
    let rest = format!("/rule/{rule}");
    let policy = place.policy(&rule).unwrap();
    assert_eq!(policy.request_headers.set[0].1.len(), 600);
    assert_eq!(policy.timeouts.request, Some(Duration::from_secs(5)));
    // A shorter one leaves nothing of the longer.
    let short = json!({ TAG: r#"{"timeouts":{"request":"1s"}}"#, "env": "prod" });
    place.tag(&rest, short).await.is(200, "");
    let policy = place.policy(&rule).unwrap();
    assert_eq!(policy.timeouts.request, Some(Duration::from_secs(1)));
    assert!(policy.request_headers.is_empty());
    let tags = place.world.get(&place.tags_of(&rest)).await;
    assert_eq!(tags.body["tags"].as_object().unwrap().len(), 2, "{tags:?}");
    // What does not fit changes nothing.
    let broken = json!({ format!("{TAG}-2"): "," });
    place
        .tag(&rest, broken)
        .await
        .is(400, "ValidationException");
    assert_eq!(place.policy(&rule), Some(policy));
    let path = format!("{}?tagKeys=lath%3Atraffic-policy", place.tags_of(&rest));
    place.world.delete(&path).await.is(200, "");
    assert_eq!(place.policy(&rule), None);
    let tags = place.world.get(&place.tags_of(&rest)).await;
    assert_eq!(tags.body["tags"], json!({ "env": "prod" }));
    place.tag(&rest, parts(&long)).await.is(200, "");
    let path = format!("{}?tagKeys=lath%3Atraffic-policy-2", place.tags_of(&rest));
    place
        .world
        .delete(&path)
        .await
        .is(400, "ValidationException");
    place
        .world
        .delete(&format!("{}/{rule}", place.rules()))
        .await
        .is(204, "");
    assert!(place.fed().traffic.is_empty());
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let place = Fixture::new().await;
    for (tags, want) in [
        (
            json!({ TAG: "{" }),
            "lath:traffic-policy: EOF while parsing an object at line 1 column 1",
        ),
        (
            json!({ TAG: r#"{"timeout":{}}"# }),
            "unknown field `timeout`",
        ),
        (json!({ TAG: "{}" }), "it says nothing"),
        (
            json!({ TAG: r#"{"requestHeaders":{"set":{"Host":"a"}}}"# }),
            "requestHeaders.set: \"Host\" cannot be changed",
        ),
        (
            json!({ TAG: r#"{"responseHeaders":{"remove":["x-amzn-requestid"]}}"# }),
            "responseHeaders.remove",
        ),
        (
            json!({ TAG: r#"{"redirect":{},"retry":{"attempts":1}}"# }),
            "redirect: a request that is redirected",
        ),
        (
            json!({ format!("{TAG}-2"): "{}" }),
            "part lath:traffic-policy is missing",
        ),
        (
            json!({ TAG: "{", format!("{TAG}-3"): "}" }),
            "part lath:traffic-policy-2 is missing",
        ),
        (
            json!({ format!("{TAG}-1"): "{}" }),
            "is no part of a traffic policy",
        ),
        (
            json!({ format!("{TAG}-02"): "{}" }),
            "is no part of a traffic policy",
        ),
        (
            json!({ format!("{TAG}-17"): "{}" }),
            "is no part of a traffic policy",
        ),
        (json!({ TAG: "x".repeat(257) }), ""),
    ] {
        let refused = place.rule("a", forward(&place.group), tags.clone()).await;
        refused.is(400, "ValidationException");
        let message = refused.text("message");
        assert!(message.contains(want), "{tags}: {message}");
    }
    let mirror = |group: &str| json!({ TAG: format!(r#"{{"mirrors":[{{"targetGroupIdentifier":"{group}"}}]}}"#) });
    let rule = place
        .rule("a", forward(&place.group), mirror("tg-00000000000000000"))
        .await;
    rule.is(404, "ResourceNotFoundException");
    let rule = place
        .rule("a", forward(&place.group), mirror("copies"))
        .await;
    rule.is(404, "ResourceNotFoundException");
    // Other resources have no policies.
    let tags = format!(
        "/tags/{}",
        segment(&format!("{ARN}service/{}", place.service))
    );
    let policy = json!({ TAG: r#"{"timeouts":{"request":"1s"}}"# });
    let refused = place.world.post(&tags, json!({ "tags": policy })).await;
    refused.is(400, "ValidationException");
    assert!(place.fed().traffic.is_empty());
}

#[tokio::test]
async fn a_fixed_response_has_no_policy_for_targets() {
    let place = Fixture::new().await;
    let timeouts = json!({ TAG: r#"{"timeouts":{"request":"1s"}}"# });
    place
        .rule("a", fixed(404), timeouts.clone())
        .await
        .is(400, "ValidationException");
    let redirect = json!({ TAG: r#"{"redirect":{"scheme":"https"}}"# });
    place.rule("a", fixed(404), redirect).await.is(201, "");
    let rule = place.rule("bb", forward(&place.group), timeouts).await.id();
    let update = json!({ "action": fixed(404) });
    let path = format!("{}/{rule}", place.rules());
    place
        .world
        .patch(&path, update.clone())
        .await
        .is(400, "ValidationException");
    let path = place.rules();
    let batch = json!({ "rules": [{ "ruleIdentifier": rule, "action": fixed(404) }] });
    let batch = place.world.patch(&path, batch).await;
    assert_eq!(
        batch.body["unsuccessful"][0]["failureCode"],
        "ValidationException"
    );
}

#[tokio::test]
async fn the_default_rules_policy_is_its_listeners() {
    let place = Fixture::new().await;
    let default = place.fed().default_rule.to_string();
    let policy = json!({ TAG: r#"{"responseHeaders":{"set":{"x-a":"1"}}}"# });
    let rest = format!("/rule/{default}");
    place
        .tag(&rest, policy.clone())
        .await
        .is(400, "ValidationException");
    place.tag(&rest, json!({ "env": "prod" })).await.is(200, "");
    place.tag("", policy).await.is(200, "");
    assert_eq!(
        place.policy(&default).unwrap().response_headers.set.len(),
        1
    );
    place
        .tag("", json!({ TAG: r#"{"timeouts":{"request":"1s"}}"# }))
        .await
        .is(200, "");
    let path = format!("/services/{}/listeners/{}", place.service, place.listener);
    let update = json!({ "defaultAction": fixed(404) });
    place
        .world
        .patch(&path, update)
        .await
        .is(400, "ValidationException");
    let update = json!({ "defaultAction": forward(&place.group) });
    place.world.patch(&path, update).await.is(200, "");
    assert!(place.policy(&default).is_some());
    let listener = json!({
        "name": "moved", "protocol": "HTTP", "port": 81, "defaultAction": fixed(404),
        "tags": { TAG: r#"{"redirect":{"scheme":"https","statusCode":301}}"# }
    });
    let listeners = format!("/services/{}/listeners", place.service);
    let moved = place.world.post(&listeners, listener).await.id();
    let services = place.world.snapshot().services;
    let moved = &services[&place.service.parse().unwrap()].listeners[&moved.parse().unwrap()];
    assert_eq!(
        moved.traffic[&moved.default_rule]
            .redirect
            .as_ref()
            .unwrap()
            .status,
        301
    );
    assert_eq!(moved.default_action, Action::FixedResponse(404));
}

#[tokio::test]
async fn a_group_that_gets_copies_is_used() {
    let place = Fixture::new().await;
    let copies = place.world.active_group("copies").await;
    let arn = format!("{ARN}targetgroup/{copies}");
    let policy = format!(r#"{{"mirrors":[{{"targetGroupIdentifier":"{arn}","percent":5}}]}}"#);
    let tags = json!({ TAG: policy });
    let rule = place
        .rule("a", forward(&place.group), tags.clone())
        .await
        .id();
    let mirror = place.policy(&rule).unwrap().mirrors.remove(0);
    assert_eq!(
        (mirror.target_group.as_str(), mirror.percent),
        (copies.as_str(), 5)
    );
    let in_use = || place.world.snapshot().target_groups[&copies.parse().unwrap()].in_use;
    assert!(in_use());
    let path = format!("/targetgroups/{copies}");
    place.world.delete(&path).await.is(409, "ConflictException");
    let groups = format!("{ARN}targetgroup/{}+{arn}", place.group);
    let request = json!({
        "serviceIdentifier": place.service, "listenerIdentifier": place.listener, "name": "other", "priority": 9,
        "match": { "httpMatch": {} }, "action": forward(&place.group), "tags": tags
    });
    let op: CreateRule = serde_json::from_value(request).unwrap();
    let view = place.world.cell.db.view();
    let stated = lath_authz::permissions(&view, &caller(), &op);
    let key = stated[0]
        .keys
        .iter()
        .find(|(key, _)| key.ends_with("TargetGroupArns"));
    assert_eq!(key.unwrap().1.join("+"), groups);
    let untag = format!(
        "{}?tagKeys=lath%3Atraffic-policy",
        place.tags_of(&format!("/rule/{rule}"))
    );
    place.world.delete(&untag).await.is(200, "");
    assert!(!in_use());
    place.world.delete(&path).await.is(200, "");
}

#[tokio::test]
async fn who_sets_a_policy_may_change_the_rule() {
    let place = Fixture::new().await;
    let rule = place.rule("a", forward(&place.group), json!({})).await.id();
    let of_listener = format!("service/{}/listener/{}", place.service, place.listener);
    let of_rule = format!("{of_listener}/rule/{rule}");
    let arn = place.arn(&format!("/rule/{rule}"));
    let key = " aws:RequestTag/lath:traffic-policy={} aws:TagKeys=lath:traffic-policy";
    needs::<TagResource>(
        &place.world,
        json!({ "resourceArn": arn, "tags": { TAG: "{}" } }),
        &[
            &format!("TagResource {of_rule}{key}"),
            &format!("UpdateRule {of_rule}"),
        ],
    );
    needs::<TagResource>(
        &place.world,
        json!({ "resourceArn": place.arn(""), "tags": { TAG: "{}" } }),
        &[
            &format!("TagResource {of_listener}{key}"),
            &format!("UpdateListener {of_listener}"),
        ],
    );
    needs::<UntagResource>(
        &place.world,
        json!({ "resourceArn": arn, "tagKeys": [TAG] }),
        &[
            &format!("UntagResource {of_rule} aws:TagKeys=lath:traffic-policy"),
            &format!("UpdateRule {of_rule}"),
        ],
    );
    let other = json!({ "resourceArn": arn, "tagKeys": ["env"] });
    let want = format!("UntagResource {of_rule} aws:TagKeys=env");
    needs::<UntagResource>(&place.world, other, &[&want]);
}

#[tokio::test]
async fn a_part_is_set_with_the_first_only() {
    let place = Fixture::new().await;
    let copies = place.world.active_group("copies").await;
    let of = |group: &str| format!(r#"{{"mirrors":[{{"targetGroupIdentifier":"{group}"}}]}}"#);
    let split = |text: &str| {
        let (first, second) = text.split_at(40);
        json!({ TAG: first, format!("{TAG}-2"): second })
    };
    let tags = split(&of(&place.group));
    let rule = place.rule("a", forward(&place.group), tags).await.id();
    let rest = format!("/rule/{rule}");
    let before = place.policy(&rule);
    // The second part alone would send copies to a group that no permission was asked about.
    let text = of(&copies);
    let second = json!({ format!("{TAG}-2"): &text[40..] });
    let refused = place.tag(&rest, second).await;
    refused.is(400, "ValidationException");
    assert!(
        refused.text("message").contains("in one request"),
        "{refused:?}"
    );
    assert_eq!(place.policy(&rule), before);
    place.tag(&rest, split(&text)).await.is(200, "");
    let mirror = place.policy(&rule).unwrap().mirrors.remove(0);
    assert_eq!(mirror.target_group.as_str(), copies);
}

#[tokio::test]
async fn other_tags_leave_a_policy_as_it_is() {
    // As an earlier run in extended mode leaves it.
    let place = Fixture::of(World::new().await).await;
    let rule = place.rule("a", forward(&place.group), json!({})).await.id();
    let rest = format!("/rule/{rule}");
    let policy = r#"{"timeouts":{"request":"1s"}}"#;
    let record = format!("{}/{rule}", place.listener);
    let left = |tx: &mut Tx| {
        tx.update::<crate::record::Rule>(&record, |it| {
            it.traffic = crate::traffic::read(policy).map(Box::new);
            it.tags.insert(TAG.to_owned(), policy.to_owned());
        });
    };
    place.world.write(left).await;
    let kept = || {
        let rule = place
            .world
            .cell
            .db
            .view()
            .get::<crate::record::Rule>(&record);
        rule.unwrap().traffic.is_some()
    };
    place.tag(&rest, json!({ "env": "prod" })).await.is(200, "");
    assert!(kept() && place.fed().traffic.is_empty());
    let path = format!("{}?tagKeys=lath%3Atraffic-policy", place.tags_of(&rest));
    place.world.delete(&path).await.is(200, "");
    assert!(!kept());
}

#[tokio::test]
async fn values_of_other_resources_are_as_aws_has_them() {
    for world in [World::new().await, Fixture::new().await.world] {
        let service = json!({ "name": "other", "tags": { TAG: "{}" } });
        let refused = world.post("/services", service).await;
        refused.is(400, "ValidationException");
    }
}
