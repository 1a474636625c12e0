//! What decoding and validation answer, by protocol and service.

use crate::bound::CallError;
use crate::decode_error::Misfit;
use crate::{ApiError, DecodeError, Doc, Problem, Protocol, ServiceInfo};

/// How a service words the errors that arise before its handlers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStyle {
    /// `MissingParameter`, `InvalidParameterValue`, `UnknownParameter`.
    Ec2,
    /// `ValidationException` with `reason` and `fieldList` (newer rest-json services).
    FieldList,
    /// One error code, and the text `1 validation error detected: Value ... at 'x' failed to satisfy
    /// constraint: ...`.
    Constraint {
        /// `ValidationError`, `ValidationException` or `InvalidParameterException`.
        code: &'static str,
        /// The code when the types do not fit: `SerializationException` in JSON.
        wrong_type: &'static str,
    },
    /// One error code, and what is wrong with the first member as a sentence (EKS).
    Sentence {
        /// `InvalidParameterException`.
        code: &'static str,
    },
    /// `InvalidParameterException`: `Invalid parameter at 'x' failed to satisfy constraint: '...'` (ECR).
    Quoted,
    /// `MissingParameter` and `InvalidParameterValue` (CloudWatch).
    Parameter,
}

impl ErrorStyle {
    /// The style of a service, as far as it is known; else the usual one of its first protocol.
    pub fn of(info: &ServiceInfo) -> Self {
        match info.model {
            "cloudwatch" => return Self::Parameter,
            "ecr" => return Self::Quoted,
            "route53" => {
                return Self::Constraint {
                    code: "InvalidInput",
                    wrong_type: "MalformedInput",
                };
            }
            "eks" => {
                return Self::Sentence {
                    code: "InvalidParameterException",
                };
            }
            "lambda" => {
                return Self::Constraint {
                    code: "ValidationException",
                    wrong_type: "SerializationException",
                };
            }
            "logs" => {
                return Self::Constraint {
                    code: "InvalidParameterException",
                    wrong_type: "SerializationException",
                };
            }
            _ => {}
        }
        match info.protocols.first() {
            Some(Protocol::Ec2Query) => Self::Ec2,
            Some(Protocol::RestJson) => Self::FieldList,
            Some(Protocol::Query | Protocol::RestXml) | None => Self::Constraint {
                code: "ValidationError",
                wrong_type: "MalformedInput",
            },
            Some(Protocol::Json10 | Protocol::Json11 | Protocol::RpcV2Cbor) => Self::Constraint {
                code: "ValidationException",
                wrong_type: "SerializationException",
            },
        }
    }

    pub(crate) fn error(self, refusal: CallError, protocol: Protocol) -> ApiError {
        match refusal {
            CallError::Denied(denied) => denied.error(protocol),
            CallError::Api(error) => error,
            CallError::Misfit(error) => self.misfit(&error),
            CallError::Unknown(member) => ApiError::new(
                "UnknownParameter",
                400,
                format!("The parameter {member} is not recognized"),
            ),
            CallError::Invalid(problems) => self.invalid(problems),
        }
    }

    /// The body is not even of its format.
    pub(crate) fn malformed(self, text: &str) -> ApiError {
        match self {
            Self::Ec2 => ApiError::new("MalformedQueryString", 400, text),
            Self::Parameter => ApiError::new("SerializationException", 400, text)
                .with_query_code("MalformedQueryString"),
            Self::FieldList => validation("cannotParse", text.to_owned(), Vec::new()),
            Self::Sentence { code } => ApiError::new(code, 400, text),
            Self::Quoted => ApiError::new("SerializationException", 400, text),
            Self::Constraint { wrong_type, .. } => ApiError::new(wrong_type, 400, text),
        }
    }

    fn misfit(self, error: &DecodeError) -> ApiError {
        let member = error.member();
        match self {
            Self::Ec2 => ec2(&member, error),
            Self::Parameter => parameter(&member, error),
            Self::FieldList => field_list(member, error),
            Self::Sentence { code } => match constraint(&member, error) {
                Some(text) => ApiError::new(code, 400, text),
                None => ApiError::new(code, 400, error.to_string()),
            },
            Self::Quoted => match rule_of(error) {
                Some(rule) => quoted(&member, &rule),
                None => ApiError::new("SerializationException", 400, error.to_string()),
            },
            Self::Constraint { code, wrong_type } => match constraint(&bean(&member), error) {
                Some(text) => ApiError::new(code, 400, detected(&[text])),
                None => ApiError::new(wrong_type, 400, error.to_string()),
            },
        }
    }

    fn invalid(self, problems: Vec<Problem>) -> ApiError {
        match self {
            Self::Ec2 => ApiError::new("InvalidParameterValue", 400, first(problems, of_ec2)),
            Self::Parameter => invalid_parameter(first(problems, of_cloudwatch)),
            Self::FieldList => {
                let text = sentence(&problems);
                validation("fieldValidationFailed", text, problems)
            }
            Self::Sentence { code } => ApiError::new(code, 400, first(problems, at_member)),
            Self::Quoted => match problems.first() {
                Some(problem) => quoted(&problem.member, &problem.message),
                None => quoted("", ""),
            },
            Self::Constraint { code, .. } => {
                let texts: Vec<String> = problems.iter().map(at_bean).collect();
                ApiError::new(code, 400, detected(&texts))
            }
        }
    }
}

fn ec2(member: &str, error: &DecodeError) -> ApiError {
    let text = match &error.misfit {
        Misfit::Missing => {
            return ApiError::new(
                "MissingParameter",
                400,
                format!("The request must contain the parameter {member}"),
            );
        }
        Misfit::UnknownValue { value, .. } => {
            format!("Invalid value '{value}' for {member}.")
        }
        Misfit::WrongType(text) | Misfit::Refused(text) => {
            format!("Invalid value for parameter {member}: {text}")
        }
    };
    ApiError::new("InvalidParameterValue", 400, text)
}

fn parameter(member: &str, error: &DecodeError) -> ApiError {
    match &error.misfit {
        Misfit::Missing => {
            let text = format!("The parameter {member} is required.");
            ApiError::new("MissingRequiredParameterException", 400, text)
                .with_query_code("MissingParameter")
        }
        _ => invalid_parameter(format!("The value of {error}")),
    }
}

fn invalid_parameter(text: String) -> ApiError {
    ApiError::new("InvalidParameterValueException", 400, text)
        .with_query_code("InvalidParameterValue")
}

fn field_list(member: String, error: &DecodeError) -> ApiError {
    let message = match &error.misfit {
        Misfit::Missing => "Member must not be null".to_owned(),
        Misfit::UnknownValue { known, .. } => {
            format!("Member must satisfy enum value set: [{}]", known.join(", "))
        }
        Misfit::WrongType(text) => {
            let text = format!("{member}: {text}");
            return validation("cannotParse", text, Vec::new());
        }
        Misfit::Refused(text) => text.clone(),
    };
    let problems = vec![Problem {
        member,
        message,
        value: None,
    }];
    validation("fieldValidationFailed", sentence(&problems), problems)
}

/// A member as these messages name it: AWS's validators know `PolicyArn` as `policyArn`, and `Tags.1.Key` as
/// `tags.1.member.key`.
fn bean(member: &str) -> String {
    let lowered = member.split('.').map(|part| {
        let mut letters = part.chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        let name = first.into_iter().chain(letters).collect::<String>();
        match !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            true => name + ".member",
            false => name,
        }
    });
    lowered.collect::<Vec<_>>().join(".")
}

/// What a misfit breaks; `None` where it is of another type.
fn rule_of(error: &DecodeError) -> Option<String> {
    match &error.misfit {
        Misfit::Missing => Some("Member must not be null".to_owned()),
        Misfit::UnknownValue { known, .. } => Some(format!(
            "Member must satisfy enum value set: [{}]",
            known.join(", ")
        )),
        Misfit::Refused(text) => Some(text.clone()),
        Misfit::WrongType(_) => None,
    }
}

fn constraint(member: &str, error: &DecodeError) -> Option<String> {
    let rule = rule_of(error)?;
    let value = match &error.misfit {
        Misfit::Missing => "null ".to_owned(),
        Misfit::UnknownValue { value, .. } => format!("'{value}' "),
        Misfit::Refused(_) | Misfit::WrongType(_) => String::new(),
    };
    Some(format!(
        "Value {value}at '{member}' failed to satisfy constraint: {rule}"
    ))
}

/// The first problem in a service's words. What its own checks found has them already.
fn first(problems: Vec<Problem>, words: impl Fn(&Problem) -> String) -> String {
    let first = problems.into_iter().next();
    first.map_or_else(String::new, |problem| match problem.value {
        None if !problem.message.starts_with("Member must ") => problem.message,
        _ => words(&problem),
    })
}

/// EC2 says of a range that it expects a value greater or less than its end, and means the end too.
fn of_ec2(problem: &Problem) -> String {
    let member = bean(&problem.member);
    let value = problem.value.as_deref().unwrap_or_default();
    let message = &problem.message;
    match message.strip_prefix("Member must have value ") {
        Some(range) => {
            let range = range.replace("than or equal to", "than");
            format!(
                "Value ( {value} ) for parameter {member} is invalid. Expecting a value {range}."
            )
        }
        None => format!("Value ({value}) for parameter {member} is invalid. {message}."),
    }
}

fn of_cloudwatch(problem: &Problem) -> String {
    let Problem {
        member, message, ..
    } = problem;
    let message = message.trim_start_matches("Member ");
    format!("The parameter {member} {message}.")
}

fn at_member(problem: &Problem) -> String {
    let Problem {
        member, message, ..
    } = problem;
    if message.starts_with("Value ") {
        return message.clone();
    }
    format!("Value at '{member}' failed to satisfy constraint: {message}")
}

/// The same with the value, and with members as AWS's validators know them.
fn at_bean(problem: &Problem) -> String {
    let Some(value) = &problem.value else {
        return at_member(problem);
    };
    let member = bean(&problem.member);
    let message = &problem.message;
    format!("Value '{value}' at '{member}' failed to satisfy constraint: {message}")
}

fn quoted(member: &str, rule: &str) -> ApiError {
    let text = format!("Invalid parameter at '{member}' failed to satisfy constraint: '{rule}'");
    ApiError::new("InvalidParameterException", 400, text)
}

fn sentence(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(at_member).collect();
    detected(&texts)
}

fn detected(texts: &[String]) -> String {
    let plural = if texts.len() == 1 { "" } else { "s" };
    format!(
        "{} validation error{plural} detected: {}",
        texts.len(),
        texts.join("; ")
    )
}

fn validation(reason: &str, text: String, problems: Vec<Problem>) -> ApiError {
    let error = ApiError::new("ValidationException", 400, text)
        .with_field("reason", Doc::String(reason.to_owned()));
    if problems.is_empty() {
        return error;
    }
    let field = |problem: Problem| {
        Doc::Map(vec![
            ("name".into(), Doc::String(problem.member)),
            ("message".into(), Doc::String(problem.message)),
        ])
    };
    error.with_field(
        "fieldList",
        Doc::List(problems.into_iter().map(field).collect()),
    )
}
