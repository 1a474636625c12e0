//! The front door over real sockets: what HTTP itself can do to it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod keys;
#[path = "../../wire/tests/support/mod.rs"]
mod support;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use lath_clock::Clock;
use lath_door::{FrontDoor, Limits, Peer};
use lath_sigv4::{Payload, Secret, SigningKey, presign, sign};
use lath_wire::FromVpc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A door that is served until it is dropped.
struct Open {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn open(limits: Limits) -> Open {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let internal = |request: Request<Bytes>| {
        let peer = request
            .extensions()
            .get::<Peer>()
            .map(|peer| peer.0.ip().to_string());
        async move { Response::new(Bytes::from(peer.unwrap_or_default())) }.boxed()
    };
    let door = FrontDoor::new(Arc::new(keys::Keys))
        .with_region("us-west-2", support::all())
        .with_internal("/_lath/", internal)
        .with_limits(limits);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(Arc::new(door).serve(listener, stop.clone()));
    Open {
        address,
        stop,
        serving,
    }
}

fn brief() -> Limits {
    Limits {
        body: 10_000,
        head_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(1),
        ..Limits::default()
    }
}

impl Open {
    /// The head and body of a signed POST, as bytes.
    fn signed(&self, service: &str, extra: &[(&'static str, &str)], body: &[u8]) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        headers.insert("host", self.address.to_string().parse().unwrap());
        for (name, value) in extra {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let request = lath_sigv4::Request {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            body: Payload::Bytes(body),
        };
        let secret = Secret::new(keys::SECRET);
        let key = SigningKey {
            access_key_id: keys::KEY,
            secret: &secret,
            session_token: None,
            region: "us-west-2",
            service,
        };
        for (name, value) in sign(&request, &key, Clock::system().system_time()) {
            headers.insert(name, value.parse().unwrap());
        }
        let mut bytes = b"POST / HTTP/1.1\r\n".to_vec();
        for (name, value) in &headers {
            bytes.extend(format!("{name}: {}\r\n", value.to_str().unwrap()).bytes());
        }
        bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
        bytes.extend(body);
        bytes
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Reads until `enough` holds or the connection ends.
async fn read(stream: &mut TcpStream, enough: impl Fn(&str) -> bool) -> String {
    let mut got = Vec::new();
    let mut chunk = [0; 4096];
    let reading = async {
        while !enough(&String::from_utf8_lossy(&got)) {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(count) => got.extend_from_slice(&chunk[..count]),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading)
        .await
        .expect("no answer came");
    String::from_utf8_lossy(&got).into_owned()
}

const IDENTITY: &[u8] = b"Action=GetCallerIdentity&Version=2011-06-15";

fn is_identity(text: &str) -> bool {
    text.contains("</GetCallerIdentityResponse>")
}

#[tokio::test]
async fn one_connection_carries_many_calls() {
    let open = open(Limits::default()).await;
    let mut stream = open.connect().await;
    for _ in 0..3 {
        stream
            .write_all(&open.signed("sts", &[], IDENTITY))
            .await
            .unwrap();
        let answer = read(&mut stream, is_identity).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("x-amzn-requestid: "), "{answer}");
        assert!(answer.contains("\r\ndate: "), "{answer}");
    }
}

#[tokio::test]
async fn expect_continue_is_honoured() {
    let open = open(Limits::default()).await;
    let mut stream = open.connect().await;
    let bytes = open.signed("sts", &[("expect", "100-continue")], IDENTITY);
    let (head, body) = bytes.split_at(bytes.len() - IDENTITY.len());
    stream.write_all(head).await.unwrap();
    let answer = read(&mut stream, |text| text.contains("\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue"), "{answer}");
    stream.write_all(body).await.unwrap();
    let answer = read(&mut stream, is_identity).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

/// Services, and operations that AWS takes unsigned, which are not here: named by the code of their protocol.
#[tokio::test]
async fn what_is_not_served_says_so() {
    let open = open(Limits::default()).await;
    let form = ("content-type", "application/x-www-form-urlencoded");
    let json10 = ("content-type", "application/x-amz-json-1.0");
    let json11 = ("content-type", "application/x-amz-json-1.1");
    let streamed = (
        "x-amz-content-sha256",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    );
    let target = |name| ("x-amz-target", name);
    type Headers<'a> = &'a [(&'static str, &'a str)];
    let signed: &[(&str, Headers<'_>, &str, u16, &str)] = &[
        (
            "elasticloadbalancing",
            &[form],
            "Action=DescribeLoadBalancers&Version=2015-12-01",
            400,
            "<Code>InvalidAction</Code><Message>Lath does not have the service 'elasticloadbalancing' (asked for DescribeLoadBalancers).",
        ),
        (
            "autoscaling",
            &[form],
            "Action=DescribeAutoScalingGroups&Version=2011-01-01",
            400,
            "<Code>InvalidAction</Code>",
        ),
        (
            "s3",
            &[],
            "",
            501,
            "<Error><Code>NotImplemented</Code><Message>Lath does not have the service 's3'.",
        ),
        (
            "s3",
            &[streamed],
            "0;chunk-signature=0",
            501,
            "<Code>NotImplemented</Code>",
        ),
        (
            "cloudfront",
            &[],
            "",
            501,
            "<ErrorResponse><Error><Type>Receiver</Type><Code>NotImplemented</Code>",
        ),
        (
            "dynamodb",
            &[json10, target("DynamoDB_20120810.ListTables")],
            "{}",
            400,
            r#""__type":"UnknownOperationException""#,
        ),
        (
            "kms",
            &[json11, target("TrentService.ListKeys")],
            "{}",
            400,
            r#""__type":"UnknownOperationException""#,
        ),
        (
            "ssm",
            &[json11, target("AmazonSSM.GetParameter")],
            "{}",
            400,
            "(asked for GetParameter)",
        ),
        (
            "lightsail",
            &[("content-type", "application/json")],
            "{}",
            404,
            "x-amzn-errortype: UnknownOperationException",
        ),
        (
            "a-new-one",
            &[("smithy-protocol", "rpc-v2-cbor")],
            "",
            404,
            "UnknownOperationException",
        ),
    ];
    for (service, headers, body, status, want) in signed {
        let bytes = open.signed(service, headers, body.as_bytes());
        expect(&open, &bytes, *status, want).await;
    }
    let unsigned = |host: &str, more: &str, body: &str| {
        let length = body.len();
        format!("POST / HTTP/1.1\r\nhost: {host}\r\n{more}content-length: {length}\r\n\r\n{body}")
    };
    let ask = |action: &str| format!("Action={action}&Version=2011-06-15");
    let cognito = "x-amz-target: AWSCognitoIdentityProviderService.InitiateAuth\r\n";
    let table = [
        (
            unsigned("x", "", &ask("AssumeRoleWithWebIdentity")),
            400,
            "<Code>InvalidAction</Code>",
        ),
        (
            unsigned("x", "", &ask("AssumeRoleWithSAML")),
            400,
            "<Code>InvalidAction</Code>",
        ),
        (
            unsigned("x", "", &ask("GetCallerIdentity")),
            403,
            "<Code>MissingAuthenticationToken</Code>",
        ),
        (
            unsigned("bucket.s3.us-west-2.amazonaws.com", "", ""),
            501,
            "<Code>NotImplemented</Code>",
        ),
        (
            unsigned("x", cognito, "{}"),
            400,
            "UnknownOperationException",
        ),
        (
            unsigned("x", "", ""),
            403,
            "<Code>MissingAuthenticationToken</Code>",
        ),
    ];
    for (bytes, status, want) in table {
        expect(&open, bytes.as_bytes(), status, want).await;
    }
}

async fn expect(open: &Open, bytes: &[u8], status: u16, want: &str) {
    let mut stream = open.connect().await;
    stream.write_all(bytes).await.unwrap();
    let answer = read(&mut stream, |text| text.contains(want)).await;
    let line = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&line), "{want}: {answer}");
}

/// Verifiers of Kubernetes tokens ask so (<https://github.com/kubernetes-sigs/aws-iam-authenticator>).
#[tokio::test]
async fn presigned_requests_to_sts_hold_for_fifteen_minutes_with_any_expiry_or_none() {
    let open = open(Limits::default()).await;
    let host = open.address.to_string();
    let presigned = |ago: u64, expiry: Option<u64>| {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        let request = lath_sigv4::Request {
            method: "GET",
            path: "/",
            query: "Action=GetCallerIdentity&Version=2011-06-15",
            headers: &headers,
            body: Payload::Bytes(b""),
        };
        let secret = Secret::new(keys::SECRET);
        let key = SigningKey {
            access_key_id: keys::KEY,
            secret: &secret,
            session_token: None,
            region: "us-west-2",
            service: "sts",
        };
        let then = Clock::system().system_time() - Duration::from_secs(ago);
        let expiry = expiry.map(Duration::from_secs);
        let query = presign(&request, &key, then, expiry);
        format!("GET /?{query} HTTP/1.1\r\nhost: {host}\r\n\r\n")
    };
    for (ago, expiry, status) in [
        (0, Some(60), 200),
        (800, Some(60), 200),
        (0, None, 200),
        (800, None, 200),
        (1000, Some(60), 403),
        (1000, Some(3600), 403),
        (1000, None, 403),
    ] {
        let want = if status == 200 {
            "</GetCallerIdentityResponse>"
        } else {
            "<Code>SignatureDoesNotMatch</Code>"
        };
        expect(&open, presigned(ago, expiry).as_bytes(), status, want).await;
    }
}

fn gzipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn bodies_are_bounded_and_decompressed() {
    let open = open(brief()).await;
    let gzip = [("content-encoding", "gzip")];
    let cases: &[(&str, Vec<u8>, &str)] = &[
        (
            "gzip",
            open.signed("sts", &gzip, &gzipped(IDENTITY)),
            "HTTP/1.1 200",
        ),
        (
            "gzip bomb",
            open.signed("sts", &gzip, &gzipped(&vec![b'&'; 1 << 20])),
            "HTTP/1.1 413",
        ),
        (
            "not gzip",
            open.signed("sts", &gzip, b"plain"),
            "HTTP/1.1 400",
        ),
        (
            "unknown encoding",
            open.signed("sts", &[("content-encoding", "br")], b"x"),
            "HTTP/1.1 415",
        ),
        (
            "too large",
            open.signed("sts", &[], &vec![b'&'; 20_000]),
            "HTTP/1.1 413",
        ),
    ];
    for (name, bytes, want) in cases {
        let mut stream = open.connect().await;
        // The door may answer and close before all is sent.
        let _ = stream.write_all(bytes).await;
        let answer = read(&mut stream, |text| text.contains("Response>")).await;
        assert!(answer.starts_with(want), "{name}: {answer}");
    }
}

#[tokio::test]
async fn dawdlers_are_cut_off() {
    let open = open(brief()).await;
    let mut silent = open.connect().await;
    silent
        .write_all(b"POST / HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    read(&mut silent, |_| false).await;
    let mut slow = open.connect().await;
    let bytes = open.signed("sts", &[], IDENTITY);
    slow.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
    let answer = read(&mut slow, |text| text.contains("Response>")).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn what_the_host_is_told_is_not_for_vpcs() {
    let internal = |_| async { Response::new(Bytes::from("told")) }.boxed();
    let door = FrontDoor::new(Arc::new(keys::Keys))
        .with_region("us-west-2", support::all())
        .with_internal("/_lath/", internal)
        .with_internal("/id/", internal);
    let ask = async |path: &str, from: Option<FromVpc>| {
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = path.parse().unwrap();
        if let Some(from) = from {
            request.extensions_mut().insert(from);
        }
        let response = door.answer(request, "10.0.0.7:1".parse().unwrap()).await;
        response.body() == "told"
    };
    let from = || FromVpc {
        vpc: lath_model::id::VpcId::random(),
        address: "10.0.0.7".parse().unwrap(),
    };
    assert!(ask("/_lath/status", None).await);
    assert!(!ask("/_lath/status", Some(from())).await);
    assert!(ask("/id/0/keys", Some(from())).await);
}

#[tokio::test]
async fn internal_paths_need_no_signature() {
    let open = open(Limits::default()).await;
    let mut stream = open.connect().await;
    stream
        .write_all(b"GET /_lath/health HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let answer = read(&mut stream, |text| text.ends_with("127.0.0.1")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn connections_past_the_cap_take_the_place_of_idle_ones() {
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    let open = open(limits).await;
    let mut served = open.connect().await;
    served
        .write_all(&open.signed("sts", &[], IDENTITY))
        .await
        .unwrap();
    read(&mut served, is_identity).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(open.connect().await);
    }
    // Half a head, and half a body, are no reason to stay either.
    for bytes in [
        &b"POST / HT"[..],
        b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\na",
    ] {
        let mut slow = open.connect().await;
        slow.write_all(bytes).await.unwrap();
        silent.push(slow);
    }
    let mut last = open.connect().await;
    last.write_all(&open.signed("sts", &[], IDENTITY))
        .await
        .unwrap();
    let answer = read(&mut last, is_identity).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    read(&mut served, |_| false).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_hung_up_on() {
    let open = open(brief()).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for begun in [&b""[..], b"P", b"PRI * HTTP", preface] {
        let mut stream = open.connect().await;
        stream.write_all(begun).await.unwrap();
        read(&mut stream, |_| false).await;
    }
}

#[tokio::test]
async fn a_closed_door_drains() {
    let mut open = open(brief()).await;
    let mut idle = open.connect().await;
    idle.write_all(&open.signed("sts", &[], IDENTITY))
        .await
        .unwrap();
    read(&mut idle, is_identity).await;
    open.stop.cancel();
    let served = tokio::time::timeout(Duration::from_secs(30), &mut open.serving).await;
    served.expect("the door did not close").unwrap().unwrap();
    read(&mut idle, |_| false).await;
    assert!(TcpStream::connect(open.address).await.is_err());
}

#[tokio::test]
async fn http2_prior_knowledge_is_spoken() {
    use http_body_util::{BodyExt as _, Full};
    let open = open(Limits::default()).await;
    let stream = hyper_util::rt::TokioIo::new(open.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    let driving = tokio::spawn(connection);
    let text = open.signed("sts", &[], IDENTITY);
    let text = String::from_utf8(text).unwrap();
    let mut request = Request::post(format!("http://{}/", open.address));
    for line in text.lines().skip(1).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        if name != "host" {
            request = request.header(name, value);
        }
    }
    let request = request
        .body(Full::new(Bytes::from_static(IDENTITY)))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(is_identity(&String::from_utf8_lossy(&body)));
    driving.abort();
}

/// As aws-sdk-rust and Go speak to CloudWatch.
#[tokio::test]
async fn cbor_is_spoken() {
    use lath_wire::format::cbor;
    use lath_wire::{Caller, Doc, Principal};
    let caller = Caller {
        account: "123456789012".into(),
        region: "us-west-2".into(),
        service: "monitoring".into(),
        principal: Principal {
            arn: "arn".into(),
            user_id: "id".into(),
        },
        access_key_id: keys::KEY.into(),
        request_id: "r-1".into(),
        source_ip: None,
        from_vpc: None,
    };
    let text = |text: &str| Doc::String(text.to_owned());
    let moment = Doc::Timestamp(lath_model::Timestamp::from_millis(1_500));
    let ask = |namespace: &str| {
        let members = vec![
            ("Namespace".to_owned(), text(namespace)),
            ("MetricName".to_owned(), text("m")),
            ("StartTime".to_owned(), moment.clone()),
        ];
        Request::post("/service/GraniteServiceVersion20100801/operation/GetMetricStatistics")
            .header("smithy-protocol", "rpc-v2-cbor")
            .header("content-type", "application/cbor")
            .header("x-amzn-query-mode", "true")
            .body(Bytes::from(cbor::write(&Doc::Map(members))))
            .unwrap()
    };
    let service = support::cloudwatch();
    let answer = service.respond(&ask("Toy"), &caller).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["smithy-protocol"], "rpc-v2-cbor");
    let doc = cbor::read(answer.body()).unwrap();
    let points = vec![Doc::Map(vec![
        ("Timestamp".to_owned(), moment.clone()),
        ("Sum".to_owned(), Doc::Float(1.5)),
    ])];
    assert_eq!(doc.get("Datapoints"), Some(&Doc::List(points)));
    let refused = service.respond(&ask("None"), &caller).await;
    assert_eq!(refused.status(), 404);
    assert_eq!(
        refused.headers()["x-amzn-query-error"],
        "ResourceNotFound;Sender"
    );
    let doc = cbor::read(refused.body()).unwrap();
    assert_eq!(
        doc.get("__type"),
        Some(&text("com.amazonaws.cloudwatch#DashboardNotFoundError"))
    );
    assert_eq!(doc.get("message"), Some(&text("no such thing")));
}
