//! Answers that Lath makes itself, and the failure reasons that access logs give.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use lath_model::lattice::ProtocolVersion;

use crate::breaker::Limit;
use crate::rate::Reading;

/// AWS's failure reasons
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/monitoring-access-logs.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    ClientProtocolError,
    ClientConnectionClosed,
    ClientAccessDenied,
    TargetConnectionError,
    TargetProtocolError,
    TargetConnectionClosed,
    TargetDataTimeout,
    ConnectionDurationExceeded,
    /// Not AWS's: a limit of the target group.
    CircuitBreakerOverflow,
    /// Not AWS's: a rate limit of the rule.
    RateLimitExceeded,
}

impl Failure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ClientProtocolError => "ClientProtocolError",
            Self::ClientConnectionClosed => "ClientConnectionClosed",
            Self::ClientAccessDenied => "ClientAccessDenied",
            Self::TargetConnectionError => "TargetConnectionError",
            Self::TargetProtocolError => "TargetProtocolError",
            Self::TargetConnectionClosed => "TargetConnectionClosed",
            Self::TargetDataTimeout => "TargetDataTimeout",
            Self::ConnectionDurationExceeded => "ConnectionDurationExceeded",
            Self::CircuitBreakerOverflow => "CircuitBreakerOverflow",
            Self::RateLimitExceeded => "RateLimitExceeded",
        }
    }
}

/// Why a request was not answered by a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) failure: Option<Failure>,
    pub(crate) body: Bytes,
    /// Whether what follows on the connection cannot be trusted.
    pub(crate) close: bool,
    /// What a rule's own answer says besides.
    pub(crate) headers: Option<Box<HeaderMap>>,
}

impl Refusal {
    fn new(status: StatusCode, failure: Option<Failure>, text: &'static str) -> Self {
        Self {
            status,
            failure,
            body: Bytes::from_static(text.as_bytes()),
            close: false,
            headers: None,
        }
    }

    /// The request is malformed or beyond a limit. The connection ends with the answer.
    pub(crate) fn bad_request(text: &'static str) -> Self {
        let failure = Some(Failure::ClientProtocolError);
        Self {
            close: true,
            ..Self::new(StatusCode::BAD_REQUEST, failure, text)
        }
    }

    /// The method is not carried to targets.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Some(Failure::ClientProtocolError),
            "Method Not Allowed\n",
        )
    }

    /// The request is well-formed, but cannot be carried to its target group.
    pub(crate) fn not_convertible(text: &'static str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Some(Failure::ClientProtocolError),
            text,
        )
    }

    /// A rule's fixed answer, or an unknown service: no body.
    pub(crate) fn fixed(status: StatusCode) -> Self {
        Self::new(status, None, "")
    }

    /// A rule's redirect, or its fixed answer with headers of its own: no body.
    pub(crate) fn answer(status: StatusCode, headers: HeaderMap) -> Self {
        Self {
            headers: Some(Box::new(headers)),
            ..Self::fixed(status)
        }
    }

    /// The path is too long once it is rewritten.
    pub(crate) fn path_too_long() -> Self {
        let text = "The request's path is too long\n";
        Self {
            status: StatusCode::URI_TOO_LONG,
            ..Self::bad_request(text)
        }
    }

    /// The body is longer than a function takes. The connection ends with the answer.
    pub(crate) fn too_large() -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            ..Self::bad_request("The request is longer than a function takes\n")
        }
    }

    /// Whether a target is at fault, so that another may do better.
    pub(crate) fn is_targets(&self) -> bool {
        matches!(
            self.failure,
            Some(
                Failure::TargetConnectionError
                    | Failure::TargetProtocolError
                    | Failure::TargetConnectionClosed
                    | Failure::TargetDataTimeout
            )
        )
    }

    /// No service of that name in the client's service network.
    pub(crate) fn no_such_service() -> Self {
        Self::new(StatusCode::NOT_FOUND, None, "Not Found\n")
    }

    /// An auth policy denies the request.
    pub(crate) fn denied(text: String) -> Self {
        let failure = Some(Failure::ClientAccessDenied);
        Self {
            body: text.into(),
            ..Self::new(StatusCode::FORBIDDEN, failure, "")
        }
    }

    /// The client's certificate is not, or no longer, one that the listener admits. The connection ends with the answer.
    pub(crate) fn not_admitted(why: &dyn std::fmt::Display) -> Self {
        let text = format!("The client's certificate is not accepted: {why}\n");
        Self {
            close: true,
            ..Self::denied(text)
        }
    }

    /// The client was not asked for a certificate when it connected, or presented one for another service: a new connection
    /// may do better (RFC 9110 section 15.5.20).
    pub(crate) fn misdirected() -> Self {
        let text = "The service asks for a client certificate in the handshake: connect anew by its name\n";
        Self {
            close: true,
            ..Self::new(
                StatusCode::MISDIRECTED_REQUEST,
                Some(Failure::ClientAccessDenied),
                text,
            )
        }
    }

    /// The service network takes identified workloads only, and the client is none.
    pub(crate) fn not_identified() -> Self {
        Self::denied(
            "The service network takes requests of identified workloads only: the client's address is no workload's\n"
                .to_owned(),
        )
    }

    /// There is no target to send it to.
    pub(crate) fn no_target() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(
            status,
            Some(Failure::TargetConnectionError),
            "Service Unavailable\n",
        )
    }

    /// Too much waits for the client already, or for all clients together.
    pub(crate) fn overloaded() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, None, "Service Unavailable\n")
    }

    /// The target group has as much as its circuit breakers let it have.
    pub(crate) fn overflow(limit: Limit) -> Self {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("ServiceUnavailableException");
        headers.insert("x-amzn-errortype", kind);
        let text = format!(
            "Service Unavailable: the target group's {} is reached\n",
            limit.name()
        );
        Self {
            body: text.into(),
            headers: Some(Box::new(headers)),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Failure::CircuitBreakerOverflow),
                "",
            )
        }
    }

    /// A rate limit of the rule does not let it in now.
    pub(crate) fn limited(reading: Reading) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-amzn-errortype",
            HeaderValue::from_static("ThrottlingException"),
        );
        reading.add_to(&mut headers);
        let failure = Some(Failure::RateLimitExceeded);
        Self {
            headers: Some(Box::new(headers)),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                failure,
                "Too Many Requests\n",
            )
        }
    }

    /// No target could be connected.
    pub(crate) fn not_connected() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(
            status,
            Some(Failure::TargetConnectionError),
            "Internal Server Error\n",
        )
    }

    /// As callers by gRPC get it: a target that cannot be connected is UNAVAILABLE to them, of which 500 is no name
    /// (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>).
    pub(crate) fn towards(self, version: ProtocolVersion) -> Self {
        let is_unavailable = self.status == StatusCode::INTERNAL_SERVER_ERROR;
        match version {
            ProtocolVersion::Grpc if is_unavailable => Self::no_target(),
            _ => self,
        }
    }

    /// The target answered with something that is not HTTP, or hung up.
    pub(crate) fn bad_gateway(failure: Failure) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, Some(failure), "Bad Gateway\n")
    }

    /// The target was silent for too long.
    pub(crate) fn timeout() -> Self {
        let status = StatusCode::GATEWAY_TIMEOUT;
        Self::new(
            status,
            Some(Failure::TargetDataTimeout),
            "Gateway Timeout\n",
        )
    }
}
