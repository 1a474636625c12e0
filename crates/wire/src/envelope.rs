//! What each protocol wraps around replies and errors.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use crate::bound::Output;
use crate::format::{cbor, json, xml};
use crate::moment::TimeFormat;
use crate::{ApiError, Doc, Fault, Protocol};

/// How to answer one request.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub(crate) protocol: Protocol,
    /// The model's name, of which RPC v2 CBOR makes absolute shape ids.
    pub(crate) model: &'static str,
    pub(crate) xmlns: &'static str,
    pub(crate) times: TimeFormat,
    /// A query request whose sender wants JSON back.
    pub(crate) wants_json: bool,
    /// `x-amzn-query-mode: true`: errors shall carry their query code too.
    pub(crate) query_mode: bool,
    pub(crate) request_id: String,
}

impl Envelope {
    /// The one where not even a service can be guessed.
    pub fn anonymous(request: &Request<Bytes>, request_id: &str) -> Self {
        let json = request
            .headers()
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().windows(4).any(|part| part == b"json"));
        let is = |name: &str, wanted: &[u8]| {
            let value = request.headers().get(name);
            value.is_some_and(|value| value.as_bytes().ends_with(wanted))
        };
        let protocol = if is("smithy-protocol", b"rpc-v2-cbor") {
            Protocol::RpcV2Cbor
        } else if request.headers().contains_key("x-amz-target") {
            if is("content-type", b"json-1.0") {
                Protocol::Json10
            } else {
                Protocol::Json11
            }
        } else if json || request.uri().path() != "/" {
            Protocol::RestJson
        } else {
            Protocol::Query
        };
        Self {
            protocol,
            model: "",
            xmlns: "",
            times: TimeFormat::EpochSeconds,
            wants_json: false,
            query_mode: false,
            request_id: request_id.to_owned(),
        }
    }

    /// The one of a service of this protocol, REST with XML, and of this model.
    #[must_use]
    pub fn of_rest_xml(self, model: &'static str) -> Self {
        Self {
            protocol: Protocol::RestXml,
            model,
            ..self
        }
    }

    /// The protocol of the answer.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The answer to a call that went well. `status` is that of the REST route, or 200.
    pub(crate) fn success(&self, operation: &str, status: u16, output: Output) -> Response<Bytes> {
        let Output {
            doc, raw, headers, ..
        } = output;
        if let Some(raw) = raw {
            let mut response = self.response(raw.status, raw.body);
            for (name, value) in &headers {
                put(&mut response, name, value);
            }
            return response;
        }
        let body = match self.protocol {
            Protocol::Ec2Query => self.ec2_success(operation, doc),
            Protocol::Query if self.wants_json => self.query_json_success(operation, doc),
            Protocol::Query => self.query_success(operation, doc),
            Protocol::RestXml => self.rest_xml_success(operation, &doc),
            Protocol::RestJson if doc == Doc::Null => b"{}".to_vec(),
            Protocol::Json10 | Protocol::Json11 | Protocol::RpcV2Cbor if doc == Doc::Null => {
                Vec::new()
            }
            Protocol::RestJson | Protocol::Json10 | Protocol::Json11 => {
                json::write(&doc, self.times).into_bytes()
            }
            Protocol::RpcV2Cbor => cbor::write(&doc),
        };
        let body = if status == 204 { Vec::new() } else { body };
        let mut response = self.response(status, body);
        for (name, value) in &headers {
            put(&mut response, name, value);
        }
        response
    }

    /// The answer to a call that failed.
    pub fn failure(&self, error: &ApiError) -> Response<Bytes> {
        let name = error.code.as_ref();
        let code = error.query_code.unwrap_or(name);
        let mut response = match self.protocol {
            Protocol::Ec2Query => self.ec2_failure(error, code),
            Protocol::Query if self.wants_json => self.query_json_failure(error, code),
            Protocol::RestXml if self.model.starts_with("s3") => self.s3_failure(error, code),
            Protocol::Query | Protocol::RestXml => self.query_failure(error, code),
            Protocol::RestJson => self.rest_json_failure(error, name),
            Protocol::Json10 | Protocol::Json11 | Protocol::RpcV2Cbor => {
                self.typed_failure(error, name)
            }
        };
        if self.query_mode {
            put(
                &mut response,
                "x-amzn-query-error",
                &format!("{code};{}", side(error)),
            );
        }
        for (name, value) in &error.headers {
            put(&mut response, name, value);
        }
        response
    }

    fn response(&self, status: u16, body: Vec<u8>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        put(&mut response, "x-amzn-requestid", &self.request_id);
        put(&mut response, "content-type", self.content_type());
        if self.protocol == Protocol::RpcV2Cbor {
            put(&mut response, "smithy-protocol", "rpc-v2-cbor");
        }
        response
    }

    fn content_type(&self) -> &'static str {
        match self.protocol {
            Protocol::Ec2Query => "text/xml;charset=UTF-8",
            Protocol::Query if self.wants_json => "application/json",
            Protocol::Query | Protocol::RestXml => "text/xml",
            Protocol::RestJson => "application/json",
            Protocol::Json10 => "application/x-amz-json-1.0",
            Protocol::Json11 => "application/x-amz-json-1.1",
            Protocol::RpcV2Cbor => "application/cbor",
        }
    }

    fn xml(&self, name: &str, content: &Doc) -> Vec<u8> {
        let root = xml::Element {
            name,
            xmlns: self.xmlns,
            content,
        };
        xml::print(root, self.times).into_bytes()
    }

    // === success ===

    fn ec2_success(&self, operation: &str, doc: Doc) -> Vec<u8> {
        let mut members = vec![member("requestId", text(&self.request_id))];
        match doc {
            Doc::Map(own) if !own.is_empty() => members.extend(own),
            _ => members.push(member("return", Doc::Bool(true))),
        }
        self.xml(&format!("{operation}Response"), &Doc::Map(members))
    }

    fn query_success(&self, operation: &str, doc: Doc) -> Vec<u8> {
        self.xml(
            &format!("{operation}Response"),
            &self.query_body(operation, doc),
        )
    }

    fn query_json_success(&self, operation: &str, doc: Doc) -> Vec<u8> {
        let body = self.query_body(operation, doc);
        let root = Doc::Map(vec![(format!("{operation}Response"), body)]);
        json::write(&root, TimeFormat::EpochSeconds).into_bytes()
    }

    fn query_body(&self, operation: &str, doc: Doc) -> Doc {
        let mut members = Vec::new();
        if doc != Doc::Null {
            members.push((format!("{operation}Result"), doc));
        }
        let metadata = Doc::Map(vec![member("RequestId", text(&self.request_id))]);
        members.push(member("ResponseMetadata", metadata));
        Doc::Map(members)
    }

    fn rest_xml_success(&self, operation: &str, doc: &Doc) -> Vec<u8> {
        if *doc == Doc::Null {
            return Vec::new();
        }
        self.xml(&format!("{operation}Response"), doc)
    }

    // === failure ===

    fn ec2_failure(&self, error: &ApiError, code: &str) -> Response<Bytes> {
        let code = if code == "InternalFailure" {
            "InternalError"
        } else {
            code
        };
        let one = Doc::Map(vec![
            member("Code", text(code)),
            member("Message", text(&error.message)),
        ]);
        let errors = Doc::Map(vec![member("Error", one)]);
        let root = Doc::Map(vec![
            member("Errors", errors),
            member("RequestID", text(&self.request_id)),
        ]);
        let bare = Self {
            xmlns: "",
            ..self.clone()
        };
        self.response(error.status, bare.xml("Response", &root))
    }

    fn query_error(&self, error: &ApiError, code: &str) -> Doc {
        let mut members = vec![
            member("Type", text(side(error))),
            member("Code", text(code)),
            member("Message", text(&error.message)),
        ];
        members.extend(
            error
                .fields
                .iter()
                .map(|(name, doc)| member(name, doc.clone())),
        );
        Doc::Map(vec![
            member("Error", Doc::Map(members)),
            member("RequestId", text(&self.request_id)),
        ])
    }

    /// S3's errors have no wrapper (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
    fn s3_failure(&self, error: &ApiError, code: &str) -> Response<Bytes> {
        let members = vec![
            member("Code", text(code)),
            member("Message", text(&error.message)),
            member("RequestId", text(&self.request_id)),
        ];
        let body = self.xml("Error", &Doc::Map(members));
        self.response(error.status, body)
    }

    fn query_failure(&self, error: &ApiError, code: &str) -> Response<Bytes> {
        let body = self.xml("ErrorResponse", &self.query_error(error, code));
        self.response(error.status, body)
    }

    fn query_json_failure(&self, error: &ApiError, code: &str) -> Response<Bytes> {
        let body = json::write(&self.query_error(error, code), TimeFormat::EpochSeconds);
        self.response(error.status, body.into_bytes())
    }

    fn rest_json_failure(&self, error: &ApiError, name: &str) -> Response<Bytes> {
        let mut members = vec![member("message", text(&error.message))];
        members.extend(
            error
                .fields
                .iter()
                .map(|(name, doc)| member(name, doc.clone())),
        );
        let body = json::write(&Doc::Map(members), self.times);
        let mut response = self.response(error.status, body.into_bytes());
        put(&mut response, "x-amzn-errortype", name);
        response
    }

    fn typed_failure(&self, error: &ApiError, name: &str) -> Response<Bytes> {
        // RPC v2 CBOR wants an absolute shape id
        // (<https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>).
        let shape = if self.protocol == Protocol::RpcV2Cbor {
            format!("com.amazonaws.{}#{name}", self.model)
        } else {
            name.to_owned()
        };
        let mut members = vec![
            member("__type", text(&shape)),
            member("message", text(&error.message)),
        ];
        members.extend(
            error
                .fields
                .iter()
                .map(|(name, doc)| member(name, doc.clone())),
        );
        let doc = Doc::Map(members);
        let body = if self.protocol == Protocol::RpcV2Cbor {
            cbor::write(&doc)
        } else {
            json::write(&doc, self.times).into_bytes()
        };
        self.response(error.status, body)
    }
}

fn member(name: &str, doc: Doc) -> (String, Doc) {
    (name.to_owned(), doc)
}

fn text(text: &str) -> Doc {
    Doc::String(text.to_owned())
}

fn side(error: &ApiError) -> &'static str {
    match error.fault() {
        Fault::Sender => "Sender",
        Fault::Receiver => "Receiver",
    }
}

fn put(response: &mut Response<Bytes>, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes());
    let value = HeaderValue::from_str(value);
    if let (Ok(name), Ok(value)) = (name, value) {
        response.headers_mut().insert(name, value);
    }
}
