//! Valid documents, and AWS's messages for invalid ones, from public records of its responses (among them
//! github.com/getmoto/moto, tests/test_iam/test_iam_policies.py).

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lath_policy::{Grammar, Policy};

const SYNTAX: &str = "Syntax errors in policy.";
const VERSION: &str = "Policy document must be version 2012-10-17 or greater.";
const LEGACY: &str = "The policy failed legacy parsing";
const NO_ACTIONS: &str = "Policy statement must contain actions.";
const NO_RESOURCES: &str = "Policy statement must contain resources.";
const VENDOR: &str = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";
const ONE_COLON: &str = "Actions/Condition can contain only one colon.";
const UNQUALIFIED: &str = "Resource vendor must be fully qualified and cannot contain regexes.";
const UNIQUE: &str = "Statement IDs (SID) in a single policy must be unique.";
const ALNUM: &str = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*";
const IAM_PATH: &str = "IAM resource path must either be \"*\" or start with user/, federated-user/, role/, group/, instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, report/, access-report/.";
const PRINCIPAL: &str = "Policy document should not specify a principal.";

fn refusal(text: &str, grammar: Grammar) -> String {
    match Policy::parse(text, grammar) {
        Ok(_) => "taken".into(),
        Err(error) => error.0,
    }
}

fn whole(statement: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)
}

#[test]
fn managed_policies_are_refused_in_aws_words() {
    let table = [
        ("", SYNTAX),
        ("This is not a json document", SYNTAX),
        ("[]", SYNTAX),
        (
            r#"{"Statement":{"Effect":"Allow","Action":"s3:x","Resource":"*"}}"#,
            VERSION,
        ),
        (
            r#"{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"s3:x","Resource":"*"}}"#,
            VERSION,
        ),
        (
            r#"{"Version":"2013-10-17","Statement":{"Effect":"Allow","Action":"s3:x","Resource":"*"}}"#,
            SYNTAX,
        ),
        (
            r#"{"Statement":{"Effect":"denY","Action":"s3:x","Resource":"*"}}"#,
            VERSION,
        ),
        (
            r#"{"Statement":{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateGreaterThan":{"a":"x"}}}}"#,
            VERSION,
        ),
        (
            r#"{"Statement":[{"Sid":"a","Effect":"Allow","Action":"s3:x","Resource":"*"},{"Sid":"a","Effect":"Allow"}]}"#,
            VERSION,
        ),
        (r#"{"Version":"2012-10-17"}"#, SYNTAX),
        (r#"{"Version":"2012-10-17","Statement":[]}"#, SYNTAX),
        (r#"{"Version":"2012-10-17","Statement":["x"]}"#, SYNTAX),
        (
            r#"{"Version":"2012-10-17","Id":{},"Statement":{"Effect":"Allow","Action":"s3:x","Resource":"*"}}"#,
            SYNTAX,
        ),
        (
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:x","Resource":"*"},"More":1}"#,
            SYNTAX,
        ),
    ];
    for (text, want) in table {
        assert_eq!(refusal(text, Grammar::Managed), want, "{text}");
    }
    // Inline policies may have the older version or none.
    let old = r#"{"Statement":{"Effect":"Allow","Action":"s3:x","Resource":"*"}}"#;
    assert_eq!(refusal(old, Grammar::Identity), "taken");
}

#[test]
fn statements_are_refused_in_aws_words() {
    let table = [
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","More":1}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"invalid","Action":"s3:x","Resource":"*"}"#,
            SYNTAX,
        ),
        (r#"{"Action":"s3:x","Resource":"*"}"#, SYNTAX),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":{"a":"b"}}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"Deny","Action":"s3:x","Resource":["adfdf",{}]}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"Allow","NotAction":"s3:x","Resource":"*","NotResource":[]}"#,
            SYNTAX,
        ),
        (r#"{"Effect":"Deny","Action":[[]],"Resource":"*"}"#, SYNTAX),
        (
            r#"{"Effect":"Allow","NotAction":"s3:x","Action":[],"Resource":"*"}"#,
            SYNTAX,
        ),
        (r#"{"Effect":"Allow","Action":{},"Resource":"*"}"#, SYNTAX),
        (
            r#"{"Sid":[],"Effect":"Allow","Action":"s3:x","Resource":"*"}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":[]}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":"a"}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"a":"b"}}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateGreaterThan":[]}}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateGreaterThan":{"a":{}}}}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"x":{"a":"1"}}}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"ForAnyValue::StringEquals":{"a":"b"}}}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"NullIfExists":{"a":"true"}}}"#,
            SYNTAX,
        ),
        (
            r#"{"Effect":"denY","Action":"s3:x","Resource":"*"}"#,
            LEGACY,
        ),
        (
            r#"{"Effect":"allow","Resource":"arn:aws:s3:us-east-1::b"}"#,
            LEGACY,
        ),
        (
            r#"{"Effect":"Allow","Condition":{"DateGreaterThan":{"a":"x"}}}"#,
            LEGACY,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"arn:error:s3:::b","Condition":{"DateGreaterThan":{"a":"x"}}}"#,
            LEGACY,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateLessThan":{"a":"234-13"}}}"#,
            LEGACY,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateLessThan":{"a":"2016-12-13t2:00:00.593194+1"}}}"#,
            LEGACY,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateLessThan":{"a":"2016-12-13t2:00:00.1999999999+10:59"}}}"#,
            LEGACY,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateLessThan":{"a":"9223372036854775808"}}}"#,
            LEGACY,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"arn:aws:s3::b"}"#,
            LEGACY,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","NotResource":"arn:aws:s3::b"}"#,
            LEGACY,
        ),
        (r#"{"Effect":"Allow","Resource":"arn:aws:s3::b"}"#, LEGACY),
        (
            r#"{"Effect":"Allow","NotAction":"s3:x","Resource":"arn:aws::::b"}"#,
            LEGACY,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"arn:aws::b"}"#,
            LEGACY,
        ),
        (
            r#"[{"Sid":"a","Effect":"Allow","Action":"s3:x","Resource":"*"},{"Sid":"a","Effect":"Allow"}]"#,
            UNIQUE,
        ),
        (
            r#"[{"Sid":"a","Effect":"aLLow","Action":"s3:x","Resource":"*"},{"Sid":"a","Effect":"Allow"}]"#,
            LEGACY,
        ),
        (
            r#"{"Sid":"a b","Effect":"Allow","Action":"s3:x","Resource":"*"}"#,
            ALNUM,
        ),
        (
            r#"{"Effect":"Allow","Principal":"*","Action":"s3:x","Resource":"*"}"#,
            PRINCIPAL,
        ),
        (r#"{"Effect":"Allow"}"#, NO_ACTIONS),
        (r#"{"Effect":"Allow","Resource":"*"}"#, NO_ACTIONS),
        (
            r#"{"Effect":"Allow","Action":[],"Resource":"*"}"#,
            NO_ACTIONS,
        ),
        (
            r#"[{"Effect":"Deny"},{"Effect":"Allow","Action":"s3:x","Resource":"*"}]"#,
            NO_ACTIONS,
        ),
        (r#"{"Effect":"Allow","Action":"s3:x"}"#, NO_RESOURCES),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":[]}"#,
            NO_RESOURCES,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"invalid resource"}"#,
            r#"Resource invalid resource must be in ARN format or "*"."#,
        ),
        (
            r#"{"Effect":"Allow","Action":"s:3:x","Resource":["adf"]}"#,
            r#"Resource adf must be in ARN format or "*"."#,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":""}"#,
            r#"Resource  must be in ARN format or "*"."#,
        ),
        (
            r#"{"Effect":"Allow","NotAction":"s3:x","Resource":"a:bs"}"#,
            r#"Partition "bs" is not valid for resource "arn:bs:*:*:*:*"."#,
        ),
        (
            r#"{"Effect":"Allow","NotAction":"s3:x","Resource":"a:b:c"}"#,
            r#"Partition "b" is not valid for resource "arn:b:c:*:*:*"."#,
        ),
        (
            r#"{"Effect":"Allow","NotAction":"s3:x","Resource":"a:b:c:d:e:f:g:h"}"#,
            r#"Partition "b" is not valid for resource "arn:b:c:d:e:f:g:h"."#,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"aws:s3:::b"}"#,
            r#"Partition "s3" is not valid for resource "arn:s3:::b:*"."#,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":["arn:error:s3:::b","arn:error:s3::b"]}"#,
            r#"Partition "error" is not valid for resource "arn:error:s3:::b"."#,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"arn:aws:iam:::b"}"#,
            IAM_PATH,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"arn:aws"}"#,
            UNQUALIFIED,
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"arn:aws:iam:us-east-1::b"}"#,
            "IAM resource arn:aws:iam:us-east-1::b cannot contain region information.",
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:x","Resource":"arn:aws:s3:us-east-1::b"}"#,
            "Resource arn:aws:s3:us-east-1::b can not contain region information.",
        ),
        (
            r#"{"Effect":"Allow","Action":"invalid","Resource":"*"}"#,
            VENDOR,
        ),
        (
            r#"{"Effect":"Allow","NotAction":"","Resource":"*"}"#,
            VENDOR,
        ),
        (
            r#"{"Effect":"Allow","Action":"a a:x","Resource":"*"}"#,
            "Vendor a a is not valid",
        ),
        (
            r#"{"Effect":"Allow","Action":"s3:List:x","Resource":"*"}"#,
            ONE_COLON,
        ),
        (
            r#"[{"Effect":"Allow","Action":"s3s:x","Resource":"*"},{"Effect":"Allow","Action":"s:3s:x","Resource":"*"}]"#,
            ONE_COLON,
        ),
    ];
    for (statement, want) in table {
        let text = whole(statement);
        for grammar in [Grammar::Managed, Grammar::Identity] {
            assert_eq!(refusal(&text, grammar), want, "{statement}");
        }
    }
}

#[test]
fn what_aws_takes_is_taken() {
    let table = [
        r#"{"Effect":"Allow","Action":"iam: asdf safdsf af ","Resource":"arn:aws:s3:::b"}"#,
        r#"{"Effect":"Allow","Action":"*","Resource":["arn:aws:s3:::b","*"]}"#,
        r#"{"Effect":"Allow","Action":"s3.s:x","Resource":"arn:aws:iam:::user/b"}"#,
        r#"{"Effect":"Allow","Action":"s3-s:x","Resource":"arn:aws:fdsasf"}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"arn:aws:invalid-service:us-east-1::b"}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"arn:aws-cn:s3:::b"}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"arn:aws-us-gov:ec2:*:*:vpc/*"}"#,
        r#"{"Effect":"Allow","Action":"iam:x","Resource":"arn:aws:iam::*:user/${aws:username}"}"#,
        r#"{"Effect":"Allow","Action":"iam:x","Resource":"arn:aws:iam::123456789012:*"}"#,
        r#"{"Effect":"Allow","NotAction":"s3:x","NotResource":"*"}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"a":{},"DateGreaterThan":{}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateGreaterThan":{"a":[]}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateGreaterThan":{"a":"01T"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"StringEqualsIfExists":{"a":"b"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"ForAnyValue:StringEqualsIfExists":{"a":"b"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateLessThan":{"a":"2019-07-01T13:20:15Z"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateLessThan":{"a":"2016-12-13T21:20:37.593194+00:00"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateLessThan":{"a":"2016-12-13t2:00:00.593194+23"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"DateLessThan":{"a":"-292275054"}}}"#,
    ];
    for statement in table {
        assert_eq!(
            refusal(&whole(statement), Grammar::Managed),
            "taken",
            "{statement}"
        );
    }
}

#[test]
fn trust_policies_are_refused_in_aws_words() {
    let only_sts = "AssumeRole policy may only specify STS AssumeRole actions.";
    let with = |principal: &str, action: &str| {
        format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":{action}}}"#)
    };
    let account = r#"{"AWS":"123456789012"}"#;
    let named = |name: &str| with(&format!(r#"{{"AWS":"{name}"}}"#), r#""sts:AssumeRole""#);
    let invalid = |name: &str| format!(r#"Invalid principal in policy: "AWS":"{name}""#);
    let table = [
        (with(account, r#""sts:AssumeRole""#), "taken".to_owned()),
        (with(account, r#"["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"]"#), "taken".into()),
        (with(account, r#""sts:AssumeRole*""#), "taken".into()),
        (with(account, r#""sts:*""#), "taken".into()),
        (with(account, r#""ec2:*""#), only_sts.into()),
        (with(account, r#""*""#), only_sts.into()),
        (with(account, r#""sts:GetFederationToken""#), only_sts.into()),
        (with(account, r#""sts:AssumeRol""#), only_sts.into()),
        (named("arn:aws-cn:iam::123456789012:root"), "taken".into()),
        (named("12345"), invalid("12345")),
        (named("arn:aws:iam::1234:user/a"), invalid("arn:aws:iam::1234:user/a")),
        (named("arn:aws:iam:us-east-1:123456789012:user/a"), invalid("arn:aws:iam:us-east-1:123456789012:user/a")),
        (named("arn:aws:iam::123456789012:user/*"), invalid("arn:aws:iam::123456789012:user/*")),
        (named("arn:awz:iam::123456789012:user/a"), invalid("arn:awz:iam::123456789012:user/a")),
        (r#"{"Effect":"Allow","Action":"sts:AssumeRole"}"#.into(), "Missing required field Principal".into()),
        (r#"{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole","Resource":"*"}"#.into(), "Has prohibited field Resource".into()),
        (r#"{"Principal":"*","Action":"sts:AssumeRole"}"#.into(), "Missing required field Effect".into()),
    ];
    for (statement, want) in table {
        assert_eq!(
            refusal(&whole(&statement), Grammar::Trust),
            want,
            "{statement}"
        );
    }
    let broken = refusal("{", Grammar::Trust);
    assert_eq!(broken, "This policy contains invalid Json");
}

#[test]
fn hostile_documents_are_refused_soon() {
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(refusal(&deep, Grammar::Identity), SYNTAX);
    let open = r#"{"Effect":"Allow","Action":"a:b","Resource":"arn:aws:s3:::${x"}"#;
    let refused = refusal(&whole(open), Grammar::Identity);
    assert!(refused.contains("variable"), "{refused}");
}
