//! Canaries of rules: weights move, and the records say where they are.

use lath_control::Mode;
use lath_feed::telemetry::{MetricSample, Sink as _};
use lath_model::lattice::Action;

use super::authorization::needs;
use super::*;
use crate::canary::pass;
use crate::shape::TagResource;

const TAG: &str = "lath:canary";

struct Fixture {
    world: World,
    stable: String,
    new: String,
    rules: String,
    rule: String,
}

impl Fixture {
    async fn new() -> Self {
        let world = World::with(|cell| cell.mode = Mode::Extended).await;
        let stable = world.active_group("stable").await;
        let new = world.active_group("new").await;
        let service = world.active_service("web").await;
        let listener = world.listener(&service, "http", 80, fixed(404)).await.id();
        let rules = format!("/services/{service}/listeners/{listener}/rules");
        let rule = json!({
            "name": "shop", "priority": 1, "action": forwards(&[(&stable, 100), (&new, 0)]),
            "match": { "httpMatch": { "pathMatch": { "match": { "prefix": "/" } } } },
        });
        let rule = world.post(&rules, rule).await.id();
        Self {
            world,
            stable,
            new,
            rules,
            rule,
        }
    }

    fn plan(&self, analysis: &str) -> String {
        let new = &self.new;
        format!(
            r#"{{"targetGroupIdentifier":"{new}","steps":[{{"weight":10,"pause":"60s"}},{{"weight":100}}]{analysis}}}"#
        )
    }

    fn arn(&self) -> String {
        format!(
            "{ARN}{}/{}",
            self.rules[1..]
                .replace("services", "service")
                .replace("listeners", "listener")
                .replace("rules", "rule"),
            self.rule
        )
    }

    async fn tag(&self, text: &str) -> Answer {
        let path = format!("/tags/{}", segment(&self.arn()));
        self.world
            .post(&path, json!({ "tags": { TAG: text } }))
            .await
    }

    /// The weights of the stable group and of the new one, as callers see them.
    async fn weights(&self) -> (i64, i64) {
        let rule = self
            .world
            .get(&format!("{}/{}", self.rules, self.rule))
            .await;
        let groups = &rule.body["action"]["forward"]["targetGroups"];
        let of = |group: &str| {
            let mut all = groups.as_array().unwrap().iter();
            let found = all.find(|it| it["targetGroupIdentifier"] == group);
            found.unwrap()["weight"].as_i64().unwrap()
        };
        (of(&self.stable), of(&self.new))
    }

    fn phase(&self) -> (String, Option<String>) {
        let all = crate::canaries(&self.world.cell, &self.world.cell.db.view());
        let [one] = all.as_slice() else {
            panic!("{all:?}");
        };
        assert_eq!(one.rule, self.arn());
        (one.phase.to_owned(), one.reason.clone())
    }

    /// A pass of canaries, that many seconds later.
    async fn pass(&self, seconds: u64) {
        let now = self.world.hands.advance(Duration::from_secs(seconds));
        pass(&self.world.app, now).await.unwrap();
    }

    fn answers(&self, name: &str, count: f64) {
        self.world.app.canaries.metric(MetricSample {
            namespace: "AWS/VpcLattice".into(),
            name: name.into(),
            dimensions: vec![("TargetGroup".into(), self.new.clone())],
            unit: "Count",
            at: self.world.cell.now(),
            count: 1.0,
            sum: count,
            min: count,
            max: count,
            values: vec![(count, 1.0)],
        });
    }
}

fn forwards(groups: &[(&String, i64)]) -> Value {
    let groups = groups.iter();
    let groups: Vec<_> = groups
        .map(|(group, weight)| json!({ "targetGroupIdentifier": group, "weight": weight }))
        .collect();
    json!({ "forward": { "targetGroups": groups } })
}

#[tokio::test]
async fn weights_move_by_the_plan_and_the_records_have_it() {
    let place = Fixture::new().await;
    place.tag(&place.plan("")).await.is(200, "");
    assert_eq!(place.weights().await, (90, 10));
    assert_eq!(place.phase().0, "running");
    place.pass(1).await;
    assert_eq!(place.weights().await, (90, 10), "it is too early");
    place.pass(60).await;
    assert_eq!(place.weights().await, (0, 100));
    place.pass(1).await;
    assert_eq!(place.phase(), ("succeeded".into(), None));
    place.pass(9999).await;
    assert_eq!(place.weights().await, (0, 100));
    // What nodes are told is the same.
    let rule = place
        .world
        .cell
        .db
        .view()
        .list::<crate::record::Rule>()
        .find(|it| it.priority.is_some());
    let Action::Forward(groups) = &rule.unwrap().action else {
        panic!("it does not forward");
    };
    assert_eq!(groups.len(), 2);
}

#[tokio::test]
async fn bad_answers_take_it_back_and_a_restart_forgets_nothing_of_where_it_is() {
    let place = Fixture::new().await;
    let plan =
        place.plan(r#","analysis":{"errorPercent":5,"minimumRequests":10,"interval":"10m"}"#);
    place.tag(&plan).await.is(200, "");
    place.pass(0).await;
    place.pass(100).await;
    assert_eq!(place.weights().await, (90, 10), "nothing was answered yet");
    // Answers count from the second after the step began.
    place.world.hands.advance(Duration::from_millis(1100));
    place.answers("HTTPCode_2XX_Count", 90.0);
    place.answers("HTTPCode_5XX_Count", 10.0);
    place.pass(2).await;
    assert_eq!(place.weights().await, (100, 0));
    let (phase, reason) = place.phase();
    assert_eq!(phase, "rolled back");
    assert!(
        reason
            .unwrap()
            .starts_with("10.00% of 100 answers were 5xx")
    );
    // The same text again is no new canary; another is.
    place.tag(&plan).await.is(200, "");
    assert_eq!(place.phase().0, "rolled back");
    place.tag(&place.plan("")).await.is(200, "");
    assert_eq!(place.phase().0, "running");
}

#[tokio::test]
async fn sessions_do_not_hold_to_a_group_that_a_roll_back_left() {
    let place = Fixture::new().await;
    let plan = place.plan(r#","analysis":{"errorPercent":5,"minimumRequests":1}"#);
    let path = format!("/tags/{}", segment(&place.arn()));
    let policy = r#"{"sessionPersistence":{}}"#;
    let tags = json!({ "tags": { TAG: plan, "lath:traffic-policy": policy } });
    place.world.post(&path, tags).await.is(200, "");
    let holds = || {
        let snapshot = place.world.snapshot();
        let services = snapshot.services.values();
        let mut listeners = services.flat_map(|it| it.listeners.values());
        let policy = listeners.find_map(|it| it.traffic.get(&place.rule.parse().unwrap()).cloned());
        policy.unwrap().session.unwrap().target_group
    };
    assert!(holds());
    place.pass(0).await;
    place.world.hands.advance(Duration::from_millis(1100));
    place.answers("HTTPCode_5XX_Count", 10.0);
    place.pass(2).await;
    assert_eq!(place.phase().0, "rolled back");
    assert!(!holds());
    // What another sets is obeyed as it is.
    let other = json!({ "action": forwards(&[(&place.stable, 99), (&place.new, 1)]) });
    let path = format!("{}/{}", place.rules, place.rule);
    place.world.patch(&path, other).await.is(200, "");
    assert!(holds());
}

#[tokio::test]
async fn a_change_by_hand_ends_it_visibly() {
    let place = Fixture::new().await;
    place.tag(&place.plan("")).await.is(200, "");
    let path = format!("{}/{}", place.rules, place.rule);
    // The same action, or a change of something else, ends nothing.
    let same =
        json!({ "action": forwards(&[(&place.stable, 90), (&place.new, 10)]), "priority": 7 });
    place.world.patch(&path, same).await.is(200, "");
    assert_eq!(place.phase().0, "running");
    let other = json!({ "action": forwards(&[(&place.stable, 50), (&place.new, 50)]) });
    place.world.patch(&path, other).await.is(200, "");
    assert_eq!(
        place.phase(),
        ("ended".into(), Some("The rule's action was changed".into()))
    );
    place.pass(9999).await;
    assert_eq!(place.weights().await, (50, 50));
    let path = format!("/tags/{}?tagKeys=lath%3Acanary", segment(&place.arn()));
    place.world.delete(&path).await.is(200, "");
    assert!(crate::canaries(&place.world.cell, &place.world.cell.db.view()).is_empty());
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let place = Fixture::new().await;
    let third = place.world.active_group("third").await;
    for text in [
        r#"{"targetGroupIdentifier":"tg-00000000000000000","steps":[{"weight":1}]}"#.to_owned(),
        format!(r#"{{"targetGroupIdentifier":"{third}","steps":[{{"weight":1}}]}}"#),
        "{}".to_owned(),
    ] {
        let refused = place.tag(&text).await;
        assert!(
            matches!(refused.status.into(), 400_u16 | 404),
            "{refused:?}"
        );
    }
    let strict = World::new().await;
    let group = strict.active_group("web").await;
    let path = format!("/tags/{}", segment(&format!("{ARN}targetgroup/{group}")));
    let tagged = json!({ "tags": { TAG: "{}" } });
    strict
        .post(&path, tagged)
        .await
        .is(400, "ValidationException");
    let arn = place.arn();
    let resource = arn.strip_prefix(ARN).unwrap();
    needs::<TagResource>(
        &place.world,
        json!({ "resourceArn": arn, "tags": { TAG: "x" } }),
        &[
            &format!("TagResource {resource} aws:RequestTag/{TAG}=x aws:TagKeys={TAG}"),
            &format!("UpdateRule {resource}"),
        ],
    );
}
