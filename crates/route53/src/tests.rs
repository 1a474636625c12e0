//! The service as callers meet it: XML through the wire layer, a simulated node behind the feed.

mod batches;
mod health;
mod lists;
mod model;
mod permissions;
mod regions;
mod zones;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use lath_control::{Cell, Mode};
use lath_feed::{Observed, Snapshot};
use lath_wire::format::xml;
use lath_wire::{Caller, Doc, Principal, Service};
use tokio::sync::watch;

use crate::{CONTRIBUTIONS, Route53, service};

const NS: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// An answer: its status, its body as a tree, and where the new thing is.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Doc,
    location: String,
    raw: String,
}

impl Answer {
    /// The text at a path such as `HostedZone/Id`; empty when there is none.
    fn text(&self, path: &str) -> String {
        match self.at(path) {
            Some(Doc::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    fn at(&self, path: &str) -> Option<&Doc> {
        path.split('/')
            .try_fold(&self.body, |doc, name| doc.get(name))
    }

    /// The texts of one member in each of the items at a path.
    fn all(&self, list: &str, member: &str) -> Vec<String> {
        let items = match self.at(list) {
            Some(Doc::List(items)) => items.clone(),
            Some(one @ Doc::Map(_)) => vec![one.clone()],
            _ => Vec::new(),
        };
        let text = |item: &Doc| match item.get(member) {
            Some(Doc::Text(text)) => text.clone(),
            _ => String::new(),
        };
        items.iter().map(text).collect()
    }

    #[track_caller]
    fn fails(&self, status: u16, code: &str, part: &str) {
        assert_eq!(
            (self.status, self.text("Error/Code").as_str()),
            (status, code),
            "{self:?}"
        );
        let message = self.text("Error/Message");
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }

    #[track_caller]
    fn succeeds(&self) -> &Self {
        assert!(matches!(self.status, 200 | 201), "{self:?}");
        self
    }
}

/// A region with Route 53, and a node that reports everything as ready.
struct World {
    cell: Cell,
    service: Service,
    node: watch::Sender<Arc<Observed>>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn extended() -> Self {
        Self::with(|cell| cell.mode = Mode::Extended)
    }

    fn with(change: impl FnOnce(&mut Cell)) -> Self {
        let (mut cell, node) = Cell::for_test();
        change(&mut cell);
        let app = Arc::new(Route53::new(cell.clone(), &CONTRIBUTIONS));
        Self {
            service: service(&app),
            cell,
            node,
        }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("/2013-04-01/{path}"))
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap();
        let response = self.service.respond(&request, &caller()).await;
        let header = response.headers().get("location");
        let location = header
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        let raw = String::from_utf8(response.body().to_vec()).unwrap();
        Answer {
            status: response.status().as_u16(),
            body: xml::read(response.body()).unwrap(),
            location,
            raw,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    async fn post(&self, path: &str, operation: &str, body: &str) -> Answer {
        let body = format!("<{operation}Request xmlns=\"{NS}\">{body}</{operation}Request>");
        self.call("POST", path, &body).await
    }

    async fn create_zone(&self, name: &str, more: &str) -> Answer {
        let reference = rand::random::<u64>();
        let body =
            format!("<Name>{name}</Name><CallerReference>{reference}</CallerReference>{more}");
        self.post("hostedzone", "CreateHostedZone", &body).await
    }

    /// A public zone's bare id.
    async fn zone(&self, name: &str) -> String {
        let made = self.create_zone(name, "").await;
        let id = made.succeeds().text("HostedZone/Id");
        id.trim_start_matches("/hostedzone/").to_owned()
    }

    async fn change(&self, zone: &str, changes: &[String]) -> Answer {
        let body = format!(
            "<ChangeBatch><Changes>{}</Changes></ChangeBatch>",
            changes.concat()
        );
        let path = format!("hostedzone/{zone}/rrset/");
        self.post(&path, "ChangeResourceRecordSets", &body).await
    }

    async fn create_check(&self, config: &str) -> Answer {
        let reference = rand::random::<u64>();
        let body = format!(
            "<CallerReference>{reference}</CallerReference><HealthCheckConfig>{config}</HealthCheckConfig>"
        );
        self.post("healthcheck", "CreateHealthCheck", &body).await
    }

    async fn check(&self, config: &str) -> String {
        let made = self.create_check(config).await;
        made.succeeds().text("HealthCheck/Id")
    }

    fn snapshot(&self) -> Snapshot {
        let view = self.cell.db.view();
        let mut snapshot = Snapshot {
            version: view.revision(),
            ..Snapshot::default()
        };
        lath_control::derive_into(&self.cell, &CONTRIBUTIONS, &view, &mut snapshot);
        snapshot
    }

    fn observe(&self, change: impl FnOnce(&mut Observed)) {
        self.node
            .send_modify(|observed| change(Arc::make_mut(observed)));
    }

    /// The node serves all that is stored.
    fn catch_up(&self) {
        let version = self.cell.db.view().revision();
        self.observe(|observed| observed.dns_version = version);
    }

    /// `name type identifier` of a zone's record sets, in order.
    async fn listed(&self, zone: &str) -> Vec<String> {
        let answer = self.get(&format!("hostedzone/{zone}/rrset")).await;
        let list = "ResourceRecordSets/ResourceRecordSet";
        let names = answer.all(list, "Name");
        let kinds = answer.all(list, "Type");
        let ids = answer.all(list, "SetIdentifier");
        let rows = names.iter().zip(&kinds).zip(&ids);
        rows.map(|((name, kind), id)| format!("{name} {kind} {id}").trim_end().to_owned())
            .collect()
    }
}

fn caller() -> Caller {
    Caller {
        account: "123456789012".into(),
        region: "us-east-1".into(),
        service: "route53".into(),
        principal: Principal {
            arn: "arn:aws:iam::123456789012:root".into(),
            user_id: "123456789012".into(),
        },
        access_key_id: "AKIA".into(),
        request_id: "r-1".into(),
        source_ip: None,
        from_vpc: None,
    }
}

/// A change of a record set with values.
fn values(action: &str, name: &str, kind: &str, more: &str, values: &[&str]) -> String {
    let values: String = values
        .iter()
        .map(|value| format!("<ResourceRecord><Value>{value}</Value></ResourceRecord>"))
        .collect();
    let answer = format!("<TTL>60</TTL><ResourceRecords>{values}</ResourceRecords>");
    change(action, name, kind, &format!("{more}{answer}"))
}

fn change(action: &str, name: &str, kind: &str, more: &str) -> String {
    format!(
        "<Change><Action>{action}</Action><ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type>{more}</ResourceRecordSet></Change>"
    )
}

fn alias(action: &str, name: &str, kind: &str, zone: &str, target: &str) -> String {
    let more = format!(
        "<AliasTarget><HostedZoneId>{zone}</HostedZoneId><DNSName>{target}</DNSName><EvaluateTargetHealth>true</EvaluateTargetHealth></AliasTarget>"
    );
    change(action, name, kind, &more)
}

/// A member of a record set with an identifier.
fn set(identifier: &str, policy: &str) -> String {
    format!("<SetIdentifier>{identifier}</SetIdentifier>{policy}")
}

/// What a snapshot says of a name: identifiers by type.
fn fed(snapshot: &Snapshot, zone: &str, name: &str) -> BTreeMap<String, Vec<String>> {
    let known = snapshot
        .records
        .get(&(zone.parse().unwrap(), name.to_owned()));
    let groups = known.cloned().unwrap_or_default();
    groups
        .iter()
        .map(|(kind, sets)| {
            let ids = sets.iter().map(|set| set.set_identifier.clone());
            (kind.clone(), ids.map(Option::unwrap_or_default).collect())
        })
        .collect()
}
