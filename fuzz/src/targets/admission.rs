//! Reviews of new pods, part of which the user who creates a pod writes, and the words of pods to the agent of pod identities.

use http::StatusCode;
use lath_feed::PodIdentity;
use lath_kubernetes::agent;
use lath_kubernetes::injection::{Gift, Here, Review};
use serde_json::{Value, json};

pub(crate) fn run(bytes: &[u8]) {
    review(bytes);
    let given = agent::token("169.254.170.23", Some(bytes), 1_767_225_600);
    assert!(given.is_ok_and(|it| it.as_bytes() == bytes) || given_nothing(bytes));
    let answer = agent::answer(StatusCode::OK, ("", ""), bytes);
    assert!(answer.is_ok() || answer.is_err_and(|it| it.status.is_server_error()));
}

fn given_nothing(bytes: &[u8]) -> bool {
    let again = agent::token("169.254.170.23", Some(bytes), 1_767_225_600);
    again.is_err_and(|it| it.status == StatusCode::BAD_REQUEST)
}

fn review(bytes: &[u8]) {
    let Ok(review) = Review::parse(bytes) else {
        return;
    };
    if let Some(path) = review.account_path() {
        assert!(path.starts_with("/api/v1/namespaces/") && !path.contains(".."));
        assert_eq!(path.split('/').count(), 7, "{path}");
    }
    let here = Here {
        region: "us-east-1",
        endpoint: Some("http://169.254.170.24"),
    };
    let identity = PodIdentity {
        id: "a-1".into(),
        namespace: review.namespace().to_owned(),
        service_account: review.service_account().to_owned(),
        role_arn: "arn:aws:iam::123456789012:role/cart".into(),
    };
    let annotations = json!({"eks.amazonaws.com/role-arn": identity.role_arn});
    let account = json!({"metadata": {"annotations": annotations}});
    let gifts = [
        Gift::of_association(&[identity], &review, here),
        Gift::of_annotations(&account, &review, here),
    ];
    for gift in gifts {
        assert!(gift.is_some(), "the account is that of the pod");
        let answer: Value = review.answer(gift.as_ref());
        // No review refuses a pod, whatever it says.
        assert_eq!(answer["response"]["allowed"], true);
    }
}
