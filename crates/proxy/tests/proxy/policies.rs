//! Who may call: auth policies over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use lath_clock::{Clock, ManualClock};
use lath_feed::Auth;
use lath_policy::{Context, Grammar, Kind, Policy, Principal};
use lath_proxy::{Caller, Callers, ProxyConfig};
use lath_sigv4::{
    Credential, Credentials, LookupError, Payload, Secret, SigningKey, presign, sign,
    sign_asymmetric,
};
use serde_json::{Value, json};

use crate::lab::world::HOST;
use crate::lab::*;

fn policy(statements: Value) -> Auth {
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    Auth::AwsIam {
        policy: Some(document.to_string()),
    }
}

fn allow(condition: Value) -> Value {
    json!({
        "Effect": "Allow", "Principal": "*", "Action": "vpc-lattice-svcs:Invoke", "Resource": "*",
        "Condition": condition
    })
}

fn deny(condition: Value) -> Value {
    let mut statement = allow(condition);
    statement["Effect"] = json!("Deny");
    statement
}

#[tokio::test]
async fn every_condition_is_asked_of_the_request() {
    let target = Target::named("shop").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let lab = Lab::start(config(), &world).await;
    let vpc = world.vpc.to_string();
    let port = world.at.port().to_string();
    let service = world.snapshot.services[&world.service].arn.clone();
    let network = world.snapshot.service_networks[&world.network].arn.clone();
    let key = |name: &str| format!("vpc-lattice-svcs:{name}");
    let equals = |name: &str, value: Value| json!({ "StringEquals": { key(name): value } });
    for (name, condition, want) in [
        (
            "its VPC",
            equals("SourceVpc", json!([vpc, "vpc-other"])),
            200,
        ),
        (
            "another VPC",
            equals("SourceVpc", json!(["vpc-other"])),
            403,
        ),
        (
            "the VPC's owner",
            equals("SourceVpcOwnerAccount", json!("111122223333")),
            200,
        ),
        (
            "another owner",
            equals("SourceVpcOwnerAccount", json!("444455556666")),
            403,
        ),
        ("its method", equals("RequestMethod", json!("GET")), 200),
        ("another method", equals("RequestMethod", json!("PUT")), 403),
        (
            "its path",
            json!({ "StringLike": { key("RequestPath"): "/cart/*" } }),
            200,
        ),
        (
            "another path",
            json!({ "StringLike": { key("RequestPath"): "/admin/*" } }),
            403,
        ),
        (
            "a header",
            equals("RequestHeader/x-team", json!("blue")),
            200,
        ),
        (
            "another header",
            equals("RequestHeader/x-team", json!("red")),
            403,
        ),
        (
            "a header that is not there",
            equals("RequestHeader/x-none", json!("red")),
            403,
        ),
        (
            "a query",
            equals("RequestQueryString/color", json!("a b")),
            200,
        ),
        (
            "another query",
            equals("RequestQueryString/color", json!("c")),
            403,
        ),
        (
            "its port",
            json!({ "NumericEquals": { key("Port"): port } }),
            200,
        ),
        (
            "another port",
            json!({ "NumericEquals": { key("Port"): "1" } }),
            403,
        ),
        (
            "the service",
            json!({ "ArnEquals": { key("ServiceArn"): service } }),
            200,
        ),
        (
            "the network",
            json!({ "ArnEquals": { key("ServiceNetworkArn"): network } }),
            200,
        ),
        (
            "its address",
            json!({ "IpAddress": { "aws:SourceIp": "127.0.0.0/8" } }),
            200,
        ),
        (
            "another address",
            json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }),
            403,
        ),
        (
            "anonymous",
            json!({ "StringEquals": { "aws:PrincipalType": "Anonymous" } }),
            200,
        ),
        (
            "not anonymous",
            json!({ "StringNotEquals": { "aws:PrincipalType": "Anonymous" } }),
            403,
        ),
    ] {
        world.service_network().auth = policy(json!([allow(condition)]));
        lab.apply(&mut world).await;
        let got = request(
            world.at,
            HOST,
            "GET",
            "/cart/1?color=a+b",
            "X-Team: blue\r\n",
        )
        .await;
        assert_eq!(got.status, want, "{name}: {}", got.body);
    }
}

#[tokio::test]
async fn network_and_service_must_both_allow_and_the_log_says_who_did_not() {
    let target = Target::named("shop").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    world
        .service_network()
        .access_logs
        .push(lath_feed::AccessLogDestination {
            id: lath_model::id::AccessLogSubscriptionId::random(),
            destination_arn: "arn:network".to_owned(),
        });
    let lab = Lab::start(config(), &world).await;
    let everyone = || policy(json!([allow(json!({}))]));
    let nobody = || {
        policy(json!([allow(
            json!({ "Bool": { "aws:SecureTransport": "true" } })
        )]))
    };
    let refusing = || policy(json!([allow(json!({})), deny(json!({}))]));
    let broken = || Auth::AwsIam {
        policy: Some("{".to_owned()),
    };
    for (name, network, service, want) in [
        ("both allow", everyone(), everyone(), None),
        ("only one is asked", Auth::None, everyone(), None),
        (
            "the network does not",
            nobody(),
            everyone(),
            Some(("Network", "no network-based policy")),
        ),
        (
            "the service does not",
            everyone(),
            nobody(),
            Some(("Service", "no service-based policy")),
        ),
        (
            "neither",
            nobody(),
            nobody(),
            Some(("Network", "no network-based policy")),
        ),
        (
            "a deny wins",
            nobody(),
            refusing(),
            Some(("Service", "explicit deny in a service-based")),
        ),
        (
            "a broken document",
            broken(),
            everyone(),
            Some(("Network", "no network-based policy")),
        ),
    ] {
        (world.service_network().auth, world.service().auth) = (network, service);
        lab.apply(&mut world).await;
        lab.sink.logs.lock().unwrap().clear();
        let got = get(world.at, HOST, "/cart").await;
        eventually("a record", || lab.sink.logs.lock().unwrap().len() == 1).await;
        let log = lab.sink.logs.lock().unwrap()[0].clone();
        assert_eq!(log.auth_denied_by, want.map(|(by, _)| by), "{name}");
        assert_eq!(
            log.failure_reason,
            want.map(|_| "ClientAccessDenied"),
            "{name}"
        );
        match want {
            None => assert_eq!(got.body, "shop", "{name}"),
            Some((_, text)) => assert!(
                got.status == 403 && got.body.contains(text),
                "{name}: {got:?}"
            ),
        }
    }
}

const REGION: &str = "us-east-1";
const ANN: &str = "arn:aws:iam::111122223333:user/ann";

/// One user with one key.
struct Keys(&'static str);

impl Credentials for Keys {
    type Owner = Caller;

    fn lookup(&self, key: &str, _token: Option<&str>) -> Result<Credential<Caller>, LookupError> {
        if key != "AKIDANN" {
            return Err(LookupError::UnknownKey);
        }
        let own = Policy::parse(self.0, Grammar::Identity).unwrap();
        Ok(Credential {
            secret: Secret::new("hers"),
            owner: Caller {
                principal: Principal::user("111122223333", ANN),
                policies: vec![(Kind::Identity, Arc::new(own))],
                facts: Context::default(),
                tags: [("team".to_owned(), "shop".to_owned())].into(),
            },
        })
    }
}

/// The headers of a request to `/cart`, signed.
fn signed(secret: &str, region: &str, payload: &str) -> String {
    signed_by(payload, |request| {
        sign(
            request,
            &key(&Secret::new(secret), region),
            Clock::system().system_time(),
        )
    })
}

fn key<'a>(secret: &'a Secret, region: &'a str) -> SigningKey<'a> {
    SigningKey {
        access_key_id: "AKIDANN",
        secret,
        session_token: None,
        region,
        service: "vpc-lattice-svcs",
    }
}

fn signed_by(
    payload: &str,
    sign: impl FnOnce(&lath_sigv4::Request<'_>) -> Vec<(&'static str, String)>,
) -> String {
    let mut headers = http::HeaderMap::new();
    headers.insert("host", HOST.parse().unwrap());
    headers.insert("x-amz-content-sha256", payload.parse().unwrap());
    let request = lath_sigv4::Request {
        method: "GET",
        path: "/cart",
        query: "",
        headers: &headers,
        body: Payload::Hash(payload),
    };
    let mut text = format!("X-Amz-Content-Sha256: {payload}\r\n");
    for (name, value) in sign(&request) {
        if name != "x-amz-content-sha256" {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text
}

#[tokio::test]
async fn signatures_prove_who_calls_and_are_checked() {
    const ANY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"vpc-lattice-svcs:*","Resource":"*"}}"#;
    const NOTHING: &str =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
    let unsigned = "UNSIGNED-PAYLOAD";
    let good = || signed("hers", REGION, unsigned);
    for (name, own, headers, want) in [
        ("hers", Some(ANY), good(), None),
        (
            "her own policy does not allow",
            Some(NOTHING),
            good(),
            Some("no identity-based policy"),
        ),
        (
            "nobody knows keys",
            None,
            good(),
            Some("UnrecognizedClientException"),
        ),
        (
            "another secret",
            Some(ANY),
            signed("his", REGION, unsigned),
            Some("InvalidSignature"),
        ),
        (
            "another region",
            Some(ANY),
            signed("hers", "eu-west-1", unsigned),
            Some("scoped to region"),
        ),
        (
            "a signed body",
            Some(ANY),
            signed("hers", REGION, &"0".repeat(64)),
            Some("Signed payloads"),
        ),
        (
            "anonymous",
            Some(ANY),
            String::new(),
            Some("User: anonymous"),
        ),
    ] {
        let target = Target::named("shop").await;
        let (mut world, _) = World::forwarding(&[target.at]);
        world.service().auth = policy(json!([{
            "Effect": "Allow", "Principal": { "AWS": ANN }, "Action": "vpc-lattice-svcs:Invoke",
            "Resource": "*", "Condition": {
                "StringEquals": { "aws:PrincipalTag/Team": "shop" },
                "DateGreaterThan": { "aws:CurrentTime": "2020-01-01T00:00:00Z" },
            }
        }]));
        let callers = own.map(|own| Callers(Arc::new(Keys(own))));
        let config = ProxyConfig {
            callers,
            ..config()
        };
        let logs = &mut world.service().access_logs;
        logs.push(lath_feed::AccessLogDestination {
            id: lath_model::id::AccessLogSubscriptionId::random(),
            destination_arn: "arn:service".to_owned(),
        });
        let lab = Lab::start(config, &world).await;
        let got = request(world.at, HOST, "GET", "/cart", &headers).await;
        eventually("a record", || lab.sink.logs.lock().unwrap().len() == 1).await;
        let log = lab.sink.logs.lock().unwrap()[0].clone();
        let proved = want.is_none_or(|text| text.contains("identity-based"));
        let caller = proved.then(|| ANN.to_owned());
        assert_eq!(log.caller_principal, caller, "{name}");
        assert_eq!(log.caller_tags.contains_key("team"), proved, "{name}");
        let resolved = match name {
            "anonymous" => "Anonymous",
            _ if proved => ANN,
            _ => "Unknown",
        };
        assert_eq!(log.resolved_user.as_deref(), Some(resolved), "{name}");
        match want {
            None => {
                assert_eq!(got.body, "shop", "{name}: {got:?}");
                let seen = target.last();
                let identity = header(&seen.head, "x-amzn-lattice-identity").unwrap();
                assert!(identity.contains(ANN), "{name}: {identity}");
            }
            Some(text) => assert!(
                got.status == 403 && got.body.contains(text),
                "{name}: {got:?}"
            ),
        }
    }
}

#[tokio::test]
async fn asymmetric_and_presigned_signatures_are_believed() {
    const ANY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"vpc-lattice-svcs:*","Resource":"*"}}"#;
    let target = Target::named("shop").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    world.service().auth = policy(json!([{
        "Effect": "Allow", "Principal": { "AWS": ANN }, "Action": "*", "Resource": "*"
    }]));
    let hands = ManualClock::at(Clock::system().now());
    let config = ProxyConfig {
        callers: Some(Callers(Arc::new(Keys(ANY)))),
        clock: hands.clock(),
        ..config()
    };
    let lab = Lab::start(config, &world).await;
    let hers = Secret::new("hers");
    let asymmetric = |regions: &str| {
        signed_by("UNSIGNED-PAYLOAD", |request| {
            sign_asymmetric(
                request,
                &key(&hers, ""),
                regions,
                hands.clock().system_time(),
            )
        })
    };
    let mut host = http::HeaderMap::new();
    host.insert("host", HOST.parse().unwrap());
    let presigned = |body: Payload<'_>| {
        let request = lath_sigv4::Request {
            method: "GET",
            path: "/cart",
            query: "x=1",
            headers: &host,
            body,
        };
        let now = hands.clock().system_time();
        let minute = Some(Duration::from_secs(60));
        format!(
            "/cart?{}",
            presign(&request, &key(&hers, REGION), now, minute)
        )
    };
    let unsigned = || presigned(Payload::Unsigned);
    let bearer = "Authorization: Bearer of-the-target\r\n";
    let table = [
        ("a region", "/cart".into(), asymmetric(REGION), None),
        ("every region", "/cart".into(), asymmetric("*"), None),
        (
            "some regions",
            "/cart".into(),
            asymmetric("eu-*,us-east-*"),
            None,
        ),
        (
            "another region",
            "/cart".into(),
            asymmetric("eu-*"),
            Some("scoped to region"),
        ),
        ("presigned", unsigned(), String::new(), None),
        (
            "presigned, and a token for the target",
            unsigned(),
            bearer.into(),
            None,
        ),
        (
            "presigned, changed",
            unsigned() + "&y=1",
            String::new(),
            Some("InvalidSignature"),
        ),
        (
            "presigned with its body",
            presigned(Payload::Bytes(b"")),
            String::new(),
            Some("InvalidSignature"),
        ),
        (
            "a token for the target alone",
            "/cart".into(),
            bearer.into(),
            Some("anonymous"),
        ),
    ];
    for (name, target, headers, want) in table {
        let target: String = target;
        let got = request(world.at, HOST, "GET", &target, &headers).await;
        match want {
            None => assert_eq!(got.body, "shop", "{name}: {got:?}"),
            Some(text) => assert!(
                got.status == 403 && got.body.contains(text),
                "{name}: {got:?}"
            ),
        }
    }
    let (late, soon) = (unsigned(), Duration::from_secs(59));
    for (after, want) in [(soon, 200), (Duration::from_secs(2), 403)] {
        hands.advance(after);
        let got = request(world.at, HOST, "GET", &late, "").await;
        assert_eq!(got.status, want, "{got:?}");
        assert!(want == 200 || got.body.contains("expired"), "{got:?}");
    }
    drop(lab);
}

#[tokio::test]
async fn a_path_that_a_target_may_read_as_another_is_refused() {
    let target = Target::named("shop").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let service = world.snapshot.services[&world.service].arn.clone();
    world.service().auth = policy(json!([{
        "Effect": "Allow", "Principal": "*", "Action": "vpc-lattice-svcs:Invoke",
        "Resource": format!("{service}/ok/*")
    }]));
    let lab = Lab::start(config(), &world).await;
    let absolute = format!("http://{HOST}/ok/../no");
    let table = [
        ("/ok/1", 200),
        ("/ok/1?x=/no", 200),
        ("/ok/a%2Fb", 200),
        ("/no", 403),
        ("/ok/../no", 403),
        ("/ok/%2e%2e/no", 403),
        ("/ok/%252e%252e/no", 403),
        ("/ok/..%2fno", 403),
        ("/ok/..;/no", 403),
        ("/ok//../../no", 403),
        (absolute.as_str(), 403),
    ];
    for (path, want) in table {
        let got = request(world.at, HOST, "GET", path, "").await;
        assert_eq!(got.status, want, "{path}: {got:?}");
    }
    drop(lab);
}
