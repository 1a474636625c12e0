//! VPC Lattice for tests, as far as the controller asks for it: what it is asked to make is there at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::fake::{Answer, Request};
use crate::desired::{Tags, key};

pub(crate) const ACCOUNT: &str = "123456789012";

/// What is there.
#[derive(Default)]
pub(crate) struct State {
    /// Resources by their kind's path and their id.
    pub(crate) all: BTreeMap<(String, String), Value>,
    pub(crate) tags: BTreeMap<String, Tags>,
    pub(crate) policies: BTreeMap<String, String>,
    pub(crate) targets: BTreeMap<String, BTreeSet<(String, i64)>>,
    /// What is said of targets, by group and address; of all others, that they are healthy.
    pub(crate) health: BTreeMap<(String, String), &'static str>,
    /// Addresses that no group takes, and protocols that none is made with.
    pub(crate) refused: BTreeSet<String>,
    /// Lines of requests that are carried out, and answered once as if they were not, with an error.
    pub(crate) unanswered: BTreeMap<String, &'static str>,
    made: usize,
}

pub(crate) type Shared = Arc<Mutex<State>>;

const PREFIXES: [(&str, &str, &str); 5] = [
    ("services", "svc", "service"),
    ("servicenetworks", "sn", "servicenetwork"),
    ("targetgroups", "tg", "targetgroup"),
    (
        "servicenetworkserviceassociations",
        "snsa",
        "servicenetworkserviceassociation",
    ),
    (
        "servicenetworkvpcassociations",
        "snva",
        "servicenetworkvpcassociation",
    ),
];

impl State {
    /// Makes a resource of a kind, with these tags, as another would; gives its id.
    pub(crate) fn make(&mut self, kind: &str, account: &str, body: Value, tags: &Tags) -> String {
        let (_, prefix, word) = PREFIXES.iter().find(|it| it.0 == kind).unwrap();
        self.made += 1;
        let id = format!("{prefix}-{:017}", self.made);
        let arn = format!("arn:aws:vpc-lattice:us-east-1:{account}:{word}/{id}");
        let mut made = body;
        made["id"] = json!(id);
        made["arn"] = json!(arn);
        made["status"] = json!("ACTIVE");
        if made["authType"].is_null() {
            made["authType"] = json!("NONE");
        }
        if kind == "services" {
            made["dnsEntry"] = json!({"domainName": format!("{id}.on.aws")});
        }
        if let Some(config) = made.get("config").cloned() {
            made["vpcIdentifier"] = config["vpcIdentifier"].clone();
            made["port"] = config["port"].clone();
            made["protocol"] = config["protocol"].clone();
        }
        let network = made["serviceNetworkIdentifier"].as_str().map(str::to_owned);
        if let Some(network) = network {
            made["serviceNetworkId"] = json!(network);
            made["serviceNetworkName"] =
                self.all[&("servicenetworks".to_owned(), network)]["name"].clone();
        }
        self.all.insert((kind.to_owned(), id.clone()), made);
        self.tags.insert(arn, tags.clone());
        id
    }

    pub(crate) fn get(&self, kind: &str, id: &str) -> &Value {
        &self.all[&(kind.to_owned(), id.to_owned())]
    }

    /// The ids of a kind.
    pub(crate) fn ids(&self, kind: &str) -> Vec<String> {
        let all = self.all.keys().filter(|it| it.0 == kind);
        all.map(|it| it.1.clone()).collect()
    }

    /// The listeners, or the rules, of all services.
    pub(crate) fn nested_of(&self, what: &str) -> Vec<Value> {
        let suffix = format!("/{what}");
        let all = self
            .all
            .iter()
            .filter(|((kind, _), _)| kind.ends_with(&suffix));
        all.map(|(_, it)| it.clone()).collect()
    }

    pub(crate) fn tags_of(&mut self, kind: &str, id: &str) -> &mut Tags {
        let arn = self.get(kind, id)["arn"].as_str().unwrap().to_owned();
        self.tags.get_mut(&arn).unwrap()
    }

    /// Whether a service or network lets anybody in.
    pub(crate) fn open(&self, kind: &str, id: &str) -> bool {
        self.get(kind, id)["authType"] == "NONE"
    }

    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        let answer = self.carry_out(request);
        match self.unanswered.remove(&request.line()) {
            Some(error) => Answer::refused(400, error),
            None => answer,
        }
    }

    fn carry_out(&mut self, request: &Request) -> Answer {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        match (request.method.as_str(), &path[..]) {
            (_, ["tags", arn]) => self.tagging(request, arn),
            (_, ["authpolicy", id]) => self.auth(request, id),
            ("POST", ["targetgroups", id, what]) => self.targeting(request, id, what),
            (_, ["services", id, rest @ ..]) if !rest.is_empty() => {
                self.nested(request, &format!("services/{id}"), rest)
            }
            // ACM, which has nothing.
            ("POST", [""]) => Answer::ok(json!({"CertificateSummaryList": []})),
            ("POST", [kind]) => {
                let mut body = request.body.clone();
                let protocol = body["config"]["protocol"].as_str().unwrap_or_default();
                if self.refused.contains(protocol) {
                    return Answer::refused(400, "ValidationException");
                }
                let tags = serde_json::from_value(body["tags"].take()).unwrap_or_default();
                let name = body["name"].clone();
                let taken = self
                    .all
                    .iter()
                    .any(|((of, _), it)| of == kind && !name.is_null() && it["name"] == name);
                if taken {
                    return Answer::refused(409, "ConflictException");
                }
                let id = self.make(kind, ACCOUNT, body, &tags);
                Answer::ok(self.get(kind, &id).clone())
            }
            ("GET", [kind]) => {
                let of_kind = self.all.iter().filter(|((of, _), _)| of == kind);
                let fitting = of_kind.filter(|(_, it)| {
                    request.query.iter().all(|(name, value)| {
                        !name.ends_with("Identifier") || it[name] == json!(value)
                    })
                });
                let items: Vec<_> = fitting.map(|(_, it)| it.clone()).collect();
                Answer::ok(json!({"items": items}))
            }
            (method, [kind, id]) => {
                let at = ((*kind).to_owned(), (*id).to_owned());
                let Some(found) = self.all.get_mut(&at) else {
                    return Answer::not_found();
                };
                match method {
                    "PATCH" => merge(found, &request.body),
                    "DELETE" => {
                        let gone = self.all.remove(&at).unwrap();
                        self.tags.remove(gone["arn"].as_str().unwrap());
                        return Answer::ok(gone);
                    }
                    _ => {}
                }
                Answer::ok(found.clone())
            }
            _ => panic!("{}", request.line()),
        }
    }

    fn tagging(&mut self, request: &Request, arn: &str) -> Answer {
        let Some(tags) = self.tags.get_mut(arn) else {
            return Answer::not_found();
        };
        match request.method.as_str() {
            "POST" => {
                let new: Tags = serde_json::from_value(request.body["tags"].clone()).unwrap();
                tags.extend(new);
            }
            // Of several keys the fake sees the last one alone: they have one prefix.
            "DELETE" => drop(tags.remove(&request.query["tagKeys"])),
            _ => return Answer::ok(json!({"tags": tags})),
        }
        Answer::ok(json!({}))
    }

    fn auth(&mut self, request: &Request, id: &str) -> Answer {
        match request.method.as_str() {
            "PUT" => {
                let policy = request.body["policy"].as_str().unwrap();
                if serde_json::from_str::<Value>(policy).is_err() {
                    return Answer::refused(400, "ValidationException");
                }
                self.policies.insert(id.to_owned(), policy.to_owned());
                Answer::ok(json!({"policy": policy}))
            }
            "DELETE" => match self.policies.remove(id) {
                Some(_) => Answer::ok(json!({})),
                None => Answer::not_found(),
            },
            _ => match self.policies.get(id) {
                Some(policy) => Answer::ok(json!({"policy": policy})),
                None => Answer::not_found(),
            },
        }
    }

    fn targeting(&mut self, request: &Request, id: &str, what: &str) -> Answer {
        if !self.all.contains_key(&("targetgroups".into(), id.into())) {
            return Answer::not_found();
        }
        let targets = self.targets.entry(id.to_owned()).or_default();
        let named = request.body["targets"].as_array().into_iter().flatten();
        let named = named.map(|it| {
            (
                it["id"].as_str().unwrap().to_owned(),
                it["port"].as_i64().unwrap(),
            )
        });
        let mut failed = Vec::new();
        match what {
            "registertargets" => {
                for it in named {
                    match self.refused.contains(&it.0) {
                        true => {
                            failed.push(json!({"id": it.0, "port": it.1, "failureMessage": "no"}))
                        }
                        false => drop(targets.insert(it)),
                    }
                }
            }
            "deregistertargets" => targets.retain(|it| named.clone().all(|gone| gone != *it)),
            _ => {
                let items = targets.iter().map(|(target, port)| {
                    let at = (id.to_owned(), target.clone());
                    let status = self.health.get(&at).unwrap_or(&"HEALTHY");
                    json!({"id": target, "port": port, "status": status})
                });
                return Answer::ok(json!({"items": items.collect::<Vec<_>>()}));
            }
        }
        Answer::ok(json!({"successful": [], "unsuccessful": failed}))
    }

    /// Listeners and rules.
    fn nested(&mut self, request: &Request, above: &str, rest: &[&str]) -> Answer {
        let (kind, id) = match rest {
            ["listeners", listener, "rules", rule] => {
                (format!("{above}/{listener}/rules"), Some(*rule))
            }
            ["listeners", listener, "rules"] => (format!("{above}/{listener}/rules"), None),
            ["listeners", listener] => (format!("{above}/listeners"), Some(*listener)),
            _ => (format!("{above}/listeners"), None),
        };
        match (request.method.as_str(), id) {
            ("POST", _) => {
                self.made += 1;
                let id = format!("nested-{:017}", self.made);
                let mut made = request.body.clone();
                made["id"] = json!(id);
                let arn = format!("arn:aws:vpc-lattice:us-east-1:{ACCOUNT}:{kind}/rule/{id}");
                made["arn"] = json!(arn);
                let tags = serde_json::from_value(made["tags"].take()).unwrap_or_default();
                self.tags.insert(arn, tags);
                self.all.insert((kind, id), made.clone());
                Answer::ok(made)
            }
            ("GET", None) => {
                let of_kind = self.all.iter().filter(|((of, _), _)| *of == kind);
                let items: Vec<_> = of_kind.map(|(_, it)| it.clone()).collect();
                Answer::ok(json!({"items": items}))
            }
            ("DELETE", Some(id)) => match self.all.remove(&(kind, id.to_owned())) {
                Some(gone) => Answer::ok(gone),
                None => Answer::not_found(),
            },
            (method, Some(id)) => match self.all.get_mut(&(kind, id.to_owned())) {
                Some(found) => {
                    if method == "PATCH" {
                        merge(found, &request.body);
                    }
                    Answer::ok(found.clone())
                }
                None => Answer::not_found(),
            },
            ("PATCH", None) => {
                let rules = request.body["rules"].as_array().into_iter().flatten();
                let mut done = Vec::new();
                for rule in rules {
                    let id = rule["ruleIdentifier"].as_str().unwrap_or_default();
                    if let Some(found) = self.all.get_mut(&(kind.clone(), id.to_owned())) {
                        merge(found, rule);
                        done.push(found.clone());
                    }
                }
                Answer::ok(json!({"successful": done, "unsuccessful": []}))
            }
            _ => Answer::ok(json!({"successful": [], "unsuccessful": []})),
        }
    }
}

/// A merge patch.
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in patch {
        match value {
            Value::Null => drop(into.as_object_mut().unwrap().remove(name)),
            value => merge(&mut into[name], value),
        }
    }
}

/// Tags of the controller's keys.
pub(crate) fn tagged(pairs: &[(&str, &str)]) -> Tags {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (key(name), (*value).to_owned()))
        .collect()
}
