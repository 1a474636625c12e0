use std::io::Write as _;
use std::sync::Arc;

use lath_code::Archives;
use lath_control::Cell;
use lath_feed::{Condition, FunctionObserved, Invocation, Invoked, NodeQueries, Observed};
use lath_iam::records::{Policies, Role};
use lath_model::id::InstanceId;
use lath_store::{Db, Kinds, Memory};
use lath_wire::{ApiError, Blob, Caller, Handle, Operation};
use tokio::sync::watch;

use crate::shape::*;
use crate::{Lambda, function_of, is_permitted, permit, policy_of, reconcile, revoke};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;
const ROLE: &str = "arn:aws:iam::123456789012:role/runs";
const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:web";

/// A node that gives what it got.
struct Node;

#[async_trait::async_trait]
impl NodeQueries for Node {
    async fn console_output(&self, _: &InstanceId) -> Option<lath_feed::ConsoleOutput> {
        None
    }

    async fn invoke(&self, invocation: Invocation) -> Option<Invoked> {
        Some(match invocation.payload.0.as_str() {
            r#""throttled""# => Invoked::Throttled { reserved: true },
            r#""gone""# => Invoked::NotReady {
                reason: "no".into(),
            },
            payload => Invoked::Answered {
                payload: payload.to_owned(),
                failed: payload == r#""failed""#,
                log: invocation.wants_log.then(|| b"log".to_vec()),
            },
        })
    }
}

struct Lab {
    app: Lambda,
    observed: watch::Sender<Arc<Observed>>,
    _directory: tempfile::TempDir,
}

async fn lab() -> Lab {
    let directory = tempfile::tempdir().unwrap();
    let (mut cell, observed) = Cell::for_test();
    let kinds = lath_control::kinds(lath_iam::kinds(crate::kinds(Kinds::default())));
    cell.db = Db::open(Arc::new(Memory::new()), kinds).await.unwrap();
    cell.node = Arc::new(Node);
    let role = Role {
        name: "runs".into(),
        unique_id: "AROAEXAMPLE".into(),
        path: "/".into(),
        description: None,
        trust: TRUST.into(),
        trusted: Default::default(),
        max_session: 3600,
        policies: Policies::default(),
        tags: Default::default(),
        created_at: cell.now(),
    };
    let written = cell.db.write(|tx| {
        tx.put(role);
        Ok::<_, ApiError>(())
    });
    written.await.unwrap();
    let archives = Archives::at(directory.path().join("archives"));
    Lab {
        app: Lambda { cell, archives },
        observed,
        _directory: directory,
    }
}

impl Lab {
    async fn call<Op: Operation>(&self, op: Op) -> Result<Op::Output, ApiError>
    where
        Lambda: Handle<Op>,
    {
        let caller = Caller::nobody("us-east-1", "lambda", "id", None);
        self.app.handle(&caller, op).await
    }

    /// The node says of the function's newest revision that it is ready, or why not.
    async fn said(&self, condition: Condition) {
        let view = self.app.cell.db.view();
        let known = view.get::<crate::record::Function>("web").unwrap();
        let seen = FunctionObserved {
            unique_id: known.unique_id.clone(),
            revision: known.revision,
            condition,
        };
        let functions = [("web".to_owned(), seen)].into();
        self.observed.send_replace(Arc::new(Observed {
            functions,
            ..Observed::default()
        }));
        reconcile::pass_at(&self.app, self.app.cell.now())
            .await
            .unwrap();
    }

    async fn shown(&self) -> FunctionConfiguration {
        let op = GetFunctionConfiguration {
            function_name: "web".into(),
            qualifier: None,
        };
        self.call(op).await.unwrap()
    }

    async fn invoked(&self, payload: &str) -> Result<InvocationResponse, ApiError> {
        let op = Invoke {
            function_name: ARN.into(),
            payload: Some(Blob(payload.into())),
            log_type: Some(LogType::Tail),
            ..Invoke::default()
        };
        self.call(op).await
    }
}

fn ready() -> Condition {
    Condition::Ready { version: 1 }
}

/// An archive of one empty file, as `zip` stores it.
fn archive(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let size = u16::try_from(name.len()).unwrap();
    let mut entry = |signature: &[u8], middle: &[u8]| {
        let at = bytes.len();
        bytes.write_all(signature).unwrap();
        bytes.write_all(middle).unwrap();
        at
    };
    // Version, flags, method, time, date, checksum, sizes: all nothing but the version and the length of the name.
    let local = [
        &[20, 0][..],
        &[0; 20],
        &size.to_le_bytes(),
        &[0, 0],
        name.as_bytes(),
    ]
    .concat();
    entry(b"PK\x03\x04", &local);
    let central = [
        &[20, 3, 20, 0][..],
        &[0; 20],
        &size.to_le_bytes(),
        &[0; 16],
        name.as_bytes(),
    ]
    .concat();
    let at = entry(b"PK\x01\x02", &central);
    let length = u32::try_from(central.len() + 4).unwrap();
    let end = [
        &[0, 0, 0, 0, 1, 0, 1, 0][..],
        &length.to_le_bytes(),
        &u32::try_from(at).unwrap().to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    entry(b"PK\x05\x06", &end);
    bytes
}

fn new() -> CreateFunction {
    CreateFunction {
        function_name: "web".into(),
        runtime: Some("python3.12".into()),
        handler: Some("app.handler".into()),
        role: ROLE.into(),
        code: FunctionCode {
            zip_file: Some(Blob(archive("app.py"))),
            ..FunctionCode::default()
        },
        ..CreateFunction::default()
    }
}

#[tokio::test]
async fn states_follow_what_the_node_says() {
    let lab = lab().await;
    let made = lab.call(new()).await.unwrap();
    assert_eq!(made.state, Some(State::Pending));
    let refused = lab.invoked("1").await.unwrap_err();
    assert_eq!(
        (refused.code.as_ref(), refused.status),
        ("ResourceConflictException", 409)
    );
    let reason = "no python3".to_owned();
    lab.said(Condition::Failed { reason }).await;
    let shown = lab.shown().await;
    assert_eq!(shown.state, Some(State::Failed));
    assert_eq!(shown.state_reason.as_deref(), Some("no python3"));
    lab.said(ready()).await;
    assert_eq!(lab.shown().await.state, Some(State::Active));

    let update = UpdateFunctionConfiguration {
        function_name: "web".into(),
        timeout: Some(9),
        ..UpdateFunctionConfiguration::default()
    };
    lab.call(update.clone()).await.unwrap();
    let shown = lab.shown().await;
    assert_eq!(shown.last_update_status, Some(LastUpdateStatus::InProgress));
    assert_eq!(lab.call(update).await.unwrap_err().status, 409);
    // What the node said of the revision before counts no more.
    reconcile::pass_at(&lab.app, lab.app.cell.now())
        .await
        .unwrap();
    assert_eq!(
        lab.shown().await.last_update_status,
        Some(LastUpdateStatus::InProgress)
    );
    lab.said(ready()).await;
    let shown = lab.shown().await;
    assert_eq!(shown.last_update_status, Some(LastUpdateStatus::Successful));
    assert_eq!(shown.timeout, Some(9));
}

#[tokio::test]
async fn an_invocation_is_what_the_node_makes_of_it() {
    let lab = lab().await;
    lab.call(new()).await.unwrap();
    lab.said(ready()).await;
    let answer = lab.invoked("[1]").await.unwrap();
    assert_eq!(answer.payload, Some(Blob(b"[1]".to_vec())));
    assert_eq!(answer.log_result.as_deref(), Some("bG9n"));
    assert_eq!(answer.function_error, None);
    let failed = lab.invoked(r#""failed""#).await.unwrap();
    assert_eq!(failed.function_error.as_deref(), Some("Unhandled"));
    assert_eq!(
        lab.invoked("").await.unwrap().payload,
        Some(Blob(b"{}".to_vec()))
    );
    for (payload, code, status) in [
        (r#""throttled""#, "TooManyRequestsException", 429),
        (r#""gone""#, "ServiceException", 500),
        ("{", "InvalidRequestContentException", 400),
        (
            &"1".repeat(6 * 1024 * 1024 + 1),
            "RequestTooLargeException",
            413,
        ),
    ] {
        let refused = lab.invoked(payload).await.unwrap_err();
        assert_eq!((refused.code.as_ref(), refused.status), (code, status));
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused() {
    let lab = lab().await;
    let refused = async |op: CreateFunction| {
        let error = lab.call(op).await.unwrap_err();
        (error.code.to_string(), error.message.to_string())
    };
    let with = |change: fn(&mut CreateFunction)| {
        let mut op = new();
        change(&mut op);
        op
    };
    for (op, code, text) in [
        (
            with(|op| op.role = "arn:aws:iam::123456789012:role/none".into()),
            "InvalidParameterValueException",
            "cannot be assumed by Lambda",
        ),
        (
            with(|op| op.runtime = Some("java21".into())),
            "InvalidParameterValueException",
            "java21",
        ),
        (
            with(|op| op.handler = None),
            "InvalidParameterValueException",
            "mandatory parameters",
        ),
        (
            with(|op| op.publish = Some(true)),
            "InvalidParameterValueException",
            "Publish",
        ),
        (
            with(|op| op.layers = Some(vec!["arn".into()])),
            "InvalidParameterValueException",
            "Layers",
        ),
        (
            with(|op| op.code.zip_file = Some(Blob(b"PK".to_vec()))),
            "InvalidParameterValueException",
            "Could not unzip",
        ),
        (
            with(|op| op.code.zip_file = Some(Blob(Vec::new()))),
            "InvalidParameterValueException",
            "non-empty zip",
        ),
        (
            with(|op| op.code.zip_file = Some(Blob(archive("../x")))),
            "InvalidParameterValueException",
            "../x",
        ),
        (
            with(|op| {
                op.environment = Some(Environment {
                    variables: Some([("_HANDLER".to_owned(), "x".to_owned())].into()),
                })
            }),
            "InvalidParameterValueException",
            "_HANDLER",
        ),
    ] {
        let (got, message) = refused(op).await;
        assert_eq!(got, code, "{message}");
        assert!(message.contains(text), "{message}");
    }
    lab.call(new()).await.unwrap();
    assert_eq!(refused(new()).await.0, "ResourceConflictException");
}

#[tokio::test]
async fn a_group_of_lattice_is_permitted_until_that_is_revoked() {
    let lab = lab().await;
    lab.call(new()).await.unwrap();
    let cell = &lab.app.cell;
    assert_eq!(
        function_of(cell, &cell.db.view(), ARN).as_deref(),
        Some("web")
    );
    assert_eq!(function_of(cell, &cell.db.view(), "web"), None);
    let (service, group) = (
        "vpc-lattice.amazonaws.com",
        "arn:aws:vpc-lattice:us-east-1:123456789012:targetgroup/tg-1",
    );
    let is_permitted = |source: &str| is_permitted(cell, &cell.db.view(), "web", service, source);
    assert!(!is_permitted(group));
    let change = async |work: fn(&mut lath_store::Tx)| {
        let written = cell.db.write(|tx| {
            work(tx);
            Ok::<_, ApiError>(())
        });
        written.await.unwrap();
    };
    change(|tx| {
        permit(
            tx,
            "web",
            "one",
            "vpc-lattice.amazonaws.com",
            "arn:aws:vpc-lattice:us-east-1:123456789012:targetgroup/tg-1",
        )
    })
    .await;
    assert!(
        is_permitted(group)
            && !is_permitted("arn:aws:vpc-lattice:us-east-1:123456789012:targetgroup/tg-2")
    );
    assert!(
        policy_of(&cell.db.view(), ARN)
            .unwrap()
            .contains("vpc-lattice.amazonaws.com")
    );
    change(|tx| revoke(tx, "web", "one")).await;
    assert!(!is_permitted(group));
}

#[tokio::test]
async fn a_principal_that_policies_cannot_name_leaves_the_policy_as_it_is() {
    let lab = lab().await;
    lab.call(new()).await.unwrap();
    let add = |id: &str, principal: &str| AddPermission {
        function_name: "web".into(),
        statement_id: id.into(),
        action: "lambda:InvokeFunction".into(),
        principal: principal.into(),
        ..AddPermission::default()
    };
    lab.call(add("good", "events.amazonaws.com")).await.unwrap();
    let before = policy_of(&lab.app.cell.db.view(), ARN);
    for principal in ["nobody", "arn:aws:s3:::bucket", "a b.amazonaws.com"] {
        let refused = lab.call(add("bad", principal)).await.unwrap_err();
        assert!(refused.status == 400, "{refused:?}");
    }
    assert_eq!(policy_of(&lab.app.cell.db.view(), ARN), before);
    for (id, principal) in [
        ("all", "*"),
        ("account", "123456789012"),
        ("user", "arn:aws:iam::123456789012:user/one"),
    ] {
        lab.call(add(id, principal)).await.unwrap();
    }
}
