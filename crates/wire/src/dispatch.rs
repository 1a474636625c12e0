//! One request through one service: protocol, operation, input, handler, answer.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::bound::{Input, Judging, Registered, joined};
use crate::decode::Typing;
use crate::encode::{ItemName, Shaping};
use crate::envelope::Envelope;
use crate::format::{cbor, form, json, xml};
use crate::limits::{MAX_EC2_VALUES, Malformed};
use crate::{ApiError, Authorize, Caller, Doc, Protocol, Service, TooMuch, refusal};

/// Among the extensions of an answer: it will be another one before long.
#[derive(Debug, Clone, Copy)]
pub struct Unsettled;

impl Service {
    /// Answers a request whose caller is known. The body must be whole and not compressed.
    pub async fn respond(&self, request: &Request<Bytes>, caller: &Caller) -> Response<Bytes> {
        self.respond_if(None, request, caller).await
    }

    /// The same, if `judge` allows it.
    pub async fn respond_if(
        &self,
        judge: Option<&dyn Authorize>,
        request: &Request<Bytes>,
        caller: &Caller,
    ) -> Response<Bytes> {
        let envelope = self.envelope(request, &caller.request_id);
        // Of the level of errors, so that no filter takes from an error which call it is of.
        let span = tracing::error_span!(
            "call",
            request.id = caller.request_id,
            service = self.info().signing_name,
            region = caller.region,
            principal.arn = caller.principal.arn,
            operation = Empty,
        );
        let answer = async {
            match self.call(judge, request, caller, &envelope).await {
                Ok(response) => response,
                Err(error) => {
                    log(&error);
                    envelope.failure(&error)
                }
            }
        };
        answer.instrument(span).await
    }

    async fn call(
        &self,
        judge: Option<&dyn Authorize>,
        request: &Request<Bytes>,
        caller: &Caller,
        envelope: &Envelope,
    ) -> Result<Response<Bytes>, ApiError> {
        let (operation, doc) = self.read(request, envelope.protocol)?;
        Span::current().record("operation", operation.name);
        if judge.is_some()
            && envelope.protocol == Protocol::Ec2Query
            && doc.values() > MAX_EC2_VALUES
        {
            return Err(TooMuch.into());
        }
        let user_agent = request.headers().get(http::header::USER_AGENT);
        let judging = judge.map(|judge| Judging {
            judge,
            user_agent: user_agent.and_then(|value| value.to_str().ok()),
        });
        let input = Input {
            doc,
            typing: typing(envelope.protocol),
            refuse_unknown: envelope.protocol == Protocol::Ec2Query,
            shaping: shaping(envelope),
            checks: self.checks(),
            is_valid_first: self.is_valid_first,
        };
        let output = operation
            .call
            .call(judging, caller, input)
            .await
            .map_err(|refusal| self.errors.error(refusal, envelope.protocol))?;
        let status = operation.route.map_or(200, |route| route.status);
        let is_unsettled = output.is_unsettled;
        let mut response = envelope.success(operation.name, status, output);
        if is_unsettled {
            response.extensions_mut().insert(Unsettled);
        }
        Ok(response)
    }

    /// How this service would answer the request.
    pub fn envelope(&self, request: &Request<Bytes>, request_id: &str) -> Envelope {
        let protocol = self.protocol_of(request);
        let headers = request.headers();
        Envelope {
            protocol,
            model: self.info().model,
            xmlns: self.info().xmlns,
            times: self.times(protocol),
            wants_json: contains(headers, "accept", "application/json"),
            query_mode: contains(headers, "x-amzn-query-mode", "true"),
            request_id: request_id.to_owned(),
        }
    }

    /// The protocol a request speaks: `Smithy-Protocol` or its path, then `X-Amz-Target`, then REST,
    /// then forms; among those the service answers.
    pub(crate) fn protocol_of(&self, request: &Request<Bytes>) -> Protocol {
        let offered = self.info().protocols;
        let headers = request.headers();
        let among = |wanted: &[Protocol]| offered.iter().copied().find(|p| wanted.contains(p));
        let rpc = contains(headers, "smithy-protocol", "rpc-v2-cbor")
            || request.uri().path().starts_with("/service/");
        let json = headers.contains_key("x-amz-target");
        let exact = if contains(headers, "content-type", "json-1.0") {
            Protocol::Json10
        } else {
            Protocol::Json11
        };
        let chosen = if rpc {
            among(&[Protocol::RpcV2Cbor])
        } else {
            None
        };
        chosen
            .or_else(|| json.then(|| among(&[exact]))?)
            .or_else(|| json.then(|| among(&[Protocol::Json10, Protocol::Json11]))?)
            .or_else(|| among(&[Protocol::RestJson, Protocol::RestXml]))
            .or_else(|| among(&[Protocol::Ec2Query, Protocol::Query]))
            .or_else(|| offered.first().copied())
            .unwrap_or(Protocol::RestJson)
    }

    fn read(
        &self,
        request: &Request<Bytes>,
        protocol: Protocol,
    ) -> Result<(&Registered, Doc), ApiError> {
        match protocol {
            Protocol::Ec2Query | Protocol::Query => self.read_form(request),
            Protocol::RestJson | Protocol::RestXml => self.read_rest(request, protocol),
            Protocol::Json10 | Protocol::Json11 => self.read_json(request),
            Protocol::RpcV2Cbor => self.read_cbor(request),
        }
    }

    fn malformed(&self, error: Malformed) -> ApiError {
        self.errors.malformed(&error.0)
    }

    fn read_form(&self, request: &Request<Bytes>) -> Result<(&Registered, Doc), ApiError> {
        let query = request.uri().query().unwrap_or_default();
        let mut pairs = form::pairs(query.as_bytes()).map_err(|e| self.malformed(e))?;
        pairs.extend(form::pairs(request.body()).map_err(|e| self.malformed(e))?);
        let action = pairs.iter().find(|(name, _)| name == "Action");
        let Some((_, action)) = action else {
            return Err(ApiError::new(
                "MissingAction",
                400,
                "The request is missing an action or a required parameter.",
            ));
        };
        let operation = self
            .named(action)
            .ok_or_else(|| refusal::invalid_action(action))?;
        pairs.retain(|(name, _)| !is_envelope(name));
        let doc = form::tree(pairs).map_err(|e| self.malformed(e))?;
        Ok((operation, doc))
    }

    fn read_rest(
        &self,
        request: &Request<Bytes>,
        protocol: Protocol,
    ) -> Result<(&Registered, Doc), ApiError> {
        let (operation, labels) = self
            .routed(request.method().as_str(), request.uri().path())
            .ok_or_else(|| unknown_operation(404))?;
        let body = match operation.payload {
            Some(member) => {
                let bytes = Doc::Blob(request.body().to_vec());
                Ok(Doc::Map(vec![(member.to_owned(), bytes)]))
            }
            None if protocol == Protocol::RestXml && !request.body().is_empty() => {
                xml::read(request.body())
            }
            None => json::read(request.body()),
        };
        let body = body.map_err(|e| self.malformed(e))?;
        if !matches!(body, Doc::Map(_)) {
            return Err(self.errors.malformed("the body is not a structure"));
        }
        let query = request.uri().query().unwrap_or_default();
        let query = form::query_members(query).map_err(|e| self.malformed(e))?;
        let query = query.into_iter().filter(|(name, _)| !is_signature(name));
        let headers = request.headers();
        let bound = operation.from_headers.iter().filter_map(|name| {
            let value = headers.get(*name)?.to_str().ok()?;
            Some(((*name).to_owned(), Doc::Text(value.to_owned())))
        });
        let bound = query.chain(bound).collect();
        Ok((operation, joined(body, bound, labels)))
    }

    fn read_json(&self, request: &Request<Bytes>) -> Result<(&Registered, Doc), ApiError> {
        let target = request.headers().get("x-amz-target");
        let target = target
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let operation = match target.rsplit_once('.') {
            Some((prefix, name)) if prefix == self.info().target_prefix => self.named(name),
            _ => None,
        };
        let operation = operation.ok_or_else(|| unknown_operation(400))?;
        let doc = json::read(request.body()).map_err(|e| self.malformed(e))?;
        Ok((operation, doc))
    }

    fn read_cbor(&self, request: &Request<Bytes>) -> Result<(&Registered, Doc), ApiError> {
        let mut path = request.uri().path().rsplit('/');
        let operation = match (path.next(), path.next()) {
            (Some(name), Some("operation")) => self.named(name),
            _ => None,
        };
        let operation = operation.ok_or_else(|| unknown_operation(404))?;
        let doc = cbor::read(request.body()).map_err(|e| self.malformed(e))?;
        Ok((operation, doc))
    }
}

/// In the span of the call.
fn log(error: &ApiError) {
    match &error.cause {
        Some(cause) if error.status >= 500 => {
            tracing::error!(cause = chain(cause.as_ref()), "a call failed");
        }
        _ => tracing::debug!(code = error.code.as_ref(), "a call was refused"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}

fn contains(headers: &HeaderMap, name: &str, wanted: &str) -> bool {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains(wanted))
}

fn is_signature(name: &str) -> bool {
    name.get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

fn is_envelope(name: &str) -> bool {
    matches!(name, "Action" | "Version") || is_signature(name)
}

fn unknown_operation(status: u16) -> ApiError {
    let text = "The operation is not known, or Lath does not have it yet.";
    ApiError::new("UnknownOperationException", status, text)
}

fn typing(protocol: Protocol) -> Typing {
    match protocol {
        Protocol::Ec2Query | Protocol::Query | Protocol::RestXml => Typing::Untyped,
        Protocol::RestJson | Protocol::Json10 | Protocol::Json11 | Protocol::RpcV2Cbor => {
            Typing::Typed
        }
    }
}

fn shaping(envelope: &Envelope) -> Shaping {
    match envelope.protocol {
        Protocol::Query if envelope.wants_json => Shaping::Plain,
        Protocol::Ec2Query => Shaping::Elements(ItemName::Fixed("item")),
        Protocol::Query => Shaping::Elements(ItemName::Fixed("member")),
        Protocol::RestXml => Shaping::Elements(ItemName::OfType),
        Protocol::RestJson | Protocol::Json10 | Protocol::Json11 | Protocol::RpcV2Cbor => {
            Shaping::Plain
        }
    }
}
