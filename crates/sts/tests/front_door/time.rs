//! What ends at its time: sessions, and what policies allow until a date.

use std::time::Duration;

use super::*;

const WHO: Form<'_> = &[("Action", "GetCallerIdentity")];

#[tokio::test]
async fn a_session_ends_to_the_second() {
    let lath = Installation::new().await;
    let ann = lath.user("ann", READ).await;
    lath.role("worker", TRUST).await;
    let form: Form<'_> = &[
        ("Action", "AssumeRole"),
        ("RoleArn", "arn:aws:iam::123456789012:role/worker"),
        ("RoleSessionName", "s1"),
        ("ExternalId", "e-1"),
        ("DurationSeconds", "900"),
    ];
    let (status, text) = lath.call(&ann, "sts", form).await;
    assert_eq!(status, 200, "{text}");
    let ends = element(&text, "Expiration").unwrap();
    assert_eq!(ends, START.plus(Duration::from_secs(900)).iso8601_seconds());
    let session = credentials(&text);
    lath.hands.advance(Duration::from_secs(899));
    assert_eq!(lath.call(&session, "sts", WHO).await.0, 200);
    lath.hands.advance(Duration::from_secs(1));
    let (status, text) = lath.call(&session, "sts", WHO).await;
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("<Code>ExpiredToken</Code>"), "{text}");
    // Who assumed the role has a key without an end.
    assert_eq!(lath.call(&ann, "sts", WHO).await.0, 200);
}

#[tokio::test]
async fn a_policy_allows_until_the_date_that_it_says() {
    let lath = Installation::new().await;
    let until = START.plus(Duration::from_secs(3600)).iso8601_seconds();
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"iam:GetUser","Resource":"*",
            "Condition":{{"DateLessThan":{{"aws:CurrentTime":"{until}"}}}}}}}}"#
    );
    let bob = lath.user("bob", &policy).await;
    let form: Form<'_> = &[("Action", "GetUser")];
    lath.hands.advance(Duration::from_secs(3599));
    assert_eq!(lath.call(&bob, "iam", form).await.0, 200);
    lath.hands.advance(Duration::from_secs(1));
    let (status, text) = lath.call(&bob, "iam", form).await;
    assert_eq!(status, 403, "{text}");
}

#[tokio::test]
async fn what_one_call_writes_has_one_time() {
    let lath = Installation::new().await;
    lath.role("worker", TRUST).await;
    lath.hands.advance(Duration::from_secs(60));
    let form: Form<'_> = &[("Action", "GetRole"), ("RoleName", "worker")];
    let text = lath.iam(&lath.root, form).await;
    assert_eq!(
        element(&text, "CreateDate").unwrap(),
        START.iso8601_seconds()
    );
}
