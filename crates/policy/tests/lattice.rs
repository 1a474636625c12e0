//! Auth policies for requests that targets may read in more than one way.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lath_policy::lattice::{Auth, INVOKE, Invocation, authorize};
use lath_policy::{Context, Grammar, Policy, Principal};

const SERVICE: &str = "arn:aws:vpc-lattice:us-east-1:123456789012:service/svc-1";

fn policy(statements: &str) -> Policy {
    let statements = statements.replace("SVC", SERVICE);
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    Policy::parse(&text, Grammar::Resource).unwrap()
}

type Headers<'a> = &'a [(&'a str, &'a str)];

fn allowed(policy: &Policy, path: &str, query: &str, headers: Headers<'_>) -> bool {
    let header = |name: &str| {
        let named = headers.iter().filter(|(it, _)| *it == name);
        named.map(|(_, value)| (*value).to_owned()).collect()
    };
    let invocation = Invocation {
        principal: &Principal::Anonymous,
        action: INVOKE,
        service_arn: SERVICE,
        network_arn: "arn:aws:vpc-lattice:us-east-1:123456789012:servicenetwork/sn-1",
        port: 80,
        source_vpc: None,
        source_vpc_account: None,
        source_ip: None,
        method: "GET",
        path,
        header: &header,
        query,
        more: &Context::default(),
    };
    authorize(&invocation, Auth::None, Auth::AwsIam(Some(policy)), &[]).is_ok()
}

const OK: &str = r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"SVC/ok/*"}"#;
const ALL: &str = r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}"#;
const NO_ADMIN: &str =
    r#"{"Effect":"Deny","Principal":"*","Action":"*","Resource":["SVC/admin","SVC/admin/*"]}"#;

#[test]
fn a_path_is_decided_as_any_target_may_read_it() {
    let within = policy(OK);
    let table = [
        ("/ok/1", true),
        ("/ok/../no", false),
        ("/ok/%2e%2e/no", false),
        ("/ok/%252e%252e/no", false),
        ("/ok/..%2fno", false),
        (r"/ok/..\no", false),
        ("/ok/..;/no", false),
        ("/ok//../../no", false),
        ("/no/../ok/1", false),
        ("/ok/a/../b", true),
        ("/ok/a%2Fb", true),
        ("/ok/caf%C3%A9", true),
        ("/ok/a;v=1", true),
        ("/ok//a", true),
        ("*", false),
    ];
    for (path, want) in table {
        assert_eq!(allowed(&within, path, "", &[]), want, "{path}");
    }
    let without = policy(&format!("{ALL},{NO_ADMIN}"));
    let table = [
        ("/x", true),
        ("/x%20y", true),
        ("/admin/x", false),
        ("/x/../admin", false),
        ("//admin", false),
        ("/./admin/x", false),
        ("/%61dmin", false),
        ("/%2561dmin", false),
        ("/admin;x", false),
        ("/admin%2fx", false),
        (r"/admin\x", false),
        ("/admin/../x", false),
    ];
    for (path, want) in table {
        assert_eq!(allowed(&without, path, "", &[]), want, "{path}");
    }
}

#[test]
fn the_condition_on_the_path_is_asked_of_each_reading() {
    let written = r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*",
        "Condition":{"StringLike":{"vpc-lattice-svcs:RequestPath":"/ok/*"}}}"#;
    let policy = policy(written);
    for (path, want) in [("/ok/1", true), ("/ok/../no", false), ("/no", false)] {
        assert_eq!(allowed(&policy, path, "", &[]), want, "{path}");
    }
}

#[test]
fn a_repeated_header_passes_only_if_each_reading_does() {
    let one = |effect: &str| {
        format!(
            r#"{{"Effect":"{effect}","Principal":"*","Action":"*","Resource":"*",
            "Condition":{{"StringEquals":{{"vpc-lattice-svcs:RequestHeader/role":"a"}}}}}}"#
        )
    };
    let only = policy(&one("Allow"));
    let but = policy(&format!("{ALL},{}", one("Deny")));
    let table: &[(Headers<'_>, bool, bool)] = &[
        (&[], false, true),
        (&[("role", "a")], true, false),
        (&[("role", "b")], false, true),
        (&[("role", "a"), ("role", "b")], false, false),
        (&[("role", "b"), ("role", "a")], false, false),
    ];
    for (headers, by_only, by_but) in table {
        assert_eq!(allowed(&only, "/", "", headers), *by_only, "{headers:?}");
        assert_eq!(allowed(&but, "/", "", headers), *by_but, "{headers:?}");
    }
    let cookies = r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*",
        "Condition":{"StringEquals":{"vpc-lattice-svcs:RequestHeader/Cookie":"a=1; b=2"}}}"#;
    let split = [("cookie", "a=1"), ("cookie", "b=2")];
    assert!(allowed(&policy(cookies), "/", "", &split));
}
