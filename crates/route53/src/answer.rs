//! TestDNSAnswer: what a zone would answer now.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use lath_control::{Cell, compile};
use lath_feed::{Observed, TargetHealth};
use lath_model::id::{HealthCheckId, TargetGroupId};
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use lath_zones::{Answer, HealthView, Kind, Name, Question, Random, Rcode, Scope, Zones};

use crate::shape::{RecordDataEntry, TestDNSAnswer, TestDNSAnswerResponse};
use crate::{Route53, fault, name, record::Zone, zone};

operations! {
    for Route53 as "route53";
    read TestDNSAnswer: get "/2013-04-01/testdnsanswer" 200 -> TestDNSAnswerResponse = test
        => any();
}

/// Health as the home's node last said.
struct Seen<'o>(&'o Observed);

impl HealthView for Seen<'_> {
    fn check(&self, check: &HealthCheckId) -> bool {
        self.0
            .health_checks
            .get(check)
            .is_none_or(|seen| seen.healthy)
    }

    fn target_group(&self, group: &TargetGroupId) -> bool {
        let fails = |health| matches!(health, TargetHealth::Unhealthy | TargetHealth::Drained);
        self.0.targets.get(group).is_none_or(|targets| {
            targets.is_empty() || targets.values().any(|target| !fails(target.health))
        })
    }
}

fn test(app: &Route53, view: &View, op: &TestDNSAnswer) -> Result<TestDNSAnswerResponse, ApiError> {
    let zone = zone::find(view, &op.zone_id)?;
    let zones = Zones::new(&compile(&app.cell, view, &app.contributions));
    answer(&app.cell, &zone, &zones, op)
}

fn answer(
    cell: &Cell,
    zone: &Zone,
    zones: &Zones,
    op: &TestDNSAnswer,
) -> Result<TestDNSAnswerResponse, ApiError> {
    let canonical = name::canonical(&op.name)
        .ok()
        .filter(|name| name::is_within(name, &zone.name))
        .ok_or_else(|| {
            let shown: String = op.name.chars().take(256).collect();
            fault::invalid(format!(
                "The record name {shown} does not lie within the hosted zone {}.",
                zone.name
            ))
        })?;
    let question = Question {
        name: Name::from_text(&canonical).map_err(ApiError::internal)?,
        kind: op.kind.as_str().parse().map_err(ApiError::internal)?,
    };
    let client = zones.client(client(cell, op)?);
    let observed = cell.observed.borrow().clone();
    let mut random = Random::new(rand::random());
    let answer = zones.answer(
        &question,
        Scope::Zone(&zone.id),
        &Seen(&observed),
        &client,
        &mut random,
    );
    Ok(TestDNSAnswerResponse {
        name_server: zone.name_servers.first().cloned().unwrap_or_default(),
        name: canonical,
        kind: op.kind,
        data: data(answer.as_ref(), question.kind),
        response_code: code(answer.as_ref()).to_owned(),
        protocol: "UDP".to_owned(),
    })
}

fn code(answer: Option<&Answer>) -> &'static str {
    match answer.map(|answer| answer.rcode) {
        Some(Rcode::NoError) => "NOERROR",
        Some(Rcode::NxDomain) => "NXDOMAIN",
        Some(Rcode::ServFail) => "SERVFAIL",
        None => "REFUSED",
    }
}

/// The values of the wanted type; where there are none, the CNAMEs that lead on.
fn data(answer: Option<&Answer>, kind: Kind) -> Vec<RecordDataEntry> {
    let records = || answer.into_iter().flat_map(|answer| &answer.records);
    let is_there = records().any(|record| record.kind == kind);
    records()
        .filter(|record| !is_there || record.kind == kind)
        .map(|record| RecordDataEntry(record.value.text.to_string()))
        .collect()
}

/// Who asks: the EDNS client subnet, else the resolver, else the home itself.
fn client(cell: &Cell, op: &TestDNSAnswer) -> Result<IpNet, ApiError> {
    let parse = |text: &str| {
        text.parse::<IpAddr>().map_err(|_| {
            let shown: String = text.chars().take(45).collect();
            fault::invalid(format!("{shown} is not a valid IP address."))
        })
    };
    if let Some(text) = &op.subnet_ip {
        return subnet(parse(text)?, op.subnet_mask.as_deref());
    }
    if op.subnet_mask.is_some() {
        return Err(fault::invalid(
            "An EDNS0ClientSubnetIP is required when an EDNS0ClientSubnetMask is given.",
        ));
    }
    if let Some(text) = &op.resolver_ip {
        return Ok(parse(text)?.into());
    }
    let here = cell.topology.here().map(|place| place.underlay);
    Ok(IpAddr::from(here.unwrap_or(Ipv4Addr::LOCALHOST)).into())
}

fn subnet(address: IpAddr, mask: Option<&str>) -> Result<IpNet, ApiError> {
    let default = if address.is_ipv4() { 24 } else { 64 };
    let bits = mask.map_or(Some(default), |text| text.parse().ok());
    bits.and_then(|bits| IpNet::new(address, bits).ok())
        .map(|net| net.trunc())
        .ok_or_else(|| fault::invalid("The EDNS0ClientSubnetMask is not valid for the address."))
}
