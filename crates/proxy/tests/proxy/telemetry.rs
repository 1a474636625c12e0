//! What is counted and logged.

use std::time::Duration;

use lath_feed::{AccessLogDestination, Auth};
use lath_model::id::AccessLogSubscriptionId;
use tokio::io::AsyncWriteExt;

use crate::lab::target::Deed;
use crate::lab::world::HOST;
use crate::lab::*;

fn destination(arn: &str) -> AccessLogDestination {
    AccessLogDestination {
        id: AccessLogSubscriptionId::random(),
        destination_arn: arn.to_owned(),
    }
}

#[tokio::test]
async fn every_request_leaves_one_record_with_all_fields() {
    let target = Target::start(|got| match got.path() {
        "/close" => Deed::Close,
        _ => ok("hello"),
    })
    .await;
    let (mut world, group) = World::forwarding(&[target.at]);
    world
        .service_network()
        .access_logs
        .push(destination("arn:network"));
    world.service().access_logs.push(destination("arn:service"));
    let rule = world.listener().default_rule.clone();
    let lab = Lab::start(config(), &world).await;
    let text = format!(
        "POST /a/b?c=d HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: me/1\r\nContent-Length: 3\r\n\
         Connection: close\r\n\r\nabc"
    );
    let answer = send_raw(world.at, text.as_bytes()).await;
    eventually("a record", || !lab.sink.logs.lock().unwrap().is_empty()).await;
    let record = lab.sink.logs.lock().unwrap()[0].clone();
    assert_eq!(record.destinations, ["arn:network", "arn:service"]);
    assert_eq!(
        Some(record.request_id.as_str()),
        answer.header("x-amzn-requestid")
    );
    let arn = |text: &str| Some(text.to_owned());
    let service = &world.snapshot.services[&world.service];
    assert_eq!(record.service_arn, arn(&service.arn));
    assert_eq!(
        record.service_network_arn,
        arn(&world.snapshot.service_networks[&world.network].arn)
    );
    assert_eq!(
        record.target_group_arn,
        arn(&world.snapshot.target_groups[&group].arn)
    );
    assert_eq!(record.listener.as_ref(), Some(&world.listener));
    assert_eq!(record.rule, Some(rule));
    assert_eq!(record.source_vpc, world.vpc);
    let destination_vpc = world.snapshot.target_groups[&group].vpc.clone();
    assert_eq!(record.destination_vpc, Some(destination_vpc));
    assert_eq!(record.target, Some(target.at));
    assert_eq!(record.source.ip().to_string(), "127.0.0.1");
    assert_eq!(
        (record.host.as_deref(), record.method.as_str()),
        (Some(HOST), "POST")
    );
    assert_eq!(
        (record.path.as_str(), record.user_agent.as_deref()),
        ("/a/b", Some("me/1"))
    );
    assert_eq!((record.protocol, record.response_code), ("HTTP/1.1", 200));
    assert_eq!((record.failure_reason, record.auth_denied_by), (None, None));
    assert_eq!(record.bytes_received, text.len() as u64);
    assert!(record.bytes_sent > 5 && record.duration_ms >= record.request_to_target_ms);
    lab.sink.logs.lock().unwrap().clear();

    get(world.at, HOST, "/close").await;
    world.service().auth = Auth::AwsIam { policy: None };
    lab.apply(&mut world).await;
    get(world.at, HOST, "/").await;
    get(world.at, "unknown", "/").await;
    eventually("three records", || lab.sink.logs.lock().unwrap().len() == 3).await;
    let logs = lab.sink.logs.lock().unwrap().clone();
    assert_eq!(
        (logs[0].response_code, logs[0].failure_reason),
        (502, Some("TargetConnectionClosed"))
    );
    assert_eq!(
        (logs[1].response_code, logs[1].failure_reason),
        (403, Some("ClientAccessDenied"))
    );
    assert_eq!((logs[2].response_code, &logs[2].service_arn), (404, &None));
    assert_eq!(logs[2].destinations, ["arn:network"]);
    assert_eq!(
        (logs[1].auth_denied_by, logs[1].target),
        (Some("Service"), None)
    );
}

#[tokio::test]
async fn a_client_that_goes_away_is_logged_as_such() {
    let target = Target::start(|_| Deed::Silence).await;
    let (mut world, _) = World::forwarding(&[target.at]);
    world.service().access_logs.push(destination("arn:service"));
    let lab = Lab::start(config(), &world).await;
    let mut stream = tokio::net::TcpStream::connect(world.at).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("the request arrives", || target.count() == 1).await;
    // The end of the client's side alone would leave it waiting for its answer.
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    eventually("a record", || !lab.sink.logs.lock().unwrap().is_empty()).await;
    let record = lab.sink.logs.lock().unwrap()[0].clone();
    assert_eq!(record.failure_reason, Some("ClientConnectionClosed"));
    eventually("nothing in flight", || {
        lab.handle
            .prometheus()
            .contains("lath_proxy_requests_in_flight 0\n")
    })
    .await;
}

#[tokio::test]
async fn requests_are_counted_by_service_group_and_zone() {
    let target = Target::start(|got| match got.path() {
        "/404" => Deed::Answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        "/302" => Deed::Answer(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        "/500" => Deed::Answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec()),
        _ => ok("x"),
    })
    .await;
    let (world, group) = World::forwarding(&[target.at]);
    let lab = Lab::start(config(), &world).await;
    let mut client = Client::connect(world.at).await;
    for path in ["/", "/", "/302", "/404", "/500"] {
        client.get(HOST, path).await.unwrap();
    }
    let (service, group) = (world.service.as_str(), group.as_str());
    let sum = |name: &str, dimensions: &[(&str, &str)]| lab.sink.sum(name, dimensions);
    eventually("five requests", || {
        sum("TotalRequestCount", &[("Service", service)]) == 5.0
    })
    .await;
    let zone = [("Service", service), ("AvailabilityZone", "us-east-1a")];
    eventually("five in the zone", || {
        sum("TotalRequestCount", &zone) == 5.0
    })
    .await;
    for (name, want) in [
        ("TotalRequestCount", 5.0),
        ("HTTPCode_2XX_Count", 2.0),
        ("HTTPCode_3XX_Count", 1.0),
        ("HTTPCode_4XX_Count", 1.0),
        ("HTTPCode_5XX_Count", 1.0),
        ("TotalConnectionCount", 1.0),
        ("HTTP1_ConnectionCount", 1.0),
        ("ConnectionErrorCount", 0.0),
    ] {
        let what = format!("{name} is {want}");
        eventually(&what, || sum(name, &[("TargetGroup", group)]) == want).await;
    }
    let times: f64 = lab
        .sink
        .metrics
        .lock()
        .unwrap()
        .iter()
        .filter(|sample| sample.name == "RequestTime" && sample.dimensions.len() == 1)
        .filter(|sample| sample.dimensions[0].0 == "Service")
        .map(|sample| sample.count)
        .sum();
    assert_eq!(times, 5.0);
    let text = lab.handle.prometheus();
    let line = format!("lath_service_requests_total{{service=\"{service}\",code=\"2xx\"}} 2\n");
    assert!(text.contains(&line), "{text}");
    let level = format!("lath_target_group_connections_open{{target_group=\"{group}\"}} 1\n");
    assert!(text.contains(&level), "{text}");
}

#[tokio::test]
async fn what_never_had_traffic_is_not_reported() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    let lab = Lab::start(config(), &world).await;
    lab.handle.shutdown(PATIENCE).await;
    assert!(lab.sink.metrics.lock().unwrap().is_empty());
}
