//! Name, policies, request, answer.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lath_policy::{
    Attached, Context, Grammar, Kind, Outcome, Policy, Principal, Request, Rule, evaluate,
};

const ACCOUNT: &str = "123456789012";

/// Statements and their kinds.
type Written<'a> = &'a [(Kind, &'a str)];
/// Action and resource.
type Asked<'a> = (&'a str, &'a str);

fn ann() -> Principal {
    Principal::user(ACCOUNT, "arn:aws:iam::123456789012:user/ann")
}

fn worker() -> Principal {
    let role = "arn:aws:iam::123456789012:role/worker";
    let session = "arn:aws:sts::123456789012:assumed-role/worker/s1";
    Principal::session(ACCOUNT, role, session)
}

fn decide(
    who: &Principal,
    policies: &[(Kind, &str)],
    (action, resource): (&str, &str),
    facts: &Context,
    rule: Rule,
) -> Outcome {
    let grammar = |kind| match (kind, rule) {
        (Kind::Resource, Rule::Trust) => Grammar::Trust,
        (Kind::Resource, _) => Grammar::Resource,
        _ => Grammar::Identity,
    };
    let parsed: Vec<(Kind, Policy)> = policies
        .iter()
        .map(|(kind, text)| {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":[{text}]}}"#);
            let policy = Policy::parse(&text, grammar(*kind));
            (
                *kind,
                policy.unwrap_or_else(|error| panic!("{error}: {text}")),
            )
        })
        .collect();
    let attached: Vec<Attached<'_>> = parsed
        .iter()
        .map(|(kind, policy)| Attached {
            name: "p",
            kind: *kind,
            policy,
        })
        .collect();
    let request = Request {
        principal: who,
        action,
        resource,
        facts,
    };
    evaluate(&request, &attached, rule).outcome
}

const ALL: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
const DENY: &str = r#"{"Effect":"Deny","Action":"ec2:DeleteVpc","Resource":"*"}"#;
const LOOK: &str = r#"{"Effect":"Allow","Action":["ec2:describe*"],"Resource":"*"}"#;
const BUT: &str = r#"{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}"#;
const ONE: &str = r#"{"Effect":"Allow","Action":"ec2:*","Resource":"arn:aws:ec2:*:*:vpc/vpc-1*"}"#;
const NOT_ONE: &str =
    r#"{"Effect":"Allow","Action":"ec2:*","NotResource":"arn:aws:ec2:*:*:vpc/vpc-1"}"#;
const TO_ANN: &str = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/ann"},"Action":"*","Resource":"*"}"#;
const TO_ACCOUNT: &str =
    r#"{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"*","Resource":"*"}"#;
const TO_ROLE: &str = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/worker"},"Action":"*","Resource":"*"}"#;
const TO_OTHERS: &str = r#"{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::123456789012:user/ann"},"Action":"*","Resource":"*"}"#;

#[test]
fn policies_add_up_as_aws_says() {
    use Kind::{Boundary, Identity, Resource, Session};
    use Outcome::{Allow, ExplicitDeny, ImplicitDeny};
    use Rule::{CrossAccount, SameAccount};
    let vpc1 = "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1";
    let vpc2 = "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-2";
    #[rustfmt::skip]
    let table: &[(&str, Principal, Written<'_>, Asked<'_>, Rule, Outcome)] = &[
        ("nothing", ann(), &[], ("ec2:RunInstances", "*"), SameAccount, ImplicitDeny),
        ("allow", ann(), &[(Identity, ALL)], ("ec2:DeleteVpc", vpc1), SameAccount, Allow),
        ("deny wins", ann(), &[(Identity, ALL), (Identity, DENY)], ("ec2:DeleteVpc", vpc1), SameAccount, ExplicitDeny),
        ("deny of another action", ann(), &[(Identity, ALL), (Identity, DENY)], ("ec2:CreateVpc", "*"), SameAccount, Allow),
        ("actions have no case", ann(), &[(Identity, LOOK)], ("ec2:DescribeVpcs", "*"), SameAccount, Allow),
        ("another action", ann(), &[(Identity, LOOK)], ("ec2:DeleteVpc", vpc1), SameAccount, ImplicitDeny),
        ("NotAction", ann(), &[(Identity, BUT)], ("ec2:DeleteVpc", vpc1), SameAccount, Allow),
        ("NotAction's own", ann(), &[(Identity, BUT)], ("iam:GetRole", "*"), SameAccount, ImplicitDeny),
        ("resource", ann(), &[(Identity, ONE)], ("ec2:DeleteVpc", vpc1), SameAccount, Allow),
        ("another resource", ann(), &[(Identity, ONE)], ("ec2:DeleteVpc", vpc2), SameAccount, ImplicitDeny),
        ("all resources asked, one allowed", ann(), &[(Identity, ONE)], ("ec2:DescribeVpcs", "*"), SameAccount, ImplicitDeny),
        ("NotResource", ann(), &[(Identity, NOT_ONE)], ("ec2:DeleteVpc", vpc2), SameAccount, Allow),
        ("NotResource's own", ann(), &[(Identity, NOT_ONE)], ("ec2:DeleteVpc", vpc1), SameAccount, ImplicitDeny),
        ("boundary limits", ann(), &[(Identity, ALL), (Boundary, LOOK)], ("ec2:DeleteVpc", vpc1), SameAccount, ImplicitDeny),
        ("boundary alone gives nothing", ann(), &[(Boundary, ALL)], ("ec2:DeleteVpc", vpc1), SameAccount, ImplicitDeny),
        ("session policy limits", worker(), &[(Identity, ALL), (Session, LOOK)], ("ec2:DeleteVpc", vpc1), SameAccount, ImplicitDeny),
        ("two session policies are one", worker(), &[(Identity, ALL), (Session, LOOK), (Session, ONE)], ("ec2:DeleteVpc", vpc1), SameAccount, Allow),
        ("deny in a boundary", ann(), &[(Identity, ALL), (Boundary, DENY)], ("ec2:DeleteVpc", vpc1), SameAccount, ExplicitDeny),
        ("resource policy is enough", ann(), &[(Resource, TO_ANN)], ("x:Y", "*"), SameAccount, Allow),
        ("not across accounts", ann(), &[(Resource, TO_ANN)], ("x:Y", "*"), CrossAccount, ImplicitDeny),
        ("both across accounts", ann(), &[(Resource, TO_ANN), (Identity, ALL)], ("x:Y", "*"), CrossAccount, Allow),
        ("naming the account is not enough", ann(), &[(Resource, TO_ACCOUNT)], ("x:Y", "*"), SameAccount, ImplicitDeny),
        ("naming a role reaches sessions", worker(), &[(Resource, TO_ROLE)], ("x:Y", "*"), SameAccount, Allow),
        ("but session policies hold", worker(), &[(Resource, TO_ROLE), (Session, LOOK)], ("x:Y", "*"), SameAccount, ImplicitDeny),
        ("NotPrincipal spares who is named", ann(), &[(Identity, ALL), (Resource, TO_OTHERS)], ("x:Y", "*"), SameAccount, Allow),
        ("NotPrincipal meets the others", worker(), &[(Identity, ALL), (Resource, TO_OTHERS)], ("x:Y", "*"), SameAccount, ExplicitDeny),
    ];
    for (name, who, policies, asked, rule, want) in table {
        let got = decide(who, policies, *asked, &Context::default(), *rule);
        assert_eq!(got, *want, "{name}");
    }
}

#[test]
fn trust_needs_the_role_to_agree() {
    use Kind::{Identity, Resource};
    use Outcome::{Allow, ImplicitDeny};
    let ann_named = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/ann"},"Action":"sts:AssumeRole"}"#;
    let account = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"}"#;
    let service = r#"{"Effect":"Allow","Principal":{"Service":"eks.amazonaws.com"},"Action":"sts:AssumeRole"}"#;
    let eks = Principal::Service("eks.amazonaws.com".into());
    let table: &[(&str, Principal, Written<'_>, Outcome)] = &[
        ("named", ann(), &[(Resource, ann_named)], Allow),
        ("account alone", ann(), &[(Resource, account)], ImplicitDeny),
        (
            "account and own",
            ann(),
            &[(Resource, account), (Identity, ALL)],
            Allow,
        ),
        ("own alone", ann(), &[(Identity, ALL)], ImplicitDeny),
        (
            "a service is not a user",
            ann(),
            &[(Resource, service), (Identity, ALL)],
            ImplicitDeny,
        ),
        ("a service", eks, &[(Resource, service)], Allow),
    ];
    let asked = ("sts:AssumeRole", "arn:aws:iam::123456789012:role/worker");
    for (name, who, policies, want) in table {
        let got = decide(who, policies, asked, &Context::default(), Rule::Trust);
        assert_eq!(got, *want, "{name}");
    }
}

#[test]
fn conditions_hold_as_aws_says() {
    let facts = {
        let mut facts = Context::default()
            .with("aws:SourceIp", "10.1.2.3")
            .with("aws:RequestedRegion", "us-east-1")
            .with("aws:CurrentTime", "2026-05-01T12:00:00Z")
            .with("aws:EpochTime", "1777636800")
            .with("aws:MultiFactorAuthPresent", "false")
            .with("aws:username", "ann")
            .with("x:owner", "ann")
            .with("x:count", "10")
            .with("x:bytes", "QmFzZTY0")
            .with(
                "aws:PrincipalArn",
                "arn:aws:iam::123456789012:role/app/worker",
            );
        facts.set_all("aws:TagKeys", ["team".to_owned(), "env".to_owned()]);
        facts.set_all("x:empty", []);
        facts
    };
    let table = [
        (
            r#"{"StringEquals":{"aws:RequestedRegion":["us-west-2","us-east-1"]}}"#,
            true,
        ),
        (
            r#"{"StringEquals":{"AWS:requestedregion":"us-east-1"}}"#,
            true,
        ),
        (
            r#"{"StringEquals":{"aws:RequestedRegion":"US-EAST-1"}}"#,
            false,
        ),
        (
            r#"{"StringEqualsIgnoreCase":{"aws:RequestedRegion":"US-EAST-1"}}"#,
            true,
        ),
        (
            r#"{"StringNotEquals":{"aws:RequestedRegion":["us-west-2","us-east-1"]}}"#,
            false,
        ),
        (r#"{"StringNotEquals":{"x:none":"a"}}"#, true),
        (r#"{"StringEquals":{"x:none":"a"}}"#, false),
        (r#"{"StringEqualsIfExists":{"x:none":"a"}}"#, true),
        (r#"{"StringEqualsIfExists":{"x:owner":"bob"}}"#, false),
        (r#"{"StringEquals":{"x:owner":"${aws:username}"}}"#, true),
        (r#"{"StringEquals":{"x:owner":"${x:none}"}}"#, false),
        (r#"{"StringEquals":{"x:owner":"a*"}}"#, false),
        (r#"{"StringLike":{"x:owner":"a*"}}"#, true),
        (r#"{"StringNotLike":{"x:owner":["a*","b*"]}}"#, false),
        (
            r#"{"NumericLessThan":{"x:count":"11"},"NumericGreaterThanEquals":{"x:count":10}}"#,
            true,
        ),
        (r#"{"NumericEquals":{"x:count":"10.0"}}"#, true),
        (r#"{"NumericNotEquals":{"x:count":"10"}}"#, false),
        (r#"{"NumericEquals":{"x:owner":"10"}}"#, false),
        (
            r#"{"DateGreaterThan":{"aws:CurrentTime":"2026-04-30T23:59:59Z"}}"#,
            true,
        ),
        (
            r#"{"DateLessThan":{"aws:CurrentTime":"2026-05-01"}}"#,
            false,
        ),
        (
            r#"{"DateEquals":{"aws:EpochTime":"2026-05-01T12:00:00Z"}}"#,
            true,
        ),
        (r#"{"Bool":{"aws:MultiFactorAuthPresent":true}}"#, false),
        (r#"{"Bool":{"aws:MultiFactorAuthPresent":"False"}}"#, true),
        (r#"{"BinaryEquals":{"x:bytes":"QmFzZTY0"}}"#, true),
        (
            r#"{"IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.0.0.0/8"]}}"#,
            true,
        ),
        (r#"{"NotIpAddress":{"aws:SourceIp":"10.1.2.3"}}"#, false),
        (r#"{"IpAddress":{"aws:SourceIp":"::/0"}}"#, false),
        (
            r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/app/*"}}"#,
            true,
        ),
        (
            r#"{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::*:role/app/*"}}"#,
            true,
        ),
        (
            r#"{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/*"}}"#,
            true,
        ),
        (r#"{"Null":{"x:none":"true"}}"#, true),
        (r#"{"Null":{"x:owner":true}}"#, false),
        (r#"{"Null":{"x:owner":"false"}}"#, true),
        (
            r#"{"ForAllValues:StringEquals":{"aws:TagKeys":["team","env","cost"]}}"#,
            true,
        ),
        (
            r#"{"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}}"#,
            false,
        ),
        (
            r#"{"ForAnyValue:StringEquals":{"aws:TagKeys":["team"]}}"#,
            true,
        ),
        (
            r#"{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["team","env"]}}"#,
            false,
        ),
        (r#"{"ForAllValues:StringEquals":{"x:none":["a"]}}"#, true),
        (r#"{"ForAnyValue:StringEquals":{"x:none":["a"]}}"#, false),
        (r#"{"ForAllValues:StringLike":{"x:empty":"a"}}"#, true),
    ];
    for (condition, want) in table {
        let text =
            format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}"#);
        let policies = [(Kind::Identity, text.as_str())];
        let got = decide(&ann(), &policies, ("a:B", "*"), &facts, Rule::SameAccount);
        assert_eq!(got == Outcome::Allow, want, "{condition}");
    }
}
