//! Requests to functions: each becomes an event, and the function's answer the response
//! (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/lambda-functions.html>).

mod event;
mod reply;

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use lath_feed::function_limits::PAYLOAD;
use lath_feed::{EventVersion, FunctionGroup, Hidden, Invocation, Invoked};
use uuid::Uuid;

use crate::connection::Connection;
use crate::context::RequestContext;
use crate::engine::Source;
use crate::forward::{Refused, provenance};
use crate::head;
use crate::payload::Payload;
use crate::refusal::{Failure, Refusal};
use crate::relay::Body;
use crate::routing::Route;
use crate::state::VpcState;
use crate::upload::RequestBody;
use event::Event;
pub(crate) use reply::Reply;

/// An exchange is looked at as a silent one a while after the function had its time.
const SLACK: Duration = Duration::from_secs(10);

/// A request for a function.
pub(crate) struct Call {
    parts: http::request::Parts,
    body: RequestBody,
    route: Route,
    group: Arc<FunctionGroup>,
    vpc: Arc<VpcState>,
    context: Box<RequestContext>,
}

impl Call {
    /// The request, made ready for the chosen group's function.
    ///
    /// # Errors
    /// The request is not fit.
    pub(crate) fn new(
        connection: &Connection,
        vpc: &Arc<VpcState>,
        (route, group): (Route, Arc<FunctionGroup>),
        request: Request<Source>,
        mut context: Box<RequestContext>,
    ) -> Result<Self, Refused> {
        let choice = route.choice();
        let Some((choice, slot)) = choice.and_then(|c| c.group.as_ref().map(|slot| (c, slot)))
        else {
            return Err((Refusal::no_target(), context));
        };
        context.grouped(slot);
        let (mut parts, body) = request.into_parts();
        let client = &connection.client_header().value;
        head::towards_target(&mut parts, client, false, &context.scan);
        parts.headers.remove(http::header::EXPECT);
        if route
            .traffic()
            .is_some_and(|it| it.prepare(&mut parts).is_err())
        {
            return Err((Refusal::path_too_long(), context));
        }
        if let Some(filters) = &choice.filters
            && filters.heads.prepare(&mut parts).is_err()
        {
            return Err((Refusal::path_too_long(), context));
        }
        provenance(&route, choice, vpc, &context).add_to(&mut parts.headers, &context.scan);
        if group.events == EventVersion::V1
            && let Some(identity) = context.sender.header()
        {
            parts.headers.insert(head::LATTICE_IDENTITY, identity);
        }
        if let Some(workload) = &context.workload
            && let Ok(id) = HeaderValue::from_str(&workload.spiffe_id)
        {
            parts.headers.insert(head::SPIFFE_ID, id);
        }
        if let Some(mutual) = &route.mutual
            && let Some(client) = connection.secured().and_then(|it| it.client.as_ref())
        {
            client.write_to(&mutual.trust, &mut parts.headers);
        }
        let body = RequestBody::new(body, Rc::clone(context.meter()));
        Ok(Self {
            parts,
            body,
            route,
            group,
            vpc: Arc::clone(vpc),
            context,
        })
    }

    pub(crate) fn meter(&self) -> &Rc<crate::meter::Meter> {
        self.context.meter()
    }

    /// Runs the function, and gives the client what it answers.
    ///
    /// # Errors
    /// What is answered instead.
    pub(crate) async fn run(mut self) -> Result<Response<Body>, Refused> {
        match self.answer().await {
            Ok(reply) => Ok(self.respond(reply)),
            Err(refusal) => Err((refusal, self.context)),
        }
    }

    async fn answer(&mut self) -> Result<Reply, Refusal> {
        let (body, _charged) = self.read().await?;
        let target = self.group.function.as_ref();
        let target = target.ok_or_else(Refusal::no_target)?;
        if !target.permitted {
            return Err(Refusal::not_connected());
        }
        let core = Rc::clone(self.context.core());
        let functions = core.config.functions.as_ref();
        let functions = functions.ok_or_else(Refusal::no_target)?;
        let payload = self.event(&body);
        drop(body);
        if payload.len() > PAYLOAD {
            return Err(Refusal::too_large());
        }
        let invocation = Invocation {
            function: target.name.clone(),
            request_id: Uuid::new_v4().to_string(),
            payload: Hidden(payload),
            client_context: None,
            wants_log: false,
        };
        let patience = self.route.entry.idle_timeout;
        self.meter().limit.set(patience + SLACK);
        let invoked = tokio::time::timeout(patience, functions.0.invoke(invocation)).await;
        self.meter().touch();
        match invoked {
            Err(_) => Err(Refusal::timeout()),
            Ok(Invoked::Answered {
                payload,
                failed: false,
                ..
            }) => Reply::read(&payload)
                .ok_or_else(|| Refusal::bad_gateway(Failure::TargetProtocolError)),
            Ok(Invoked::Answered { .. }) => Err(Refusal::not_connected()),
            Ok(Invoked::Throttled { .. } | Invoked::NotReady { .. }) => Err(Refusal::no_target()),
        }
    }

    /// All of the body. What it takes counts against the client until the function has answered.
    async fn read(&mut self) -> Result<(Bytes, Vec<Payload>), Refusal> {
        let mut whole = BytesMut::new();
        let mut charged = Vec::new();
        loop {
            let body = &mut self.body;
            let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
            let upload = match frame {
                None => break,
                Some(Err(_)) => {
                    let failure = Some(Failure::ClientConnectionClosed);
                    return Err(Refusal {
                        failure,
                        ..Refusal::bad_request("The request's body broke off\n")
                    });
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(upload) => upload,
                    Err(_) => continue,
                },
            };
            let piece = upload.bytes().clone();
            drop(upload);
            self.context.meter().touch();
            if whole.len() + piece.remaining() > PAYLOAD {
                return Err(Refusal::too_large());
            }
            whole.extend_from_slice(&piece);
            charged.push(Payload::charged(piece, self.context.meter()));
            if self.context.meter().is_overloaded() {
                return Err(Refusal::overloaded());
            }
        }
        Ok((whole.freeze(), charged))
    }

    fn event(&self, body: &Bytes) -> String {
        let network = self.vpc.network.as_ref();
        let target = self.route.choice().and_then(|it| it.group.as_ref());
        Event {
            parts: &self.parts,
            body,
            network: network.map_or("", |it| &it.source.arn),
            service: &self.route.entry.source.arn,
            group: target.map_or("", |it| &it.arn),
            source_vpc: &self.vpc.arn,
            sender: &self.context.sender,
            at: self.context.core().config.clock.system_time(),
        }
        .text(self.group.events)
    }

    fn respond(self, reply: Reply) -> Response<Body> {
        let Self {
            parts,
            mut route,
            mut context,
            ..
        } = self;
        let Reply {
            status,
            mut headers,
            body,
        } = reply;
        head::towards_client(&mut headers, status, context.request_id());
        if let Some(traffic) = route.traffic() {
            traffic.response.apply(&mut headers);
        }
        if let Some(filters) = route.choice().and_then(|it| it.filters.as_ref()) {
            filters.response.apply(&mut headers);
        }
        if let Some(cors) = route.cors.take() {
            cors.add_to(&mut headers);
        }
        if let Some(rate) = route.rate {
            rate.add_to(&mut headers);
        }
        let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || status.is_informational();
        headers.remove(http::header::CONTENT_LENGTH);
        if !has_none {
            headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        }
        let body = match has_none || parts.method == Method::HEAD {
            true => Bytes::new(),
            false => body,
        };
        context.close_if(false, &mut headers);
        context.answered(status);
        context.sent(body.len() as u64);
        context.sent_head(&headers);
        let mut response = Response::new(Body::answer(Payload::charged(body, context.meter())));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        context.finish();
        response
    }
}
