use super::*;

fn key() -> SessionKey {
    SessionKey("A".repeat(44))
}

#[test]
fn all_members_are_read_and_have_defaults() {
    let text = r#"{
        "requestHeaders": {"set": {"x-a": "1"}, "add": {"x-b": "2"}, "remove": ["x-c"]},
        "responseHeaders": {"remove": ["server"]},
        "urlRewrite": {"hostname": "a.example", "path": {"prefix": "/a/", "replacePrefixMatch": "/"}},
        "timeouts": {"request": "10s", "backendRequest": "2s"},
        "retry": {"attempts": 2, "codes": [502, 503]},
        "mirrors": [{"targetGroupIdentifier": "tg-1"}],
        "sessionPersistence": {"sessionName": "sid", "absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}},
        "rateLimits": [{"requests": 5}, {"requests": 7, "per": "1m", "burst": 2, "key": "header", "header": "x-user", "scope": "global"}]
    }"#;
    let written = Written::read(text).unwrap();
    assert_eq!(written.mirrored().collect::<Vec<_>>(), ["tg-1"]);
    let group = TargetGroupId::random();
    let policy = written.policy(vec![group.clone()], key()).unwrap();
    assert_eq!(policy.request_headers.set, [("x-a".into(), "1".into())]);
    assert_eq!(policy.request_headers.add, [("x-b".into(), "2".into())]);
    assert_eq!(policy.request_headers.remove, ["x-c"]);
    assert_eq!(policy.response_headers.remove, ["server"]);
    let rewrite = policy.rewrite.unwrap();
    assert_eq!(rewrite.hostname.as_deref(), Some("a.example"));
    let path = PathChange::Prefix {
        from: "/a".into(),
        to: String::new(),
    };
    assert_eq!(rewrite.path, Some(path));
    assert_eq!(
        policy.timeouts.backend_request,
        Some(Duration::from_secs(2))
    );
    let retry = policy.retry.unwrap();
    assert_eq!((retry.backoff, retry.budget_percent), (BACKOFF, BUDGET));
    let mirror = Mirror {
        target_group: group,
        percent: 100,
    };
    assert_eq!(policy.mirrors, [mirror]);
    let session = policy.session.unwrap();
    assert_eq!(session.name.as_deref(), Some("sid"));
    assert!(session.permanent && session.target_group && session.kind == SessionKind::Cookie);
    let [all, own] = policy.limits.as_slice() else {
        panic!("{:?}", policy.limits);
    };
    assert_eq!(
        (all.burst, all.per, &all.key),
        (5, Duration::from_secs(1), &RateKey::All)
    );
    assert_eq!(
        (own.burst, &own.key),
        (2, &RateKey::Header("x-user".into()))
    );
    assert_eq!(
        (all.scope, own.scope),
        (RateScope::Local, RateScope::Global)
    );
    let redirect = Written::read(r#"{"redirect":{"scheme":"https"}}"#).unwrap();
    let redirect = redirect
        .policy(Vec::new(), key())
        .unwrap()
        .redirect
        .unwrap();
    assert_eq!(
        (redirect.scheme, redirect.status),
        (Some(Scheme::Https), 302)
    );
}

#[test]
fn groups_have_filters_of_their_own_and_some_requests_fail() {
    let text = r#"{"mirrors":[{"targetGroupIdentifier":"tg-1"}],"failure":{"weight":3},
        "targetGroups":[{"targetGroupIdentifier":"tg-2","requestHeaders":{"set":{"x-a":"1"}},"urlRewrite":{"hostname":"b.example"},
            "mirrors":[{"targetGroupIdentifier":"tg-3","percent":5}]},{"targetGroupIdentifier":"tg-4","responseHeaders":{"remove":["x-b"]}}],
        "cors":{"allowOrigins":["https://*.example"],"allowCredentials":true}}"#;
    let written = Written::read(text).unwrap();
    let named: Vec<_> = written.mirrored().collect();
    assert_eq!(named, ["tg-1", "tg-2", "tg-3", "tg-4"]);
    let ids: Vec<_> = named.iter().map(|_| TargetGroupId::random()).collect();
    let policy = written.policy(ids.clone(), key()).unwrap();
    let [one, two] = policy.groups.as_slice() else {
        panic!("{:?}", policy.groups);
    };
    assert_eq!((&one.target_group, &two.target_group), (&ids[1], &ids[3]));
    assert_eq!(one.mirrors[0].target_group, ids[2]);
    assert_eq!(two.response_headers.remove, ["x-b"]);
    let copies: Vec<_> = policy.mirrored().collect();
    assert_eq!(copies, [&ids[0], &ids[2]]);
    let failure = policy.failure.unwrap();
    assert_eq!((failure.weight, failure.status), (3, 500));
    let cors = policy.cors.unwrap();
    assert!(cors.allow_credentials && cors.max_age == 5 && cors.allows("https://a.example"));
    for (text, want) in [
        (r#"{"failure":{"weight":0}}"#, "failure.weight"),
        (
            r#"{"failure":{"weight":1,"statusCode":200}}"#,
            "failure.statusCode",
        ),
        (r#"{"cors":{}}"#, "cors.allowOrigins"),
        (r#"{"cors":{"allowOrigins":["a"]}}"#, "cors.allowOrigins"),
        (
            r#"{"cors":{"allowOrigins":["*"],"allowMethods":["a b"]}}"#,
            "cors.allowMethods",
        ),
        (
            r#"{"targetGroups":[{"targetGroupIdentifier":"tg-1","urlRewrite":{"hostname":"A"}}]}"#,
            "targetGroups.0.urlRewrite.hostname",
        ),
    ] {
        let written = Written::read(text).expect(text);
        let named: Vec<_> = written
            .mirrored()
            .map(|_| TargetGroupId::random())
            .collect();
        let got = written.policy(named, key()).expect_err(text).to_string();
        assert!(got.contains(want), "{text}: {got}");
    }
}

#[test]
fn what_is_not_known_is_refused_with_its_place() {
    for (text, want) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("[]", "expected an object"),
        ("{\"redirect\":[\"https\"]}", "expected an object"),
        (
            "{\"a\":1}",
            "unknown field `a`, expected one of `requestHeaders`",
        ),
        ("{\"timeouts\":{\"request\":5}}", "expected a string"),
        (
            "{\"timeouts\":{\"request\":\"5\"}}",
            "\"5\" is no duration such as 500ms",
        ),
        (
            "{\"timeouts\":{},\"timeouts\":{}}",
            "duplicate field `timeouts`",
        ),
        ("{\"retry\":{}}", "missing field `attempts`"),
        ("{\"redirect\":{\"port\":70000}}", "expected u16"),
        (
            "{\"redirect\":{\"scheme\":\"ftp\"}}",
            "unknown variant `ftp`, expected `http` or `https`",
        ),
        (
            "{\"requestHeaders\":{\"set\":[]}}",
            "headers as a map of names to values",
        ),
        ("{} {}", "trailing characters at line 1 column 4"),
    ] {
        let got = Written::read(text).expect_err(text);
        assert!(got.contains(want), "{text}: {got}");
    }
    for (text, want) in [
        ("{}", "{}: it says nothing"),
        (
            "{\"urlRewrite\":{\"path\":{}}}",
            "urlRewrite.path: give either replaceFullPath",
        ),
        (
            "{\"urlRewrite\":{\"path\":{\"prefix\":\"/a\"}}}",
            "urlRewrite.path: give either replaceFullPath",
        ),
        (
            "{\"requestHeaders\":{\"set\":{\"host\":\"a\"}}}",
            "urlRewrite.hostname",
        ),
        (
            "{\"rateLimits\":[{\"requests\":0}]}",
            "rateLimits.0.requests: give 1 to",
        ),
        (
            "{\"rateLimits\":[{\"requests\":1,\"key\":\"header\"}]}",
            "rateLimits.0.header",
        ),
        (
            "{\"sessionPersistence\":{\"sessionName\":\"a;b\"}}",
            "sessionPersistence.sessionName",
        ),
        (
            "{\"sessionPersistence\":{\"type\":\"Header\",\"sessionName\":\"Host\"}}",
            "sessionPersistence.sessionName",
        ),
        (
            "{\"sessionPersistence\":{\"cookieConfig\":{\"lifetimeType\":\"Permanent\"}}}",
            "sessionPersistence.absoluteTimeout",
        ),
        (
            "{\"requestHeaders\":{\"set\":{\"x-a\":\"1\",\"X-A\":\"2\"}}}",
            "requestHeaders.set: \"x-a\" stands here more than once",
        ),
    ] {
        let written = Written::read(text).expect(text);
        let got = written
            .policy(Vec::new(), key())
            .expect_err(text)
            .to_string();
        assert!(got.contains(want), "{text}: {got}");
    }
    let deep = "[".repeat(2000);
    assert!(Written::read(&deep).is_err());
    assert!(Written::read(&format!("{{\"mirrors\":{deep}")).is_err());
}
