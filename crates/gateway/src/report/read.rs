//! Where the report's facts come from: the API server, and VPC Lattice.

use std::collections::BTreeSet;
use std::fmt::Debug;

use anyhow::{Context as _, bail};
use aws_sdk_vpclattice::Client as Lattice;
use aws_sdk_vpclattice::types::TargetGroupSummary;
use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, ApiResource, ListParams};
use kube::core::{DeserializeGuard, Object};
use serde::de::DeserializeOwned;

use super::{Entry, Group, Question, Seen, Target, controller_of, is_meant, of_gateway, of_route};
use crate::kinds::{self, RouteKind};
use crate::lattice::{Fault, config};
use crate::routes::service_of;
use crate::watch::{VERSIONS, readable};
use crate::world::{Name, World};

/// How many groups are read at once.
const AT_ONCE: usize = 8;

/// What one object is called: its kind, and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gateway,
    Route(RouteKind),
}

/// Understands `httproute/NAME`, with kinds as kubectl takes them.
fn object(text: &str) -> anyhow::Result<(Kind, String)> {
    let known = "gateway/NAME, httproute/NAME, grpcroute/NAME, tlsroute/NAME or tcproute/NAME";
    let Some((kind, name)) = text.split_once('/') else {
        bail!("{text} is no object: give {known}");
    };
    let word = kind
        .split('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let word = word.trim_end_matches('s');
    let mut routes = RouteKind::ALL.into_iter();
    let route = routes.find(|it| it.kind().eq_ignore_ascii_case(word));
    let kind = match (word, route) {
        ("gateway" | "gtw", _) => Kind::Gateway,
        // A trailing s belongs to the kind's name: tls.
        (_, Some(kind)) => Kind::Route(kind),
        _ => bail!("{kind} is no kind that becomes something in VPC Lattice: give {known}"),
    };
    if name.is_empty() {
        bail!("{text} has no name: give {known}");
    }
    Ok((kind, name.to_owned()))
}

/// The form in which an API server has a kind, if it has it.
async fn served(client: &Client, forms: &[ApiResource]) -> anyhow::Result<Option<ApiResource>> {
    for form in forms {
        match client.list_api_group_resources(&form.api_version).await {
            Ok(list) if list.resources.iter().any(|it| it.name == form.plural) => {
                return Ok(Some(form.clone()));
            }
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).context("the API server does not say what it serves"),
        }
    }
    Ok(None)
}

type Objects<P, U> = Vec<(Name, Option<Object<P, U>>)>;

/// The objects of a kind; those that cannot be read by their names alone.
async fn list<P, U>(
    client: &Client,
    forms: &[ApiResource],
    namespaces: &[Option<&str>],
) -> anyhow::Result<Objects<P, U>>
where
    P: Clone + DeserializeOwned + Debug,
    U: Clone + Default + DeserializeOwned + Debug,
{
    let Some(form) = served(client, forms).await? else {
        return Ok(Vec::new());
    };
    let mut refused = None;
    for namespace in namespaces {
        let api: Api<DeserializeGuard<Object<P, U>>> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &form),
            None => Api::all_with(client.clone(), &form),
        };
        match api.list(&ListParams::default()).await {
            Ok(list) => return Ok(list.items.into_iter().map(readable).collect()),
            Err(error @ kube::Error::Api(_)) => refused = Some(error),
            Err(error) => return Err(error).context(format!("{} cannot be listed", form.plural)),
        }
    }
    match refused {
        Some(error) => Err(error).context(format!("{} cannot be listed", form.plural)),
        None => Ok(Vec::new()),
    }
}

/// What the cluster has, and the entries of objects that cannot be read.
async fn cluster(client: &Client, namespace: Option<&str>) -> anyhow::Result<(World, Vec<Entry>)> {
    let mut world = World::default();
    let mut unreadable = Vec::new();
    let mut note = |kind: &str, name: &Name| {
        unreadable.push(Entry {
            kind: kind.to_owned(),
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            state: "unseen".to_owned(),
            problems: vec!["it cannot be read: its specification has another form".to_owned()],
            ..Entry::default()
        });
    };
    let classes = list(client, &[kinds::gateway_class()], &[None]).await?;
    for (name, class) in classes {
        if let Some(class) = class {
            world.classes.insert(name, class.into());
        }
    }
    // Parents may be in other namespaces, as far as this user may look there.
    let mut places = vec![None];
    places.extend(namespace.map(Some));
    for (name, gateway) in list(client, &[kinds::gateway()], &places).await? {
        match gateway {
            Some(gateway) => drop(world.gateways.insert(name, gateway.into())),
            None => note("Gateway", &name),
        }
    }
    for (name, set) in list(client, &[kinds::listener_set()], &places).await? {
        match set {
            Some(set) => drop(world.listener_sets.insert(name, set.into())),
            None => note("ListenerSet", &name),
        }
    }
    for kind in RouteKind::ALL {
        let forms = VERSIONS.map(|version| kind.resource(version));
        for (name, route) in list(client, &forms, &[namespace]).await? {
            let table = world.routes.entry(kind).or_default();
            match route {
                Some(route) => drop(table.insert(name, route.into())),
                None => note(kind.kind(), &name),
            }
        }
    }
    Ok((world, unreadable))
}

async fn targets(
    lattice: &Lattice,
    group: TargetGroupSummary,
) -> Result<(Group, Vec<String>), Fault> {
    let list = lattice
        .list_targets()
        .target_group_identifier(group.id().unwrap_or_default());
    let all = list.into_paginator().items().send();
    let all = all.collect::<Result<Vec<_>, _>>().await?.into_iter();
    let mut targets: Vec<_> = all
        .map(|it| Target {
            id: it.id.unwrap_or_default(),
            port: it.port.unwrap_or_default(),
            status: it
                .status
                .map(|it| it.as_str().to_owned())
                .unwrap_or_default(),
        })
        .collect();
    targets.sort_by(|a, b| (&a.id, a.port).cmp(&(&b.id, b.port)));
    let count =
        |wanted: &dyn Fn(&str) -> bool| targets.iter().filter(|it| wanted(&it.status)).count();
    Ok((
        Group {
            id: group.id.unwrap_or_default(),
            name: group.name.unwrap_or_default(),
            healthy: count(&|it| it == "HEALTHY"),
            total: count(&|it| it != "DRAINING"),
            targets,
        },
        group.service_arns.unwrap_or_default(),
    ))
}

/// What Lattice has of these services.
async fn seen(lattice: &Lattice, wanted: &BTreeSet<String>) -> Result<Seen, Fault> {
    let services = lattice.list_services().into_paginator().items().send();
    let services = services.collect::<Result<Vec<_>, _>>().await?.into_iter();
    let services = services.filter_map(|it| {
        let status = it
            .status
            .map(|it| it.as_str().to_owned())
            .unwrap_or_default();
        Some((it.arn?, status))
    });
    let groups = lattice.list_target_groups().into_paginator().items().send();
    let groups = groups.collect::<Result<Vec<_>, _>>().await?.into_iter();
    let used = groups.filter(|it| it.service_arns().iter().any(|arn| wanted.contains(arn)));
    let reads: Vec<_> = used.map(|group| targets(lattice, group)).collect();
    let mut read = futures::stream::iter(reads).buffered(AT_ONCE);
    let mut groups = Vec::new();
    while let Some(group) = read.next().await {
        match group {
            Ok(group) => groups.push(group),
            // It went in between.
            Err(Fault::NotFound(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(Seen {
        services: services.collect(),
        groups,
        fault: None,
    })
}

pub(super) async fn report(question: &Question) -> anyhow::Result<Vec<Entry>> {
    let wanted = question.object.as_deref().map(object).transpose()?;
    let client = crate::client(question.context.as_ref()).await?;
    let config = config(&question.region, question.endpoint_url.as_deref()).await;
    ask(question, wanted, client, config).await
}

async fn ask(
    question: &Question,
    wanted: Option<(Kind, String)>,
    client: Client,
    config: aws_sdk_vpclattice::config::Builder,
) -> anyhow::Result<Vec<Entry>> {
    let usual = client.default_namespace().to_owned();
    let namespace = match (&question.namespace, &wanted) {
        (Some(namespace), _) => Some(namespace.clone()),
        (None, Some(_)) => Some(usual),
        (None, None) => None,
    };
    let (world, unreadable) = cluster(&client, namespace.as_deref()).await?;
    let names = &question.controller_names[..];
    let here = |name: &Name| namespace.as_ref().is_none_or(|it| *it == name.namespace);
    let gateways = world.gateways.iter().filter(|(name, _)| here(name));
    let gateways: Vec<_> = gateways
        .filter(|(name, _)| match &wanted {
            Some((kind, wanted)) => *kind == Kind::Gateway && *wanted == name.name,
            None => controller_of(&world, name).is_ok_and(|it| names.iter().any(|own| own == it)),
        })
        .collect();
    let routes: Vec<_> = world
        .all_routes()
        .filter(|(of, name, route)| match &wanted {
            Some((kind, wanted)) => *kind == Kind::Route(*of) && *wanted == name.name,
            None => is_meant(&world, names, name, route),
        })
        .collect();
    let arns = routes
        .iter()
        .filter_map(|(_, _, route)| service_of(route).1);
    let arns: BTreeSet<_> = arns.collect();
    let seen = match arns.is_empty() {
        true => Seen::default(),
        false => match seen(&Lattice::from_conf(config.build()), &arns).await {
            Ok(seen) => seen,
            // What the cluster says is worth saying without it.
            Err(fault) => Seen {
                fault: Some(fault.to_string()),
                ..Seen::default()
            },
        },
    };
    let gateways = gateways.into_iter();
    let mut entries: Vec<_> = gateways
        .map(|(name, gateway)| of_gateway(&world, names, name, gateway))
        .collect();
    let about = (&world, names, &seen);
    entries.extend(
        routes
            .into_iter()
            .map(|(kind, name, route)| of_route(about, (kind, name, route))),
    );
    let unreadable = unreadable.into_iter().filter(|it| match &wanted {
        Some((kind, name)) => it.name == *name && it.kind == word(*kind),
        None => true,
    });
    entries
        .extend(unreadable.filter(|it| namespace.as_ref().is_none_or(|own| it.namespace == *own)));
    if let (Some((kind, name)), true) = (&wanted, entries.is_empty()) {
        let namespace = namespace.unwrap_or_default();
        bail!(
            "there is no {} {namespace}/{name}: -n says in which namespace it is",
            word(*kind)
        );
    }
    Ok(entries)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Gateway => "Gateway",
        Kind::Route(kind) => kind.kind(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::desired::key;
    use crate::routes::SERVICE_ARN;
    use crate::settings::{AWS_CONTROLLER, OWN_CONTROLLER};
    use crate::tests::fake::{Answer, Server};

    #[test]
    fn objects_are_named_as_for_kubectl() {
        for (text, kind) in [
            ("httproute/a", Kind::Route(RouteKind::Http)),
            ("HTTPRoutes/a", Kind::Route(RouteKind::Http)),
            (
                "tlsroutes.gateway.networking.k8s.io/a",
                Kind::Route(RouteKind::Tls),
            ),
            (
                "tlsroute.v1.gateway.networking.k8s.io/a",
                Kind::Route(RouteKind::Tls),
            ),
            ("gateways/a", Kind::Gateway),
            ("gtw/a", Kind::Gateway),
        ] {
            assert_eq!(object(text).unwrap(), (kind, "a".to_owned()), "{text}");
        }
        for text in ["httproute", "pod/a", "httproute/"] {
            assert!(
                object(text)
                    .unwrap_err()
                    .to_string()
                    .contains("httproute/NAME")
            );
        }
    }

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
               "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    fn route(name: &str, gateway: &str, annotations: &Value, conditions: &[Value]) -> Value {
        let parent = json!({"name": gateway});
        let entries = match conditions {
            [] => json!([]),
            _ => {
                json!([{"parentRef": parent, "controllerName": OWN_CONTROLLER, "conditions": conditions}])
            }
        };
        json!({"metadata": {"name": name, "namespace": "default", "generation": 1, "annotations": annotations},
               "spec": {"parentRefs": [parent], "rules": []}, "status": {"parents": entries}})
    }

    const ARN: &str = "arn:aws:vpc-lattice:us-east-1:123456789012:service/svc-1";

    fn kubernetes(path: &[&str]) -> Answer {
        let kinds = |names: &[&str]| {
            let kinds = names.iter().map(|it| json!({"name": it, "kind": it, "singularName": "", "namespaced": true, "verbs": []}));
            json!({"groupVersion": "gateway.networking.k8s.io/v1", "resources": kinds.collect::<Vec<_>>()})
        };
        let class = |name: &str, controller: &str| json!({"metadata": {"name": name}, "spec": {"controllerName": controller}});
        let gateway = |name: &str, class: &str, status: Value| {
            json!({
            "metadata": {"name": name, "namespace": "default", "generation": 1},
            "spec": {"gatewayClassName": class, "listeners": []}, "status": status})
        };
        let list = |items: Value| Answer::ok(json!({"metadata": {}, "items": items}));
        match path {
            ["apis", "gateway.networking.k8s.io", "v1"] => {
                Answer::ok(kinds(&["gatewayclasses", "gateways", "httproutes"]))
            }
            ["apis", "gateway.networking.k8s.io", _] => Answer::not_found(),
            [.., "gatewayclasses"] => list(json!([
                class("lath", OWN_CONTROLLER),
                class("other", "example.com/other")
            ])),
            [.., "gateways"] => list(json!([
                gateway(
                    "shop",
                    "lath",
                    json!({
                    "addresses": [{"type": "Hostname", "value": "web.on.aws"}],
                    "conditions": [condition("Accepted", "True", "Accepted", ""), condition("Programmed", "True", "Programmed", "service network: arn:aws:x:y:z:servicenetwork/sn-1")],
                    "listeners": [{"name": "http", "attachedRoutes": 2, "conditions": []}]})
                ),
                gateway("foreign", "other", json!({}))
            ])),
            [.., "httproutes"] => {
                let annotations = json!({key(SERVICE_ARN): ARN, key("lattice-assigned-domain-name"): "web.on.aws"});
                let good = [
                    condition("Accepted", "True", "Accepted", ""),
                    condition("Programmed", "True", "Programmed", ""),
                ];
                let bad = [
                    condition("Accepted", "False", "NoMatchingParent", "no\nlistener"),
                    condition("Programmed", "False", "Invalid", "no\nlistener"),
                ];
                list(json!([
                    route("web", "shop", &annotations, &good), route("bad", "shop", &json!({}), &bad), route("new", "shop", &json!({}), &[]),
                    route("theirs", "foreign", &json!({}), &[]),
                    {"metadata": {"name": "odd", "namespace": "default"}, "spec": {"parentRefs": "none"}}]))
            }
            _ => panic!("{path:?}"),
        }
    }

    async fn asked(object_of: Option<&str>, lattice_answers: bool) -> anyhow::Result<Vec<Entry>> {
        let seen = Arc::new(Mutex::new(0));
        let server = Server::begin(move |request| {
            let path: Vec<_> = request.path.iter().map(String::as_str).collect();
            if path[0] == "apis" {
                return kubernetes(&path);
            }
            *seen.lock().unwrap() += 1;
            let target = |id: &str, status: &str| json!({"id": id, "port": 80, "status": status});
            match &path[..] {
                _ if !lattice_answers => Answer::refused(403, "AccessDeniedException"),
                ["services"] => Answer::ok(json!({"items": [{"arn": ARN, "id": "svc-1", "name": "web-default", "status": "ACTIVE"}]})),
                ["targetgroups"] => Answer::ok(json!({"items": [
                    {"id": "tg-1", "name": "k8s-default-web-x", "serviceArns": [ARN]}, {"id": "tg-2", "name": "other", "serviceArns": []}]})),
                ["targetgroups", "tg-1", "listtargets"] => Answer::ok(json!({"items": [
                    target("10.0.0.2", "INITIAL"), target("10.0.0.1", "HEALTHY"), target("10.0.0.3", "DRAINING")]})),
                _ => panic!("{path:?}"),
            }
        })
        .await;
        let question = Question {
            controller_names: vec![AWS_CONTROLLER.into(), OWN_CONTROLLER.into()],
            ..Question::default()
        };
        let config = aws_sdk_vpclattice::config::Config::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_vpclattice::config::Credentials::new(
                "key", "secret", None, None, "tests",
            ))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .endpoint_url(server.url());
        let wanted = object_of.map(object).transpose()?;
        ask(&question, wanted, server.kubernetes(), config).await
    }

    #[tokio::test]
    async fn a_line_says_what_each_became_or_why_not() {
        let lines: Vec<_> = asked(None, true)
            .await
            .unwrap()
            .iter()
            .map(Entry::line)
            .collect();
        assert_eq!(
            lines,
            [
                "Gateway default/shop: programmed; service network sn-1, web.on.aws, 2 routes",
                "HTTPRoute default/bad: not programmed; Accepted NoMatchingParent: no listener",
                "HTTPRoute default/new: unseen; no controller has said anything of Gateway shop: does one run?",
                "HTTPRoute default/web: programmed; service svc-1, web.on.aws, k8s-default-web-x 1/2 healthy (1 draining, 1 initial)",
                "HTTPRoute default/odd: unseen; it cannot be read: its specification has another form",
            ]
        );
        let lines: Vec<_> = asked(None, false)
            .await
            .unwrap()
            .iter()
            .map(Entry::line)
            .collect();
        assert!(lines[3].starts_with("HTTPRoute default/web: programmed; service svc-1, web.on.aws; VPC Lattice does not say more: AccessDenied"), "{}", lines[3]);
    }

    #[tokio::test]
    async fn an_explanation_has_all_of_it() {
        let entries = asked(Some("httproute/web"), true).await.unwrap();
        let [entry] = &entries[..] else {
            panic!("{entries:?}")
        };
        let text = entry.explanation();
        for line in [
            "    10.0.0.2:80 INITIAL",
            "  Gateway shop: Programmed True Programmed",
            "  target group tg-1: k8s-default-web-x 1/2 healthy (1 draining, 1 initial)",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert_eq!(
            serde_json::to_value(entry).unwrap()["target_groups"][0]["healthy"],
            1
        );
        let theirs = asked(Some("httproute/theirs"), true).await.unwrap();
        assert_eq!(
            theirs[0].problems,
            ["Gateway default/foreign is of controller example.com/other"]
        );
        let absent = asked(Some("gateway/none"), true).await.unwrap_err();
        assert!(
            absent
                .to_string()
                .starts_with("there is no Gateway default/none"),
            "{absent}"
        );
    }
}
