//! Filters, timeouts and retries of routes in extended mode.

use super::bench::{Bench, route};
use super::*;
use crate::traffic;

/// A plan for rules, and the policy of the first rule that was made.
fn extended(rules: Value) -> (Plan, Option<Value>) {
    let mut world = world(http());
    let mut settings = settings();
    settings.extended = true;
    let name = Name::new("default", "r");
    let spec = json!({"rules": rules, "parentRefs": [{"name": "gw"}]});
    let route: Arc<Route> = object("default/r", &spec);
    let routes = world.routes.entry(RouteKind::Http).or_default();
    routes.insert(name.clone(), Arc::clone(&route));
    let plan = plan::route(
        &world,
        &settings,
        &Imports::new(),
        (RouteKind::Http, &name, &route),
    );
    let service = plan.service.as_ref();
    let rule = service.and_then(|it| it.listeners[0].rules.first());
    let policy = rule.and_then(|it| it.policy());
    let policy = policy.map(|text| serde_json::from_str(&text).unwrap());
    (plan, policy)
}

fn with(more: Value) -> Value {
    let mut rule = json!({"backendRefs": [backend("one", 1)]});
    for (member, value) in more.as_object().unwrap() {
        rule[member] = value.clone();
    }
    json!([rule])
}

#[test]
fn filters_timeouts_and_retries_become_a_policy() {
    let v2 = json!([{"path": {"type": "PathPrefix", "value": "/v2/"}}]);
    for (rule, want) in [
        (
            json!({"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {
                "set": [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}],
                "add": [{"name": "x-b", "value": "3"}], "remove": ["X-C"]}}]}),
            json!({"requestHeaders": {"set": {"x-a": "1"}, "add": {"x-b": "3"}, "remove": ["x-c"]}}),
        ),
        (
            json!({"filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["server"]}}]}),
            json!({"responseHeaders": {"remove": ["server"]}}),
        ),
        (
            json!({"matches": v2, "filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "a.example",
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}]}),
            json!({"urlRewrite": {"hostname": "a.example", "path": {"prefix": "/v2/", "replacePrefixMatch": "/"}}}),
        ),
        (
            json!({"timeouts": {"request": "10s", "backendRequest": "0s"}, "retry": {"codes": [503], "attempts": 2, "backoff": "50ms"}}),
            json!({"timeouts": {"request": "10s"}, "retry": {"attempts": 2, "codes": [503], "backoff": "50ms"}}),
        ),
    ] {
        let (plan, policy) = extended(with(rule));
        assert!(
            plan.left_out.is_none() && plan.resolved.good,
            "{:?}",
            plan.left_out
        );
        assert_eq!(policy, Some(want));
    }
    let (_, none) = extended(with(
        json!({"timeouts": {"request": "0s"}, "retry": {"attempts": 0}, "filters": [
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": []}}]}),
    ));
    assert_eq!(none, None);
}

#[test]
fn a_rules_sessions_have_a_name_of_the_route_for_all_its_matches() {
    let matches = json!([{"path": {"type": "PathPrefix", "value": "/a"}}, {"path": {"type": "PathPrefix", "value": "/b"}}]);
    let (plan, policy) = extended(with(json!({"matches": matches, "sessionPersistence": {}})));
    let name = policy.unwrap()["sessionPersistence"]["sessionName"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(name.starts_with("lath-") && name.len() == 15, "{name}");
    let rules = &plan.service.as_ref().unwrap().listeners[0].rules;
    assert!(rules.len() > 1 && rules.iter().all(|it| it.traffic == rules[0].traffic));
    let given = json!({"type": "Header", "sessionName": "X-Session", "idleTimeout": "10m"});
    let (_, policy) = extended(with(json!({"sessionPersistence": given})));
    assert_eq!(policy, Some(json!({"sessionPersistence": given})));
    let given = json!({"absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}});
    let (_, policy) = extended(with(json!({"sessionPersistence": given})));
    let policy = policy.unwrap();
    assert_eq!(
        policy["sessionPersistence"]["cookieConfig"],
        given["cookieConfig"]
    );
    assert_eq!(policy["sessionPersistence"]["type"], "Cookie");
}

#[test]
fn a_redirect_needs_no_backend_and_both_rules_of_a_prefix_have_it() {
    let (plan, policy) = extended(json!([{
        "matches": [{"path": {"type": "PathPrefix", "value": "/old"}}],
        "filters": [
            {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301,
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-a", "value": "1"}]}},
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-b"]}},
        ],
    }]));
    let want = json!({
        "redirect": {"scheme": "https", "statusCode": 301, "path": {"prefix": "/old", "replacePrefixMatch": "/new"}},
        "responseHeaders": {"set": {"x-a": "1"}},
    });
    assert_eq!(policy, Some(want));
    let rules = &plan.service.as_ref().unwrap().listeners[0].rules;
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0].traffic, rules[1].traffic);
    assert_eq!(rules[0].action, Action::Fixed(500));
}

#[test]
fn a_mirror_is_a_group_of_the_service() {
    let mirror = |more: Value| {
        let mut mirror = json!({"backendRef": {"name": "two", "port": 80}});
        for (member, value) in more.as_object().unwrap() {
            mirror[member] = value.clone();
        }
        with(json!({"filters": [{"type": "RequestMirror", "requestMirror": mirror}]}))
    };
    for (more, percent) in [
        (json!({}), 100),
        (json!({"percent": 7}), 7),
        (
            json!({"fraction": {"numerator": 1, "denominator": 1000}}),
            1,
        ),
        (json!({"fraction": {"numerator": 1, "denominator": 4}}), 25),
        (json!({"fraction": {"numerator": 0}}), 0),
    ] {
        let (plan, policy) = extended(mirror(more));
        let groups = &plan.service.as_ref().unwrap().groups;
        assert_eq!(groups.len(), 2);
        let two = groups
            .iter()
            .find(|it| it.tags[&key("ServiceName")] == "two")
            .unwrap();
        let want = json!({"mirrors": [{"targetGroupIdentifier": two.name, "percent": percent}]});
        assert_eq!(policy, Some(want));
    }
    let (plan, policy) = extended(mirror(
        json!({"backendRef": {"name": "absent", "port": 80}}),
    ));
    assert_eq!((plan.resolved.reason, policy), ("BackendNotFound", None));
}

#[test]
fn what_lath_lacks_is_answered_500_and_the_rest_is_served() {
    let several = json!([{"path": {"type": "PathPrefix", "value": "/a"}}, {"path": {"type": "PathPrefix", "value": "/b"}}]);
    let replace = json!([{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}]);
    let set = |name: &str| json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": name, "value": "1"}]}}]);
    let edits =
        |edits: Value| json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": edits}]);
    let whole = |path: &str| json!([{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": path}}}]);
    for (rule, want) in [
        (
            json!({"filters": [{"type": "ExtensionRef"}]}),
            "filter ExtensionRef",
        ),
        (
            json!({"filters": [{"type": "RequestRedirect"}]}),
            "filter RequestRedirect",
        ),
        (json!({"filters": set("Host")}), "change of the header host"),
        (
            json!({"filters": set("x_forwarded_for")}),
            "change of the header x_forwarded_for",
        ),
        (
            json!({"filters": set("X-Amzn-Lattice-Identity")}),
            "change of the header",
        ),
        (
            json!({"matches": several, "filters": replace}),
            "replaced prefix of several matches",
        ),
        (
            json!({"filters": edits(json!({"set": [{"name": "x-a", "value": "\u{fc}"}]}))}),
            "such a value of the header x-a",
        ),
        (
            json!({"filters": edits(json!({"set": [{"name": "x-a", "value": " b"}]}))}),
            "such a value of the header x-a",
        ),
        (
            json!({"filters": edits(json!({"set": [{"name": "x-a", "value": "b"}], "remove": ["X-A"]}))}),
            "two changes of the header x-a",
        ),
        (
            json!({"filters": edits(json!({"remove": ["x".repeat(129)]}))}),
            "header with the name",
        ),
        (json!({"filters": whole("/a b")}), "such change of a path"),
        (
            json!({"filters": whole("/a/../b")}),
            "such change of a path",
        ),
        (json!({"timeouts": {"request": "11m"}}), "timeout of 11m"),
        (json!({"retry": {"attempts": 11}}), "retry of 11 attempts"),
        (json!({"retry": {"codes": [200]}}), "such codes to retry on"),
        (
            json!({"retry": {"backoff": "1h"}}),
            "retry with a backoff of 1h",
        ),
        (
            json!({"sessionPersistence": {"sessionName": "a b"}}),
            "sessionPersistence with the name \"a b\"",
        ),
        (
            json!({"sessionPersistence": {"type": "Header", "sessionName": "Host"}}),
            "sessionPersistence with the name \"Host\"",
        ),
        (
            json!({"sessionPersistence": {"absoluteTimeout": "200h"}}),
            "sessionPersistence with absoluteTimeout of 200h",
        ),
        (
            json!({"sessionPersistence": {"cookieConfig": {"lifetimeType": "Permanent"}}}),
            "such a sessionPersistence with the lifetime Permanent",
        ),
    ] {
        let mut rules = with(rule);
        let good = json!({"backendRefs": [backend("one", 1)], "matches": [{"path": {"type": "Exact", "value": "/good"}}]});
        rules.as_array_mut().unwrap().push(good);
        let (plan, _) = extended(rules);
        let left_out = plan.left_out.unwrap();
        assert!(
            left_out.contains(want) && left_out.contains("500"),
            "{left_out}"
        );
        let made = &plan.service.unwrap().listeners[0].rules;
        assert!(
            made[1..]
                .iter()
                .all(|it| it.action == Action::Fixed(500) && it.traffic.is_none())
        );
    }
}

#[test]
fn a_long_policy_is_as_many_tags_as_it_needs() {
    let text = format!("{{\"a\":\"{}\"}}", "\u{fc}".repeat(600));
    let tags = traffic::tags(&text);
    let keys: Vec<_> = tags.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "lath:traffic-policy",
            "lath:traffic-policy-2",
            "lath:traffic-policy-3"
        ]
    );
    assert!(tags.values().all(|it| it.chars().count() <= 256));
    assert_eq!(traffic::text_of(&tags), Some(text));
    assert_eq!(traffic::text_of(&Default::default()), None);
}

#[tokio::test]
async fn rules_are_made_with_their_policies_and_get_others() {
    let mut settings = settings();
    settings.extended = true;
    let bench = Bench::new(world(http()), settings).await;
    bench.network("gw");
    let spec = |more: Value| json!({"parentRefs": [{"name": "gw"}], "rules": with(more)});
    // The requests that carry tags of policies, as method, kind, and what they say.
    let asked = || {
        let all = bench.server.asked();
        bench.server.forget();
        let said = all.into_iter().filter_map(|it| {
            let text = it.body["tags"]["lath:traffic-policy"]
                .as_str()
                .map(str::to_owned);
            let removed = it.query.get("tagKeys").filter(|it| it.starts_with("lath:"));
            let text = text.or_else(|| removed.cloned())?;
            let place = match it.path[0].as_str() {
                "tags" => "tags",
                _ => it.path.last().map_or("", String::as_str),
            };
            Some(format!("{} {place} {text}", it.method))
        });
        said.collect::<Vec<_>>()
    };
    let mirror = json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "two", "port": 80}}});
    bench.put("httproutes", "web", &spec(json!({"filters": [mirror]})));
    bench.settle(&[route("web")]).await.remove(0).unwrap();
    let two = {
        let there = bench.there();
        let ids = there.ids("targetgroups");
        let is_two = |id: &&String| {
            there.get("targetgroups", id)["name"]
                .as_str()
                .unwrap()
                .contains("-two-")
        };
        ids.iter().find(is_two).unwrap().clone()
    };
    let policy = format!(r#"{{"mirrors":[{{"targetGroupIdentifier":"{two}","percent":100}}]}}"#);
    assert_eq!(asked(), [format!("POST rules {policy}")]);
    bench.put(
        "httproutes",
        "web",
        &spec(json!({"timeouts": {"request": "1s"}})),
    );
    bench.settle(&[route("web")]).await.remove(0).unwrap();
    assert_eq!(asked(), [r#"POST tags {"timeouts":{"request":"1s"}}"#]);
    // What is there is read, and is as it should be.
    let mut settings = super::settings();
    settings.extended = true;
    let again = crate::lattice::Lattice::for_tests(&bench.server.url(), &settings);
    let mut bench = bench;
    bench.app.lattice = again;
    bench.settle(&[route("web")]).await.remove(0).unwrap();
    let said = bench.server.asked();
    assert!(
        said.iter()
            .all(|it| it.body["tags"]["lath:traffic-policy"].is_null())
    );
    bench.server.forget();
    bench.put("httproutes", "web", &spec(json!({})));
    bench.settle(&[route("web")]).await.remove(0).unwrap();
    let said = bench.server.asked();
    let removed = said
        .iter()
        .filter(|it| it.method == "DELETE" && it.path[0] == "tags");
    let removed: Vec<_> = removed.map(|it| it.query["tagKeys"].as_str()).collect();
    assert_eq!(removed, ["lath:traffic-policy"]);
}
