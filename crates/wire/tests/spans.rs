//! What the log says of a call that fails: which one it is.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use lath_wire::{
    ApiError, Caller, Handle, Operation, Principal, Protocol, Route, Service, ServiceInfo,
};
use serde::Deserialize;
use support::{Nothing, Toy};

#[derive(Debug, Deserialize)]
struct BreakThing {}

impl Operation for BreakThing {
    const NAME: &'static str = "BreakThing";
    const ROUTE: Option<Route> = Some(Route::post("/broken", 200));
    type Output = Nothing;
}

impl Handle<BreakThing> for Toy {
    async fn handle(&self, _: &Caller, _: BreakThing) -> Result<Nothing, ApiError> {
        tokio::task::yield_now().await;
        Err(ApiError::internal(io::Error::other("the disk is gone")))
    }
}

/// The log as lines of JSON.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_error_knows_its_call_whatever_the_filter() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::ERROR)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let service = Service::new(ServiceInfo {
        signing_name: "toys",
        model: "toys",
        version: "2022-11-30",
        xmlns: "",
        target_prefix: "",
        protocols: &[Protocol::RestJson],
    })
    .on::<BreakThing>(&Arc::new(Toy));
    let caller = Caller {
        principal: Principal {
            arn: "arn:aws:iam::123456789012:user/ann".into(),
            user_id: "AIDA".into(),
        },
        ..Caller::nobody("us-west-2", "toys", "r-1", None)
    };
    let request = Request::post("/broken").body(Bytes::from("{}")).unwrap();
    assert_eq!(service.respond(&request, &caller).await.status(), 500);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let event: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["fields"]["message"], "a call failed");
    assert_eq!(event["fields"]["cause"], "the disk is gone");
    let span = &event["span"];
    for (field, want) in [
        ("name", "call"),
        ("request.id", "r-1"),
        ("service", "toys"),
        ("region", "us-west-2"),
        ("operation", "BreakThing"),
        ("principal.arn", "arn:aws:iam::123456789012:user/ann"),
    ] {
        assert_eq!(span[field], want, "{text}");
    }
}
