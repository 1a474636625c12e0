//! Traffic policies of rules: heads, redirects, timeouts, retries, copies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use lath_feed::Auth;
use lath_model::id::TargetGroupId;
use lath_model::lattice::*;
use lath_model::traffic::*;
use lath_proxy::ProxyConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::lab::target::Deed;
use crate::lab::world::HOST;
use crate::lab::*;

fn fields(given: &[(&str, &str)]) -> Vec<(String, String)> {
    let given = given.iter();
    given
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn prefix(from: &str, to: &str) -> PathChange {
    PathChange::Prefix {
        from: from.into(),
        to: to.into(),
    }
}

fn retry(attempts: u8, codes: &[u16]) -> Option<Retry> {
    Some(Retry {
        attempts,
        codes: codes.to_vec(),
        backoff: Duration::from_millis(1),
        budget_percent: 20,
    })
}

fn redirect(status: u16) -> Redirect {
    Redirect {
        scheme: None,
        hostname: None,
        port: None,
        path: None,
        status,
    }
}

/// Gives the default rule a policy.
fn obey(world: &mut World, policy: TrafficPolicy) {
    let listener = world.listener();
    let rule = listener.default_rule.clone();
    listener.traffic.insert(rule, policy);
}

/// A status without a body.
fn status(code: u16) -> Deed {
    Deed::Answer(format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n").into())
}

/// Answers with these statuses one after another, and 200 from then on.
async fn failing(codes: &'static [u16]) -> Target {
    let turn = AtomicUsize::new(0);
    Target::start(move |_| match codes.get(turn.fetch_add(1, Relaxed)) {
        Some(code) => status(*code),
        None => ok("done"),
    })
    .await
}

#[tokio::test]
async fn targets_and_clients_see_what_the_policy_makes_of_heads() {
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: t\r\nX-Old: 1\r\nX-Kept: 1\r\n\r\nok";
    let target = Target::start(move |_| Deed::Answer(answer.into())).await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let policy = TrafficPolicy {
        request_headers: HeaderEdits {
            set: fields(&[("X-Env", "prod"), ("user-agent", "lath")]),
            add: fields(&[("x-tag", "b")]),
            remove: vec!["Cookie".into()],
        },
        response_headers: HeaderEdits {
            set: fields(&[("x-old", "2")]),
            add: fields(&[("x-kept", "2"), ("x-new", "3")]),
            remove: vec!["server".into()],
        },
        rewrite: Some(Rewrite {
            hostname: Some("inner.example".into()),
            path: Some(prefix("/shop", "/v2/shop")),
        }),
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let _lab = Lab::start(config(), &world).await;
    let headers = "Cookie: a=1\r\nX-Env: x\r\nX-Env: y\r\nX-Tag: a\r\nUser-Agent: curl\r\n";
    let got = request(world.at, HOST, "GET", "/shop/cart?q=/shop", headers).await;
    assert_eq!((got.status, got.body.as_str()), (200, "ok"));
    assert_eq!(got.header("x-old"), Some("2"));
    assert_eq!(got.header("x-new"), Some("3"));
    assert_eq!(got.header("server"), None);
    assert_eq!(got.head.to_lowercase().matches("x-kept:").count(), 2);
    assert!(got.header("x-amzn-requestid").is_some());
    let seen = target.last();
    assert_eq!(seen.path(), "/v2/shop/cart?q=/shop");
    assert_eq!(seen.header("host"), Some("inner.example"));
    assert_eq!(seen.head.to_lowercase().matches("\r\nhost:").count(), 1);
    assert_eq!(seen.header("x-env"), Some("prod"));
    assert_eq!(seen.head.to_lowercase().matches("x-env:").count(), 1);
    assert_eq!(seen.head.to_lowercase().matches("x-tag:").count(), 2);
    assert_eq!(seen.header("user-agent"), Some("lath"));
    assert_eq!(seen.header("cookie"), None);
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    let lattice = seen.header("x-amzn-lattice-target").unwrap();
    assert!(lattice.contains("TargetGroupArn="), "{lattice}");
    for (asked, want) in [
        ("/shop", "/v2/shop"),
        ("/shopping", "/shopping"),
        ("/", "/"),
    ] {
        get(world.at, HOST, asked).await;
        assert_eq!(target.last().path(), want);
    }
}

#[tokio::test]
async fn targets_that_speak_http2_see_it_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (asked_tx, mut asked_rx) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let asked_tx = asked_tx.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let count = |name: &str| request.headers().get_all(name).iter().count();
                    let vouched = (count("x-forwarded-for"), count("x-amzn-lattice-target"));
                    let env = request.headers().get("x-env").cloned();
                    asked_tx
                        .send((request.uri().to_string(), env, vouched))
                        .unwrap();
                    respond
                        .send_response(http::Response::new(()), true)
                        .unwrap();
                }
            });
        }
    });
    let plain = Target::named("copy").await;
    let (mut world, group) = World::forwarding(&[at]);
    world.target_group(&group).protocol_version = Some(ProtocolVersion::Http2);
    let copies = [world.group(&[plain.at]), group];
    let mirrors = copies.map(|target_group| Mirror {
        target_group,
        percent: 100,
    });
    let policy = TrafficPolicy {
        request_headers: HeaderEdits {
            set: fields(&[("x-env", "prod")]),
            ..HeaderEdits::default()
        },
        rewrite: Some(Rewrite {
            hostname: Some("inner.example".into()),
            path: Some(PathChange::Full("/all".into())),
        }),
        mirrors: mirrors.into(),
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let converts = ProxyConfig {
        converts: true,
        ..config()
    };
    let _lab = Lab::start(converts, &world).await;
    assert_eq!(get(world.at, HOST, "/a/b?c").await.status, 200);
    for _ in 0..2 {
        let (uri, env, vouched) = asked_rx.recv().await.unwrap();
        assert_eq!(uri, "http://inner.example/all?c");
        assert_eq!(env.unwrap(), "prod");
        assert_eq!(vouched, (1, 1));
    }
    eventually("a copy over HTTP/1.1", || plain.count() == 1).await;
    let seen = plain.last();
    assert_eq!(
        (seen.path(), seen.header("host")),
        ("/all?c", Some("inner.example"))
    );
    for name in [
        "x-forwarded-for:",
        "x-amzn-lattice-target:",
        "x-amzn-requestid:",
        "\r\nhost:",
    ] {
        assert_eq!(seen.head.to_lowercase().matches(name).count(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_redirect_answers_and_no_target_is_asked() {
    let target = Target::named("never").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let policy = TrafficPolicy {
        redirect: Some(Redirect {
            scheme: Some(Scheme::Https),
            path: Some(prefix("/old", "/new")),
            ..redirect(308)
        }),
        response_headers: HeaderEdits {
            set: fields(&[("strict-transport-security", "max-age=1")]),
            ..HeaderEdits::default()
        },
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let lab = Lab::start(config(), &world).await;
    let got = get(world.at, HOST, "/old/a?b=c").await;
    assert_eq!((got.status, got.body.as_str()), (308, ""));
    let location = format!("https://{HOST}/new/a?b=c");
    assert_eq!(got.header("location"), Some(location.as_str()));
    assert_eq!(got.header("content-length"), Some("0"));
    assert!(got.header("strict-transport-security").is_some());
    // The connection goes on, also after a body that nothing reads.
    let mut client = Client::connect(world.at).await;
    let post = format!("POST /old HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.ask(&post).await.unwrap().status, 308);
    assert_eq!(client.get(HOST, "/").await.unwrap().status, 308);
    obey(
        &mut world,
        TrafficPolicy {
            redirect: Some(redirect(302)),
            ..TrafficPolicy::default()
        },
    );
    lab.apply(&mut world).await;
    let got = get(world.at, HOST, "/old").await;
    let location = format!("http://{HOST}:{}/old", world.at.port());
    assert_eq!(
        (got.status, got.header("location")),
        (302, Some(location.as_str()))
    );
    // Who may not call learns nothing of where to.
    world.service().auth = Auth::AwsIam { policy: None };
    lab.apply(&mut world).await;
    let got = get(world.at, HOST, "/old").await;
    assert_eq!((got.status, got.header("location")), (403, None));
    assert_eq!(target.count(), 0);
}

#[tokio::test]
async fn a_fixed_response_may_have_headers_and_a_policy_that_cannot_be_obeyed_is_not_left_out() {
    let target = Target::named("never").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let set = |name: &str| HeaderEdits {
        set: fields(&[(name, "1")]),
        ..HeaderEdits::default()
    };
    let forged = TrafficPolicy {
        request_headers: set("x-amzn-lattice-identity"),
        ..TrafficPolicy::default()
    };
    obey(&mut world, forged);
    let lab = Lab::start(config(), &world).await;
    assert_eq!(get(world.at, HOST, "/").await.status, 500);
    assert_eq!(target.count(), 0);
    world.default_action(Action::FixedResponse(404));
    let policy = TrafficPolicy {
        response_headers: set("x-why"),
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    lab.apply(&mut world).await;
    let got = get(world.at, HOST, "/").await;
    assert_eq!((got.status, got.header("x-why")), (404, Some("1")));
}

#[tokio::test]
async fn the_policy_is_asked_about_the_request_as_it_came() {
    let target = Target::named("shop").await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let document = serde_json::json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "vpc-lattice-svcs:Invoke", "Resource": "*",
        "Condition": { "StringEquals": { "vpc-lattice-svcs:RequestHeader/x-env": "mine" } }
    }]});
    world.service().auth = Auth::AwsIam {
        policy: Some(document.to_string()),
    };
    let policy = TrafficPolicy {
        request_headers: HeaderEdits {
            set: fields(&[("x-env", "mine")]),
            ..HeaderEdits::default()
        },
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let _lab = Lab::start(config(), &world).await;
    assert_eq!(get(world.at, HOST, "/").await.status, 403);
    let got = request(world.at, HOST, "GET", "/", "x-env: mine\r\n").await;
    assert_eq!(got.status, 200);
    assert_eq!(target.count(), 1);
}

fn timeouts(request: Option<u64>, backend_request: Option<u64>) -> Timeouts {
    Timeouts {
        request: request.map(Duration::from_millis),
        backend_request: backend_request.map(Duration::from_millis),
    }
}

#[tokio::test]
async fn a_target_that_takes_too_long_is_not_waited_for() {
    let silent = Target::start(|_| Deed::Silence).await;
    for limits in [
        timeouts(Some(80), None),
        timeouts(None, Some(80)),
        timeouts(Some(500), Some(80)),
    ] {
        let (mut world, _) = World::forwarding(&[silent.at]);
        let policy = TrafficPolicy {
            timeouts: limits,
            ..TrafficPolicy::default()
        };
        obey(&mut world, policy);
        let _lab = Lab::start(config(), &world).await;
        let got = get(world.at, HOST, "/").await;
        assert_eq!(
            (got.status, got.body.as_str()),
            (504, "Gateway Timeout\n"),
            "{limits:?}"
        );
    }
}

#[tokio::test]
async fn a_response_that_takes_too_long_breaks_off() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegin";
    let slow = Target::start(move |_| Deed::Answer(head.into())).await;
    let (mut world, _) = World::forwarding(&[slow.at]);
    let policy = TrafficPolicy {
        timeouts: timeouts(Some(150), None),
        // No try follows once something of an answer has gone.
        retry: retry(3, &[500]),
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let _lab = Lab::start(config(), &world).await;
    let got = get(world.at, HOST, "/").await;
    assert_eq!((got.status, got.body.as_str()), (200, "begin"));
    assert_eq!(slow.count(), 1);
}

#[tokio::test]
async fn a_client_that_takes_an_answer_slowly_has_no_longer() {
    const LENGTH: usize = 64 << 20;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + LENGTH, b'x');
    let target = Target::start(move |_| Deed::Answer(answer.clone())).await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let policy = TrafficPolicy {
        timeouts: timeouts(Some(150), None),
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let _lab = Lab::start(config(), &world).await;
    let mut client = tokio::net::TcpStream::connect(world.at).await.unwrap();
    let ask = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    client.write_all(ask.as_bytes()).await.unwrap();
    let (mut got, mut buffer) = (0, vec![0; 128 << 10]);
    // There is always more from the target than the client takes.
    while let Ok(count @ 1..) = client.read(&mut buffer).await {
        got += count;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((1..LENGTH).contains(&got), "{got}");
}

#[tokio::test]
async fn a_status_that_another_try_may_better_is_not_the_clients() {
    let target = failing(&[503, 502]).await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let policy = TrafficPolicy {
        retry: retry(2, &[502, 503]),
        request_headers: HeaderEdits {
            add: fields(&[("x-once", "1")]),
            ..HeaderEdits::default()
        },
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let lab = Lab::start(config(), &world).await;
    let got = request(world.at, HOST, "PUT", "/a?b", "Content-Length: 0\r\n").await;
    assert_eq!((got.status, got.body.as_str()), (200, "done"));
    let seen = target.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 3);
    for got in &seen {
        assert_eq!(got.path(), "/a?b");
        for name in [
            "x-once:",
            "x-forwarded-for:",
            "\r\nhost:",
            "x-amzn-requestid:",
        ] {
            assert_eq!(
                got.head.to_lowercase().matches(name).count(),
                1,
                "{}",
                got.head
            );
        }
    }
    // Connections of answers that ended are used again.
    assert_eq!(target.connections.load(Relaxed), 1);
    assert!(
        lab.handle
            .prometheus()
            .contains("lath_proxy_retries_total 2")
    );
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_not_and_tries_have_an_end() {
    let target = Target::start(|_| status(503)).await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let policy = TrafficPolicy {
        retry: retry(2, &[503]),
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let _lab = Lab::start(config(), &world).await;
    for (method, body, tries) in [
        ("GET", "", 3),
        ("DELETE", "", 3),
        ("POST", "", 1),
        ("PATCH", "", 1),
        ("PUT", "abc", 1),
    ] {
        let before = target.count();
        let length = body.len();
        let text = format!(
            "{method} / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        assert_eq!(send_raw(world.at, text.as_bytes()).await.status, 503);
        assert_eq!(target.count() - before, tries, "{method} {body}");
    }
}

#[tokio::test]
async fn another_target_comes_first_when_one_has_failed() {
    let bad = Target::start(|_| Deed::Close).await;
    let silent = Target::start(|_| Deed::Silence).await;
    let good = Target::named("good").await;
    let (mut world, _) = World::forwarding(&[bad.at, silent.at, good.at]);
    let policy = TrafficPolicy {
        retry: retry(2, &[]),
        timeouts: timeouts(Some(30_000), Some(200)),
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let _lab = Lab::start(config(), &world).await;
    for _ in 0..6 {
        let got = get(world.at, HOST, "/").await;
        assert_eq!((got.status, got.body.as_str()), (200, "good"));
    }
}

#[tokio::test]
async fn retries_have_a_budget() {
    let target = Target::start(|_| status(503)).await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let policy = TrafficPolicy {
        retry: retry(1, &[503]),
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let _lab = Lab::start(config(), &world).await;
    let begun = std::time::Instant::now();
    let mut client = Client::connect(world.at).await;
    for _ in 0..100 {
        assert_eq!(client.get(HOST, "/").await.unwrap().status, 503);
    }
    // The reserve, a fifth of the requests, and one in a second.
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    let retries = target.count() - 100;
    assert!((20..=31 + seconds).contains(&retries), "{retries}");
}

fn mirror(group: &TargetGroupId, percent: u8) -> Mirror {
    Mirror {
        target_group: group.clone(),
        percent,
    }
}

#[tokio::test]
async fn copies_go_to_other_groups_and_their_answers_nowhere() {
    let target = Target::named("real").await;
    let copy = Target::start(|_| status(500)).await;
    let half = Target::named("half").await;
    let stuck = Target::start(|_| Deed::Silence).await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let groups = [copy.at, half.at, stuck.at].map(|at| world.group(&[at]));
    let gone = TargetGroupId::random();
    let policy = TrafficPolicy {
        mirrors: vec![
            mirror(&groups[0], 100),
            mirror(&groups[1], 50),
            mirror(&groups[2], 100),
            mirror(&gone, 100),
        ],
        rewrite: Some(Rewrite {
            hostname: None,
            path: Some(PathChange::Full("/all".into())),
        }),
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let _lab = Lab::start(config(), &world).await;
    for _ in 0..20 {
        assert_eq!(get(world.at, HOST, "/a").await.body, "real");
    }
    eventually("copies", || copy.count() == 20).await;
    eventually("half of the copies", || half.count() == 10).await;
    let seen = copy.last();
    assert_eq!((seen.path(), seen.header("host")), ("/all", Some(HOST)));
    assert!(
        seen.header("x-amzn-lattice-target")
            .unwrap()
            .contains(groups[0].as_str())
    );
    let length = "Content-Length: 5\r\n\r\nwhole";
    let chunks = "Transfer-Encoding: chunked\r\n\r\n2\r\nwh\r\n3\r\nole\r\n0\r\n\r\n";
    for (number, body) in [(21, length), (22, chunks)] {
        let text = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{body}");
        assert_eq!(send_raw(world.at, text.as_bytes()).await.body, "real");
        eventually("a copy with its body", || copy.count() == number).await;
        let seen = copy.last();
        assert_eq!(
            (seen.body.as_slice(), seen.header("content-length")),
            (&b"whole"[..], Some("5"))
        );
    }
    // A long body is its target's alone.
    let long = "x".repeat(200_000);
    let text = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n{long}"
    );
    assert_eq!(send_raw(world.at, text.as_bytes()).await.body, "real");
    assert_eq!(target.last().body.len(), 200_000);
    assert_eq!(get(world.at, HOST, "/a").await.body, "real");
    eventually("the next copy", || copy.count() == 23).await;
}

#[tokio::test]
async fn a_client_does_not_wait_for_a_copy() {
    let target = Target::named("real").await;
    let go = Arc::new(Notify::new());
    let cue = Arc::clone(&go);
    let late =
        Target::start(move |_| Deed::When(Arc::clone(&cue), b"HTTP/1.1 204 X\r\n\r\n".to_vec()))
            .await;
    let (mut world, _) = World::forwarding(&[target.at]);
    let group = world.group(&[late.at]);
    let policy = TrafficPolicy {
        mirrors: vec![mirror(&group, 100)],
        ..TrafficPolicy::default()
    };
    obey(&mut world, policy);
    let lab = Lab::start(config(), &world).await;
    assert_eq!(get(world.at, HOST, "/").await.body, "real");
    eventually("a copy", || late.count() == 1).await;
    go.notify_one();
    let line =
        format!("lath_target_group_requests_total{{target_group=\"{group}\",code=\"2xx\"}} 1");
    eventually("the copy is counted", || {
        lab.handle.prometheus().contains(&line)
    })
    .await;
}
