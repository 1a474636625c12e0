//! What nodes and pods use: from what kubelets count (`/metrics/resource`) to the objects of `metrics.k8s.io`.

use std::collections::BTreeMap;
use std::time::Duration;

use lath_model::Timestamp;
use serde_json::{Map, Value, json};

/// The most bytes that a kubelet may say: some 200 for each of three lines of a container.
pub const LARGEST: usize = 16 << 20;
/// The longest line.
const LONGEST_LINE: usize = 4096;
/// The most things that are counted of one node: its kubelet is its root's to replace.
const MOST_COUNTED: usize = 4096;
/// Labels of a line that are looked at.
const MOST_LABELS: usize = 16;
/// A container that is younger has used what it has used since it began.
const YOUNG: Duration = Duration::from_secs(60);
/// Less time than this says nothing of how busy something is.
const SHORTEST: Duration = Duration::from_secs(1);

/// The group and version of the API.
pub const VERSION: &str = "metrics.k8s.io/v1beta1";

/// What counts: a node as a whole, or a container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Counted {
    Node,
    Container {
        namespace: String,
        pod: String,
        container: String,
    },
}

/// What is counted of one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Counts {
    /// When, and how many seconds of a processor since its beginning.
    cpu: Option<(Timestamp, f64)>,
    memory: Option<f64>,
    started: Option<Timestamp>,
}

/// What a kubelet counts at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample(BTreeMap<Counted, Counts>);

impl Sample {
    /// Reads what a kubelet says, whose clock is not known for lines without a time. Lines that are none are left out.
    pub fn parse(text: &[u8], now: Timestamp) -> Self {
        let mut sample = Self::default();
        for line in text.get(..LARGEST).unwrap_or(text).split(|it| *it == b'\n') {
            if line.len() > LONGEST_LINE || line.first().is_none_or(|it| *it == b'#') {
                continue;
            }
            let line = std::str::from_utf8(line).ok().and_then(Line::parse);
            if let Some(line) = line {
                sample.take(&line, now);
            }
        }
        sample
    }

    fn take(&mut self, line: &Line<'_>, now: Timestamp) {
        let counted = match line.name {
            "node_cpu_usage_seconds_total" | "node_memory_working_set_bytes" => Counted::Node,
            "container_cpu_usage_seconds_total"
            | "container_memory_working_set_bytes"
            | "container_start_time_seconds" => {
                let label = |name: &str| line.labels.get(name).filter(|it| !it.is_empty());
                let (Some(namespace), Some(pod), Some(container)) =
                    (label("namespace"), label("pod"), label("container"))
                else {
                    return;
                };
                Counted::Container {
                    namespace: namespace.clone(),
                    pod: pod.clone(),
                    container: container.clone(),
                }
            }
            _ => return,
        };
        if self.0.len() >= MOST_COUNTED && !self.0.contains_key(&counted) {
            return;
        }
        let counts = self.0.entry(counted).or_default();
        match line.name {
            "node_cpu_usage_seconds_total" | "container_cpu_usage_seconds_total" => {
                counts.cpu = Some((line.at.unwrap_or(now), line.value));
            }
            "container_start_time_seconds" => {
                #[allow(clippy::cast_possible_truncation, reason = "saturates")]
                let millis = (line.value * 1000.0) as i64;
                counts.started = Some(Timestamp::from_millis(millis));
            }
            _ => counts.memory = Some(line.value),
        }
    }
}

/// A line such as `name{label="value"} 1.5 1700000000000`.
struct Line<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, String>,
    value: f64,
    at: Option<Timestamp>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        let mut words = rest.split_ascii_whitespace();
        let value: f64 = words.next()?.parse().ok()?;
        let at = words.next().and_then(|it| it.parse().ok());
        let is_good = (0.0..9e15).contains(&value);
        is_good.then_some(Self {
            name,
            labels,
            value,
            at: at.map(Timestamp::from_millis),
        })
    }
}

/// The labels of a line, and what follows them.
fn labels(mut rest: &str) -> Option<(BTreeMap<&str, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match letters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, letter) => value.push(letter),
            }
        };
        if labels.len() == MOST_LABELS {
            return None;
        }
        labels.insert(name, value);
        rest = after.get(end..)?;
    }
}

/// What is known of one node: the two newest counts of everything on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History(BTreeMap<Counted, (Option<Counts>, Counts)>);

impl History {
    /// Takes a newer sample in. What it lacks is gone.
    pub fn take(&mut self, sample: Sample) {
        let mut before = std::mem::take(&mut self.0);
        for (counted, new) in sample.0 {
            let known = before.remove(&counted);
            let at = |it: &Counts| it.cpu.map(|(at, _)| at);
            let kept = match known {
                // A kubelet counts every ten seconds or so, and says until then what it said before.
                Some((earlier, known)) if at(&known) >= at(&new) => (earlier, known),
                Some((_, known)) => (Some(known), new),
                None => (None, new),
            };
            self.0.insert(counted, kept);
        }
    }

    /// What the node uses.
    pub fn node(&self) -> Option<Usage> {
        self.0.get(&Counted::Node).and_then(usage)
    }

    /// What each pod's containers use. A pod is left out while one of them is not known.
    pub fn pods(&self) -> BTreeMap<(&str, &str), BTreeMap<&str, Usage>> {
        let mut pods: BTreeMap<(&str, &str), Option<BTreeMap<&str, Usage>>> = BTreeMap::new();
        for (counted, counts) in &self.0 {
            let Counted::Container {
                namespace,
                pod,
                container,
            } = counted
            else {
                continue;
            };
            let known = pods.entry((namespace, pod));
            let known = known.or_insert_with(|| Some(BTreeMap::new()));
            match (usage(counts), &mut *known) {
                (Some(usage), Some(all)) => drop(all.insert(container, usage)),
                (None, _) => *known = None,
                (Some(_), None) => {}
            }
        }
        let pods = pods.into_iter();
        pods.filter_map(|(of, usage)| Some((of, usage?))).collect()
    }

    /// Whether everything on the node is known.
    pub fn is_whole(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|it| usage(it).is_some())
    }
}

/// What something used in some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// The end of that time.
    pub at: Timestamp,
    /// How long it was.
    pub window: Duration,
    /// Processors.
    pub cpu: f64,
    /// Memory, in bytes.
    pub memory: f64,
}

impl Usage {
    fn shown(&self) -> Value {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and it saturates"
        )]
        let whole = |value: f64| value.round() as u64;
        json!({
            "cpu": format!("{}n", whole(self.cpu * 1e9)),
            "memory": format!("{}Ki", whole(self.memory / 1024.0)),
        })
    }
}

fn usage((earlier, latest): &(Option<Counts>, Counts)) -> Option<Usage> {
    let (at, seconds) = latest.cpu?;
    let since = |then: Timestamp, before: f64| {
        let window = (at > then).then(|| at.since(then))?;
        (window >= SHORTEST && seconds >= before).then_some((window, seconds - before))
    };
    let between = earlier.and_then(|earlier| {
        let (then, before) = earlier.cpu?;
        let is_same = latest.started.is_none_or(|started| started <= then);
        is_same.then(|| since(then, before))?
    });
    let (window, used) = between.or_else(|| {
        let whole = since(latest.started?, 0.0);
        whole.filter(|(window, _)| *window <= YOUNG)
    })?;
    Some(Usage {
        at,
        window,
        cpu: used / window.as_secs_f64(),
        memory: latest.memory?,
    })
}

/// The metadata of something that metrics are of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Named {
    /// Its namespace; empty for nodes.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Named {
    fn metadata(&self, now: Timestamp) -> Value {
        let mut metadata = Map::new();
        metadata.insert("name".into(), json!(self.name));
        if !self.namespace.is_empty() {
            metadata.insert("namespace".into(), json!(self.namespace));
        }
        metadata.insert("creationTimestamp".into(), json!(now.iso8601_seconds()));
        if !self.labels.is_empty() {
            metadata.insert("labels".into(), json!(self.labels));
        }
        metadata.into()
    }
}

/// The `NodeMetrics` of a node, as they are shown now.
pub fn node_metrics(of: &Named, usage: &Usage, now: Timestamp) -> Value {
    json!({
        "kind": "NodeMetrics", "apiVersion": VERSION, "metadata": of.metadata(now),
        "timestamp": usage.at.iso8601_seconds(), "window": window(usage.window),
        "usage": usage.shown(),
    })
}

/// The `PodMetrics` of a pod; nothing when none of its containers is known.
pub fn pod_metrics(
    of: &Named,
    containers: &BTreeMap<&str, Usage>,
    now: Timestamp,
) -> Option<Value> {
    let oldest = containers.values().min_by_key(|it| it.at)?;
    let shown = containers.iter();
    let shown = shown.map(|(name, usage)| json!({"name": name, "usage": usage.shown()}));
    Some(json!({
        "kind": "PodMetrics", "apiVersion": VERSION, "metadata": of.metadata(now),
        "timestamp": oldest.at.iso8601_seconds(), "window": window(oldest.window),
        "containers": shown.collect::<Vec<_>>(),
    }))
}

fn window(window: Duration) -> String {
    format!("{}.{:03}s", window.as_secs(), window.subsec_millis())
}

/// A list of them: `NodeMetricsList` or `PodMetricsList`.
pub fn list(kind: &str, items: Vec<Value>) -> Value {
    json!({"kind": kind, "apiVersion": VERSION, "metadata": {}, "items": items})
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Whether the server works.
    Health,
    /// The versions of the API.
    Group,
    /// The resources of the API.
    Resources,
    /// Metrics of nodes: of one, or of those that the query selects.
    Nodes {
        /// Its name.
        name: Option<String>,
        /// Selectors, as the API server takes them for nodes.
        query: String,
    },
    /// Metrics of pods: of one, or of those that the query selects.
    Pods {
        /// Where; `None`: everywhere.
        namespace: Option<String>,
        /// Its name.
        name: Option<String>,
        /// Selectors, as the API server takes them for pods.
        query: String,
    },
    /// Changes, as they happen: there is no such thing.
    Watch,
}

impl Asked {
    /// What a path and its query ask for; `None`: nothing that is there.
    pub fn parse(path: &str, query: Option<&str>) -> Option<Self> {
        if let "/healthz" | "/livez" | "/readyz" = path {
            return Some(Self::Health);
        }
        let path = path.strip_prefix("/apis/metrics.k8s.io")?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        if !parts.iter().all(|it| is_name(it)) {
            return None;
        }
        let query = query.unwrap_or_default();
        let chosen = query.split('&').filter(|it| {
            let name = it.split('=').next().unwrap_or_default();
            ["labelSelector", "fieldSelector"].contains(&name) && it.bytes().all(is_plain)
        });
        let selectors = chosen.collect::<Vec<_>>().join("&");
        let watches = query
            .split('&')
            .any(|it| ["watch=true", "watch=1"].contains(&it));
        let named = |name: &&str| Some((*name).to_owned());
        let asked = match &parts[..] {
            [] => Self::Group,
            ["v1beta1"] => Self::Resources,
            ["v1beta1", "nodes", rest @ ..] if rest.len() <= 1 => Self::Nodes {
                name: rest.first().and_then(named),
                query: selectors,
            },
            ["v1beta1", "pods"] => Self::Pods {
                namespace: None,
                name: None,
                query: selectors,
            },
            ["v1beta1", "namespaces", namespace, "pods", rest @ ..] if rest.len() <= 1 => {
                Self::Pods {
                    namespace: named(namespace),
                    name: rest.first().and_then(named),
                    query: selectors,
                }
            }
            _ => return None,
        };
        Some(if watches { Self::Watch } else { asked })
    }
}

/// A name of an object, which needs no quoting in a path.
fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    !text.is_empty() && text.len() <= 253 && !text.starts_with('.') && text.bytes().all(inner)
}

/// A byte that a query may have and that ends it nowhere.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"#&?\"<>\\^`{|}".contains(&byte)
}

/// The document `/apis/metrics.k8s.io`.
pub fn group() -> Value {
    let version = json!({"groupVersion": VERSION, "version": "v1beta1"});
    json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": "metrics.k8s.io",
        "versions": [version], "preferredVersion": version,
    })
}

/// The document `/apis/metrics.k8s.io/v1beta1`.
pub fn resources() -> Value {
    let resource = |name: &str, kind: &str, namespaced: bool| {
        json!({
            "name": name, "singularName": "", "namespaced": namespaced, "kind": kind,
            "verbs": ["get", "list"],
        })
    };
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION,
        "resources": [
            resource("nodes", "NodeMetrics", false),
            resource("pods", "PodMetrics", true),
        ],
    })
}

/// A refusal.
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn sample(text: &str) -> Sample {
        Sample::parse(text.as_bytes(), at(0))
    }

    #[test]
    fn usage_is_what_was_used_between_two_looks() {
        let mut history = History::default();
        let first = "# HELP x\n\
            node_cpu_usage_seconds_total 100 1000000\n\
            node_memory_working_set_bytes 2048 1000000\n\
            container_cpu_usage_seconds_total{container=\"a\",namespace=\"n\",pod=\"p\"} 5 1000000\n\
            container_memory_working_set_bytes{container=\"a\",namespace=\"n\",pod=\"p\"} 1024 1000000\n\
            container_start_time_seconds{container=\"a\",namespace=\"n\",pod=\"p\"} 10\n";
        history.take(sample(first));
        assert_eq!(history.node(), None);
        assert!(history.pods().is_empty() && !history.is_whole());
        let second = "node_cpu_usage_seconds_total 115 1010000\n\
            node_memory_working_set_bytes 4096 1010000\n\
            container_cpu_usage_seconds_total{container=\"a\",namespace=\"n\",pod=\"p\"} 7.5 1010000\n\
            container_memory_working_set_bytes{container=\"a\",namespace=\"n\",pod=\"p\"} 1024 1010000\n\
            container_start_time_seconds{container=\"a\",namespace=\"n\",pod=\"p\"} 10\n";
        history.take(sample(second));
        let node = history.node().unwrap();
        assert_eq!(
            (node.cpu, node.memory, node.window.as_secs()),
            (1.5, 4096.0, 10)
        );
        // The kubelet has not counted anew.
        history.take(sample(second));
        assert_eq!(history.node(), Some(node));
        let pods = history.pods();
        assert_eq!(pods[&("n", "p")]["a"].cpu, 0.25);
        let of = Named {
            namespace: "n".into(),
            name: "p".into(),
            labels: [("app".to_owned(), "web".to_owned())].into(),
        };
        let shown = pod_metrics(&of, &pods[&("n", "p")], Timestamp::from_millis(0)).unwrap();
        assert_eq!(shown["containers"][0]["usage"]["cpu"], "250000000n");
        assert_eq!(shown["containers"][0]["usage"]["memory"], "1Ki");
        assert_eq!(shown["window"], "10.000s");
        assert_eq!(shown["metadata"]["labels"]["app"], "web");
        // A pod that is gone, and a counter that began again.
        history.take(sample("node_cpu_usage_seconds_total 1 1020000\n"));
        assert!(history.pods().is_empty());
        assert_eq!(history.node(), None);
    }

    #[test]
    fn a_young_container_has_used_what_it_used_since_it_began() {
        let mut history = History::default();
        let young = "container_cpu_usage_seconds_total{container=\"a\",namespace=\"n\",pod=\"p\"} 5 1010000\n\
            container_memory_working_set_bytes{container=\"a\",namespace=\"n\",pod=\"p\"} 1 1010000\n\
            container_start_time_seconds{container=\"a\",namespace=\"n\",pod=\"p\"} 1000\n\
            container_cpu_usage_seconds_total{container=\"b\",namespace=\"n\",pod=\"p\"} 5 1010000\n";
        history.take(sample(young));
        assert!(history.pods().is_empty(), "b is not known");
        let lines = young.lines().take(3).collect::<Vec<_>>().join("\n");
        history.take(sample(&lines));
        assert_eq!(history.pods()[&("n", "p")]["a"].cpu, 0.5);
    }

    #[test]
    fn a_kubelet_cannot_say_any_number_of_containers() {
        let line = |it: usize| {
            format!(
                "container_memory_working_set_bytes{{container=\"c{it}\",namespace=\"n\",pod=\"p\"}} 1\n"
            )
        };
        let text: String = (0..MOST_COUNTED + 10).map(line).collect();
        assert_eq!(sample(&text).0.len(), MOST_COUNTED);
    }

    #[test]
    fn lines_that_are_none_are_left_out() {
        for bad in [
            "",
            "node_cpu_usage_seconds_total",
            "node_cpu_usage_seconds_total x",
            "node_cpu_usage_seconds_total NaN",
            "node_cpu_usage_seconds_total -1",
            "container_cpu_usage_seconds_total{container=\"a\",namespace=\"n\"} 1",
            "container_cpu_usage_seconds_total{container=\"a",
            "container_cpu_usage_seconds_total{container=\"a\\",
            "something_else{a=\"b\"} 1",
        ] {
            assert_eq!(sample(bad), Sample::default(), "{bad}");
        }
        let odd = labels("a=\"x\\\"y\\\\z\\n\",b=\"\"} 1").unwrap();
        assert_eq!(odd.0["a"], "x\"y\\z\n");
        assert_eq!(odd.1, " 1");
    }

    #[test]
    fn requests_are_what_their_paths_say() {
        let root = "/apis/metrics.k8s.io";
        let asked = |path: &str, query| Asked::parse(&format!("{root}{path}"), query);
        assert_eq!(asked("", None), Some(Asked::Group));
        assert_eq!(asked("/v1beta1/", None), Some(Asked::Resources));
        let nodes = Asked::Nodes {
            name: Some("ip-10-0-1-4.ec2.internal".into()),
            query: String::new(),
        };
        assert_eq!(
            asked("/v1beta1/nodes/ip-10-0-1-4.ec2.internal", None),
            Some(nodes)
        );
        let pods = Asked::Pods {
            namespace: Some("shop".into()),
            name: None,
            query: "labelSelector=app%3Dweb".into(),
        };
        let query = Some("limit=500&labelSelector=app%3Dweb");
        assert_eq!(asked("/v1beta1/namespaces/shop/pods", query), Some(pods));
        assert_eq!(
            asked("/v1beta1/pods", Some("watch=true")),
            Some(Asked::Watch)
        );
        for bad in [
            "/v1",
            "/v1beta1/pods/x",
            "/v1beta1/namespaces/a%2fb/pods",
            "/v1beta1/nodes/../x",
        ] {
            assert_eq!(asked(bad, None), None, "{bad}");
        }
        assert_eq!(Asked::parse("/apis", None), None);
    }
}
