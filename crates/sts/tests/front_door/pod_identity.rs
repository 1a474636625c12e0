//! `AssumeRoleForPodIdentity`: what a pod's token is worth to the agent on its node.

use serde_json::{Value, json};

use crate::installation::*;
use crate::signer::{Signer, now};

const ISSUER: &str = "https://oidc.eks.us-east-1.amazonaws.com/id/ABC";

fn claims(more: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": ["pods.eks.amazonaws.com"], "iat": now(), "exp": now() + 600,
        "sub": "system:serviceaccount:shop:cart",
        "kubernetes.io": {
            "namespace": "shop",
            "serviceaccount": {"name": "cart", "uid": "u-1"},
            "pod": {"name": "cart-0", "uid": "u-2"}
        }
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn trust(actions: &Value, condition: &Value) -> String {
    json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": actions, "Condition": condition
    }})
    .to_string()
}

fn both() -> Value {
    json!(["sts:AssumeRole", "sts:TagSession"])
}

struct World {
    lath: Installation,
    signer: Signer,
    node: Key,
}

impl World {
    /// The cluster `shop`, whose node may ask for its pods, and the role of one service account.
    async fn new() -> Self {
        let (lath, signer) = (Installation::new().await, Signer::new());
        lath.know(ISSUER, signer.set());
        lath.role("worker", &trust(&both(), &json!({}))).await;
        let may = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
            "Action":"eks-auth:AssumeRoleForPodIdentity","Resource":"arn:aws:eks:us-east-1:123456789012:cluster/shop"}}"#;
        let node = lath.user("node", may).await;
        Self { lath, signer, node }
    }

    async fn ask(&self, more: &Value) -> (u16, Value) {
        let token = self.signer.token(&claims(more));
        let body = json!({"token": token});
        self.lath.call_eks_auth(&self.node, "shop", &body).await
    }

    async fn trusts(&self, trust: &str) {
        let form = [
            ("Action", "UpdateAssumeRolePolicy"),
            ("RoleName", "worker"),
            ("PolicyDocument", trust),
        ];
        self.lath.iam(&self.lath.root, &form).await;
    }
}

#[tokio::test]
async fn a_pods_session_has_the_role_and_the_tags_of_the_pod() {
    let world = World::new().await;
    let (status, told) = world.ask(&json!({})).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(
        told["subject"],
        json!({"namespace": "shop", "serviceAccount": "cart"})
    );
    assert_eq!(told["audience"], "pods.eks.amazonaws.com");
    assert_eq!(told["podIdentityAssociation"]["associationId"], "a-1");
    let arn = told["assumedRoleUser"]["arn"].as_str().unwrap();
    assert!(
        arn.contains(":assumed-role/worker/eks-shop-cart-0-"),
        "{arn}"
    );
    let expires = told["credentials"]["expiration"].as_f64().unwrap();
    let left = expires - f64::from(u32::try_from(now()).unwrap());
    assert!((21_000.0..21_700.0).contains(&left), "{left}");

    // The tags are the session's, and go on to the next role.
    let text = |name: &str| told["credentials"][name].as_str().unwrap().to_owned();
    let session = Key {
        id: text("accessKeyId"),
        secret: lath_sigv4::Secret::new(text("secretAccessKey")),
        token: Some(text("sessionToken")),
    };
    let tagged = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*",
        "Condition": {"StringEquals": {
            "aws:PrincipalTag/kubernetes-namespace": "shop",
            "aws:PrincipalTag/kubernetes-service-account": "cart",
            "aws:PrincipalTag/kubernetes-pod-name": "cart-0",
            "aws:PrincipalTag/kubernetes-pod-uid": "u-2",
            "aws:PrincipalTag/eks-cluster-name": "shop",
            "aws:PrincipalTag/eks-cluster-arn": "arn:aws:eks:us-east-1:123456789012:cluster/shop"
        }}
    }});
    let form = [
        ("Action", "PutRolePolicy"),
        ("RoleName", "worker"),
        ("PolicyName", "p"),
        ("PolicyDocument", &tagged.to_string()),
    ];
    world.lath.iam(&world.lath.root, &form).await;
    world.lath.iam(&session, &[("Action", "ListRoles")]).await;
}

#[tokio::test]
async fn what_is_no_token_of_the_cluster_is_refused() {
    let world = World::new().await;
    let eve = Signer::new();
    let own = |more: Value| world.signer.token(&claims(&more));
    let table = [
        (eve.token(&claims(&json!({}))), 400, "InvalidTokenException"),
        (
            own(json!({"iss": "https://other"})),
            400,
            "InvalidTokenException",
        ),
        (
            own(json!({"aud": "sts.amazonaws.com"})),
            400,
            "InvalidTokenException",
        ),
        (
            own(json!({"sub": "system:serviceaccount:shop:other"})),
            400,
            "InvalidTokenException",
        ),
        (
            own(json!({"kubernetes.io": {}})),
            400,
            "InvalidTokenException",
        ),
        (own(json!({"exp": now() - 1})), 400, "ExpiredTokenException"),
        ("a.b.c".to_owned(), 400, "InvalidTokenException"),
        ("a.b".to_owned(), 400, "InvalidParameterException"),
        (
            own(json!({
                "sub": "system:serviceaccount:shop:other",
                "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "other"}}
            })),
            404,
            "ResourceNotFoundException",
        ),
    ];
    for (token, want, code) in table {
        let body = json!({"token": token});
        let (status, told) = world.lath.call_eks_auth(&world.node, "shop", &body).await;
        assert_eq!(status, want, "{code}: {told}");
        assert_eq!(told["code"], code, "{told}");
    }
    // Another cluster: first it is the node that may not, then there is none.
    let body = json!({"token": own(json!({}))});
    for (key, want) in [(&world.node, 403), (&world.lath.root, 404)] {
        let (status, told) = world.lath.call_eks_auth(key, "other", &body).await;
        assert_eq!(status, want, "{told}");
    }
}

#[tokio::test]
async fn the_role_must_trust_eks_with_the_tags_of_the_pod() {
    let world = World::new().await;
    let arn = "arn:aws:eks:us-east-1:123456789012:cluster/shop";
    for (actions, condition, want) in [
        (json!("sts:AssumeRole"), json!({}), 400),
        (json!("sts:TagSession"), json!({}), 400),
        (
            both(),
            json!({"StringEquals": {"aws:RequestTag/kubernetes-namespace": "shop"}}),
            200,
        ),
        (
            both(),
            json!({"StringEquals": {"aws:RequestTag/kubernetes-namespace": "other"}}),
            400,
        ),
        (both(), json!({"ArnEquals": {"aws:SourceArn": arn}}), 200),
        (
            both(),
            json!({"StringEquals": {"aws:SourceAccount": "999999999999"}}),
            400,
        ),
    ] {
        world.trusts(&trust(&actions, &condition)).await;
        let (status, told) = world.ask(&json!({})).await;
        assert_eq!(status, want, "{actions} {condition}: {told}");
        let words = "EKS does not have permissions to assume the associated role.";
        assert!(want == 200 || told.to_string().contains(words), "{told}");
    }
    let ec2 = trust(&both(), &json!({})).replace("pods.eks", "ec2");
    world.trusts(&ec2).await;
    assert_eq!(world.ask(&json!({})).await.0, 400);
}
