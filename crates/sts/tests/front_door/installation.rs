//! The front door of one region with IAM and STS, called with signed requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use lath_clock::ManualClock;
use lath_control::Cell;
use lath_door::FrontDoor;
use lath_iam::Iam;
use lath_judge::Judge;
use lath_model::Timestamp;
use lath_oidc::{Asked, IssuerKeys, KeySet, NoKeys};
use lath_secrets::{RootKey, SealingKey};
use lath_sigv4::{Payload, Secret, SigningKey, sign};
use lath_store::{Db, Memory, View};
use lath_sts::{
    Issuers, PodIdentities, PodIdentityAssociation, Sts, TokenCluster, eks_auth_service,
    sts_service,
};
use serde_json::Value;

pub(crate) const ACCOUNT: &str = "123456789012";

/// When tests begin.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Whence requests come.
const PEER: &str = "10.0.0.7:1234";

/// The members of a request.
pub(crate) type Form<'a> = &'a [(&'a str, &'a str)];

pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: Secret,
    pub(crate) token: Option<String>,
}

/// One region, and the state that front doors of several regions share.
pub(crate) struct Installation {
    pub(crate) door: FrontDoor,
    pub(crate) root: Key,
    pub(crate) cell: Cell,
    /// Its clock stands at [`START`] until a test moves it.
    pub(crate) hands: ManualClock,
    pub(crate) seal: SealingKey,
    /// The keys of its own issuers.
    pub(crate) issuers: Arc<Mutex<BTreeMap<String, Value>>>,
}

/// The one cluster, `shop`, and the one association that there is.
struct Shop(Arc<Mutex<BTreeMap<String, Value>>>);

impl PodIdentities for Shop {
    fn cluster(&self, _: &View, name: &str) -> Option<TokenCluster> {
        let issuers = self.0.lock().unwrap();
        let (issuer, keys) = issuers.iter().next().filter(|_| name == "shop")?;
        Some(TokenCluster {
            arn: "arn:aws:eks:us-east-1:123456789012:cluster/shop".into(),
            issuer: issuer.clone(),
            keys: keys.clone(),
        })
    }

    fn association(
        &self,
        _: &View,
        _: &str,
        namespace: &str,
        service_account: &str,
    ) -> Option<PodIdentityAssociation> {
        let is_it = (namespace, service_account) == ("shop", "cart");
        is_it.then(|| PodIdentityAssociation {
            arn: "arn:aws:eks:us-east-1:123456789012:podidentityassociation/shop/a-1".into(),
            id: "a-1".into(),
            role_arn: format!("arn:aws:iam::{ACCOUNT}:role/worker"),
        })
    }
}

/// Issuers elsewhere, none of which can be reached but those whose name says why not.
struct Elsewhere;

impl IssuerKeys for Elsewhere {
    fn keys<'a>(
        &'a self,
        asked: Asked<'a>,
    ) -> futures::future::BoxFuture<'a, Result<Arc<KeySet>, NoKeys>> {
        let told = if asked.issuer.contains("certificate") {
            NoKeys::Certificate
        } else if asked.issuer.contains("unusable") {
            NoKeys::Unusable("nothing".into())
        } else {
            NoKeys::Unreachable("nothing".into())
        };
        Box::pin(std::future::ready(Err(told)))
    }
}

impl Installation {
    pub(crate) async fn new() -> Self {
        Self::with("us-east-1", SealingKey::random()).await
    }

    /// A region of an installation whose home is us-east-1.
    pub(crate) async fn with(region: &str, seal: SealingKey) -> Self {
        let mut cell = Cell::for_test().0;
        let mut topology = (*cell.topology).clone();
        topology.region = region.to_owned();
        (cell.region, cell.topology) = (region.to_owned(), Arc::new(topology));
        let kinds = lath_iam::kinds(lath_store::Kinds::default());
        let hands = ManualClock::at(START);
        let db = Db::open(Arc::new(Memory::new()), kinds).await.unwrap();
        cell.db = db.with_clock(hands.clock());
        let key = RootKey::random().unwrap();
        let root = Key {
            id: key.access_key_id.clone(),
            secret: key.secret_access_key.clone(),
            token: None,
        };
        let issuers: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
        let own = Arc::clone(&issuers);
        let sources = Issuers::default()
            .with_local(Arc::new(move |_, issuer| {
                own.lock().unwrap().get(issuer).cloned()
            }))
            .with_remote(Arc::new(Elsewhere));
        let judge = Arc::new(Judge::new(key, ACCOUNT).with_iam(seal.clone(), cell.clone()));
        let sts = Sts::new(Arc::clone(&judge))
            .with_issuers(sources)
            .with_pods(Arc::new(Shop(Arc::clone(&issuers))));
        let sts = Arc::new(sts);
        let iam = Arc::new(Iam::new(cell.clone(), judge.last_used()));
        let services = vec![
            sts_service(&sts),
            eks_auth_service(&sts),
            lath_iam::service(&iam),
        ];
        iam.learn(&services);
        let door = FrontDoor::new(Arc::<Judge>::clone(&judge))
            .with_judge(judge)
            .with_clock(hands.clock())
            .with_region("us-east-1", services);
        Self {
            door,
            root,
            cell,
            hands,
            seal,
            issuers,
        }
    }

    /// Makes this an issuer of the installation.
    pub(crate) fn know(&self, issuer: &str, keys: Value) {
        let mut issuers = self.issuers.lock().unwrap();
        issuers.insert(issuer.to_owned(), keys);
    }

    pub(crate) async fn call(
        &self,
        key: &Key,
        service: &str,
        form: &[(&str, &str)],
    ) -> (u16, String) {
        let (mut request, body) = request(service, form);
        self.sign(key, service, "/", &mut request, &body);
        self.sent(request).await
    }

    /// Calls `eks-auth` with a body of JSON. The answer has the code of a refusal as `code`.
    pub(crate) async fn call_eks_auth(
        &self,
        key: &Key,
        cluster: &str,
        body: &Value,
    ) -> (u16, Value) {
        let path = format!("/clusters/{cluster}/assume-role-for-pod-identity");
        let body = body.to_string();
        let mut request = Request::post(format!("http://127.0.0.1{path}"))
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.clone())))
            .unwrap();
        self.sign(key, "eks-auth", &path, &mut request, &body);
        let answer = self.door.answer(request, PEER.parse().unwrap()).await;
        let mut told: Value = serde_json::from_slice(answer.body()).unwrap();
        if let Some(code) = answer.headers().get("x-amzn-errortype") {
            told["code"] = code.to_str().unwrap().into();
        }
        (answer.status().as_u16(), told)
    }

    /// Calls without a signature.
    pub(crate) async fn call_unsigned(&self, form: &[(&str, &str)]) -> (u16, String) {
        self.sent(request("sts", form).0).await
    }

    fn sign(
        &self,
        key: &Key,
        service: &str,
        path: &str,
        request: &mut Request<Full<Bytes>>,
        body: &str,
    ) {
        let signed = lath_sigv4::Request {
            method: "POST",
            path,
            query: "",
            headers: request.headers(),
            body: Payload::Bytes(body.as_bytes()),
        };
        let signer = SigningKey {
            access_key_id: &key.id,
            secret: &key.secret,
            session_token: key.token.as_deref(),
            region: "us-east-1",
            service,
        };
        for (name, value) in sign(&signed, &signer, self.hands.clock().system_time()) {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
    }

    async fn sent(&self, request: Request<Full<Bytes>>) -> (u16, String) {
        let answer = self.door.answer(request, PEER.parse().unwrap()).await;
        let text = String::from_utf8(answer.body().to_vec()).unwrap();
        (answer.status().as_u16(), text)
    }

    pub(crate) async fn iam(&self, key: &Key, form: &[(&str, &str)]) -> String {
        let (status, text) = self.call(key, "iam", form).await;
        assert_eq!(status, 200, "{form:?}: {text}");
        text
    }

    pub(crate) async fn user(&self, name: &str, policy: &str) -> Key {
        let root = &self.root;
        self.iam(root, &[("Action", "CreateUser"), ("UserName", name)])
            .await;
        self.iam(
            root,
            &[
                ("Action", "PutUserPolicy"),
                ("UserName", name),
                ("PolicyName", "p"),
                ("PolicyDocument", policy),
            ],
        )
        .await;
        let made = self
            .iam(root, &[("Action", "CreateAccessKey"), ("UserName", name)])
            .await;
        credentials(&made)
    }

    pub(crate) async fn role(&self, name: &str, trust: &str) {
        self.iam(
            &self.root,
            &[
                ("Action", "CreateRole"),
                ("RoleName", name),
                ("AssumeRolePolicyDocument", trust),
            ],
        )
        .await;
    }
}

fn request(service: &str, form: &[(&str, &str)]) -> (Request<Full<Bytes>>, String) {
    let version = if service == "iam" {
        "2010-05-08"
    } else {
        "2011-06-15"
    };
    let mut body = format!("Version={version}");
    for (name, value) in form {
        let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        body.push_str(&format!("&{name}={value}"));
    }
    let request = Request::post("http://127.0.0.1/")
        .header("host", "127.0.0.1")
        .header("user-agent", "tester/1")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(body.clone())))
        .unwrap();
    (request, body)
}

pub(crate) fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once('<')?;
    Some(value.to_owned())
}

pub(crate) fn credentials(text: &str) -> Key {
    Key {
        id: element(text, "AccessKeyId").unwrap(),
        secret: Secret::new(element(text, "SecretAccessKey").unwrap()),
        token: element(text, "SessionToken"),
    }
}
