use super::*;

fn prefix(from: &str, to: &str) -> PathChange {
    PathChange::Prefix {
        from: from.into(),
        to: to.into(),
    }
}

#[test]
fn prefixes_are_replaced_in_whole_segments() {
    // The first lines are the table of https://gateway-api.sigs.k8s.io/reference/spec/#httppathmodifier
    for (from, to, path, want) in [
        ("/foo", "/xyz", "/foo/bar", Some("/xyz/bar")),
        ("/foo", "/xyz", "/foo/", Some("/xyz/")),
        ("/foo", "/xyz", "/foo", Some("/xyz")),
        ("/foo", "", "/foo/bar", Some("/bar")),
        ("/foo", "", "/foo/", Some("/")),
        ("/foo", "", "/foo", Some("/")),
        ("", "/xyz", "/foo", Some("/xyz/foo")),
        ("", "/xyz", "/", Some("/xyz/")),
        ("/foo", "/xyz", "/foobar", None),
        ("/foo", "/xyz", "/FOO/bar", Some("/xyz/bar")),
        ("/foo", "/xyz", "/fo", None),
        ("/foo", "/xyz", "*", None),
        ("", "/xyz", "*", None),
    ] {
        let got = prefix(from, to).of(path);
        assert_eq!(got.as_deref(), want, "{from} -> {to}: {path}");
    }
    let full = PathChange::Full("/x".into());
    assert_eq!(full.of("/any/thing").as_deref(), Some("/x"));
}

#[test]
fn what_frames_vouches_or_imitates_is_not_a_rules_to_change() {
    for (name, may) in [
        ("x-env", true),
        ("X_Env", true),
        ("authorization", true),
        ("content-type", true),
        ("Content-Type", true),
        ("content_type", false),
        ("Host", false),
        ("content_length", false),
        ("Transfer-Encoding", false),
        ("te", false),
        ("upgrade", false),
        ("expect", false),
        ("X-Forwarded-For", false),
        ("x_forwarded_host", false),
        ("x-amzn-lattice-identity", false),
        ("x.amzn.requestid", false),
        ("X-Amzn-Trace-Id", false),
        ("forwarded", false),
    ] {
        assert_eq!(unalterable(name).is_none(), may, "{name}");
    }
}

fn with(change: impl FnOnce(&mut TrafficPolicy)) -> TrafficPolicy {
    let mut policy = TrafficPolicy::default();
    change(&mut policy);
    policy
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let redirect = Redirect {
        scheme: None,
        hostname: None,
        port: None,
        path: None,
        status: 302,
    };
    let ms = Duration::from_millis;
    let retry = Retry {
        attempts: 1,
        codes: vec![503],
        backoff: ms(25),
        budget_percent: 20,
    };
    let set = |name: &str, value: &str| {
        let field = (name.to_owned(), value.to_owned());
        with(|it| it.request_headers.set.push(field))
    };
    let path = |path: &str| {
        let path = Some(PathChange::Full(path.to_owned()));
        with(|it| {
            it.rewrite = Some(Rewrite {
                hostname: None,
                path,
            })
        })
    };
    let host = |name: &str| {
        let hostname = Some(name.to_owned());
        with(|it| {
            it.rewrite = Some(Rewrite {
                hostname,
                path: None,
            })
        })
    };
    for (policy, want) in [
        (set("x-a", "b c"), None),
        (set("x a", "b"), Some("requestHeaders.set")),
        (set("", "b"), Some("requestHeaders.set")),
        (set("host", "b"), Some("requestHeaders.set")),
        (set("x-a", "b\r\nx-b: c"), Some("requestHeaders.set.x-a")),
        (set("x-a", "b\0"), Some("requestHeaders.set.x-a")),
        (set("x-a", "\u{fc}"), Some("requestHeaders.set.x-a")),
        (set("x-a", " b"), Some("requestHeaders.set.x-a")),
        (
            with(|it| {
                it.response_headers.remove = vec!["x-a".into()];
                it.response_headers.add = vec![("X-A".into(), "1".into())];
            }),
            Some("responseHeaders.remove"),
        ),
        (
            with(|it| it.response_headers.remove = vec!["x-a".into(); 17]),
            Some("responseHeaders.remove"),
        ),
        (path("/a/b%20c"), None),
        (path("a"), Some("urlRewrite.path.replaceFullPath")),
        (path("/a?b"), Some("urlRewrite.path.replaceFullPath")),
        (path("/a b"), Some("urlRewrite.path.replaceFullPath")),
        (path("/%2"), Some("urlRewrite.path.replaceFullPath")),
        (path("/%2%20"), Some("urlRewrite.path.replaceFullPath")),
        (path("//a"), Some("urlRewrite.path.replaceFullPath")),
        (path("/a/%2E./b"), Some("urlRewrite.path.replaceFullPath")),
        (host("a.example"), None),
        (host("a.example:80"), Some("urlRewrite.hostname")),
        (host("A.example"), Some("urlRewrite.hostname")),
        (host("-a.example"), Some("urlRewrite.hostname")),
        (host(""), Some("urlRewrite.hostname")),
        (with(|it| it.redirect = Some(redirect.clone())), None),
        (
            with(|it| {
                it.redirect = Some(Redirect {
                    status: 200,
                    ..redirect.clone()
                })
            }),
            Some("redirect.statusCode"),
        ),
        (
            with(|it| {
                it.redirect = Some(Redirect {
                    port: Some(0),
                    ..redirect.clone()
                })
            }),
            Some("redirect.port"),
        ),
        (
            with(|it| {
                it.redirect = Some(redirect.clone());
                it.retry = Some(retry.clone());
            }),
            Some("redirect"),
        ),
        (
            with(|it| it.timeouts.request = Some(Duration::ZERO)),
            Some("timeouts.request"),
        ),
        (
            with(|it| {
                it.timeouts.request = Some(ms(5));
                it.timeouts.backend_request = Some(ms(6));
            }),
            Some("timeouts.backendRequest"),
        ),
        (with(|it| it.retry = Some(retry.clone())), None),
        (
            with(|it| {
                it.retry = Some(Retry {
                    attempts: 0,
                    ..retry.clone()
                })
            }),
            Some("retry.attempts"),
        ),
        (
            with(|it| {
                it.retry = Some(Retry {
                    codes: vec![200],
                    ..retry.clone()
                })
            }),
            Some("retry.codes"),
        ),
        (
            with(|it| {
                it.retry = Some(Retry {
                    budget_percent: 101,
                    ..retry.clone()
                })
            }),
            Some("retry.budgetPercent"),
        ),
    ] {
        let got = policy.check();
        let at = got.as_ref().err().map(|error| error.at.as_str());
        assert_eq!(at, want, "{policy:?}: {got:?}");
    }
}
