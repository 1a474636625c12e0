//! Auth and resource policies.

use lath_feed::Auth;

use super::*;

const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"vpc-lattice-svcs:Invoke","Resource":"*","Condition":{"StringEquals":{"vpc-lattice-svcs:SourceVpc":["vpc-0aaaaaaaaaaaaaaaa"]}}}]}"#;

#[tokio::test]
async fn an_auth_policy_is_kept_shown_told_to_nodes_and_deleted() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let service = world.active_service("web").await;
    for (id, kind) in [(&network, "servicenetwork"), (&service, "service")] {
        let path = format!("/authpolicy/{id}");
        world.get(&path).await.is(404, "ResourceNotFoundException");
        let put = world.call("PUT", &path, json!({ "policy": POLICY })).await;
        put.is(200, "");
        assert_eq!(
            (put.text("policy"), put.text("state")),
            (POLICY.into(), "Inactive".into())
        );
        let body = json!({ "authType": "AWS_IAM" });
        world
            .patch(&format!("/{kind}s/{id}"), body)
            .await
            .is(200, "");
        let by_arn = format!("/authpolicy/{}", segment(&format!("{ARN}{kind}/{id}")));
        let got = world.get(&by_arn).await;
        assert_eq!(
            (got.text("policy"), got.text("state")),
            (POLICY.into(), "Active".into())
        );
        assert!(!got.text("createdAt").is_empty());
    }
    let told = Auth::AwsIam {
        policy: Some(POLICY.to_owned()),
    };
    let snapshot = world.snapshot();
    assert_eq!(
        snapshot.service_networks[&network.parse().unwrap()].auth,
        told
    );
    assert_eq!(snapshot.services[&service.parse().unwrap()].auth, told);

    let path = format!("/authpolicy/{network}");
    world.delete(&path).await.is(204, "");
    world
        .delete(&path)
        .await
        .is(404, "ResourceNotFoundException");
    let seen = &world.snapshot().service_networks[&network.parse().unwrap()];
    assert_eq!(seen.auth, Auth::AwsIam { policy: None });
    // A policy goes with its holder.
    world
        .delete(&format!("/services/{service}"))
        .await
        .is(200, "");
    assert!(crate::auth_policy::document(&world.cell.db.view(), &service).is_none());
}

#[tokio::test]
async fn policies_that_are_none_are_refused() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let long = POLICY.replace("vpc-0aaaaaaaaaaaaaaaa", &"x".repeat(10_300));
    for (name, policy) in [
        ("empty", String::new()),
        ("no JSON", "{".to_owned()),
        ("no principal", POLICY.replace(r#""Principal":"*","#, "")),
        (
            "another service",
            POLICY.replace("vpc-lattice-svcs:Invoke", "s3:GetObject"),
        ),
        ("beyond the quota", long),
    ] {
        let got = world
            .call(
                "PUT",
                &format!("/authpolicy/{network}"),
                json!({ "policy": policy }),
            )
            .await;
        assert_eq!(
            (got.status.as_u16(), got.code.as_str()),
            (400, "ValidationException"),
            "{name}"
        );
    }
    let missing = "/authpolicy/sn-0123456789abcdef0";
    let got = world
        .call("PUT", missing, json!({ "policy": POLICY }))
        .await;
    got.is(404, "ResourceNotFoundException");
    let got = world
        .call(
            "PUT",
            "/authpolicy/tg-0123456789abcdef0",
            json!({ "policy": POLICY }),
        )
        .await;
    got.is(400, "ValidationException");
}

#[tokio::test]
async fn a_resource_policy_is_kept_shown_and_deleted() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let path = format!(
        "/resourcepolicy/{}",
        segment(&format!("{ARN}servicenetwork/{network}"))
    );
    let share = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"vpc-lattice:GetServiceNetwork","Resource":"*"}]}"#;
    world.get(&path).await.is(404, "ResourceNotFoundException");
    world
        .call("PUT", &path, json!({ "policy": "{" }))
        .await
        .is(400, "ValidationException");
    world
        .call("PUT", &path, json!({ "policy": share }))
        .await
        .is(200, "");
    assert_eq!(world.get(&path).await.text("policy"), share);
    world.delete(&path).await.is(204, "");
    world.get(&path).await.is(404, "ResourceNotFoundException");
}
