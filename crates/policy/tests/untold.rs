//! Keys with unknown values: neither a deny nor an allow that depends on one fails open.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lath_policy::{
    Attached, Context, Facts, Grammar, Kind, Outcome, Policy, Principal, Request, Rule, evaluate,
};

/// Facts in which `ec2:untold` is unknown and `ec2:known` is `x`.
struct Untold(Context);

impl Facts for Untold {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        self.0.values(key)
    }

    fn is_unknown(&self, key: &str) -> bool {
        key == "ec2:untold"
    }
}

fn decide(statements: &str) -> (Outcome, Vec<String>) {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    let policy = Policy::parse(&text, Grammar::Identity).unwrap();
    let request = Request {
        principal: &Principal::user("123456789012", "arn:aws:iam::123456789012:user/ann"),
        action: "ec2:DeleteVpc",
        resource: "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1",
        facts: &Untold(Context::default().with("ec2:Known", "x")),
    };
    let attached = [Attached {
        name: "p",
        kind: Kind::Identity,
        policy: &policy,
    }];
    let decision = evaluate(&request, &attached, Rule::SameAccount);
    (decision.outcome, decision.explanation())
}

const ALL: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;

#[test]
fn an_unknown_key_denies() {
    for condition in [
        r#"{"StringEquals":{"ec2:Untold":"x"}}"#,
        r#"{"StringNotEquals":{"ec2:Untold":"x"}}"#,
        r#"{"StringEqualsIfExists":{"ec2:Untold":"x"}}"#,
        r#"{"ForAllValues:StringEquals":{"ec2:Untold":"x"}}"#,
        r#"{"ForAnyValue:StringNotLike":{"EC2:UNTOLD":"x*"}}"#,
        r#"{"Null":{"ec2:Untold":"true"}}"#,
        r#"{"Null":{"ec2:Untold":"false"}}"#,
        r#"{"ArnLike":{"ec2:Untold":"arn:aws:ec2:*:*:vpc/*"}}"#,
        r#"{"StringEquals":{"ec2:Known":"${ec2:Untold}"}}"#,
        r#"{"StringEquals":{"ec2:Known":"x","ec2:Untold":"x"}}"#,
    ] {
        let deny =
            format!(r#"{{"Effect":"Deny","Action":"*","Resource":"*","Condition":{condition}}}"#);
        let (outcome, _) = decide(&format!("{ALL},{deny}"));
        assert_eq!(outcome, Outcome::ExplicitDeny, "{condition}");
        let allow =
            format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}"#);
        assert_eq!(decide(&allow).0, Outcome::ImplicitDeny, "{condition}");
    }
}

#[test]
fn a_condition_that_does_not_hold_settles_it() {
    let deny = r#"{"Effect":"Deny","Action":"*","Resource":"*",
        "Condition":{"StringEquals":{"ec2:Untold":"x","ec2:Known":"y"}}}"#;
    assert_eq!(decide(&format!("{ALL},{deny}")).0, Outcome::Allow);
    let elsewhere = r#"{"Effect":"Deny","Action":"*","Resource":"arn:aws:ec2:*:*:subnet/*",
        "Condition":{"StringEquals":{"ec2:Untold":"x"}}}"#;
    assert_eq!(decide(&format!("{ALL},{elsewhere}")).0, Outcome::Allow);
}

#[test]
fn a_variable_with_unknown_values_covers_in_a_deny_only() {
    let vpc = "arn:aws:ec2:*:*:vpc/${ec2:Untold}";
    for (statements, want) in [
        (
            format!(r#"{ALL},{{"Effect":"Deny","Action":"*","Resource":"{vpc}"}}"#),
            Outcome::ExplicitDeny,
        ),
        (
            format!(r#"{ALL},{{"Effect":"Deny","Action":"*","NotResource":"{vpc}"}}"#),
            Outcome::ExplicitDeny,
        ),
        (
            format!(r#"{{"Effect":"Allow","Action":"*","Resource":"{vpc}"}}"#),
            Outcome::ImplicitDeny,
        ),
        (
            format!(r#"{{"Effect":"Allow","Action":"*","NotResource":"{vpc}"}}"#),
            Outcome::ImplicitDeny,
        ),
    ] {
        assert_eq!(decide(&statements).0, want, "{statements}");
    }
}

#[test]
fn the_explanation_says_which_key_it_was() {
    let deny = r#"{"Sid":"No","Effect":"Deny","Action":"*","Resource":"*",
        "Condition":{"StringEquals":{"ec2:Untold":"x"}}}"#;
    let allow = r#"{"Effect":"Allow","Action":"*","Resource":"*",
        "Condition":{"StringEquals":{"ec2:Untold":"x"}}}"#;
    let considered = decide(&format!("{deny},{allow}")).1;
    let want = [
        "p, statement 1 (No): denies, as the value of ec2:Untold is unknown",
        "p, statement 2: does not allow, as the value of ec2:Untold is unknown",
    ];
    assert_eq!(considered, want);
}
