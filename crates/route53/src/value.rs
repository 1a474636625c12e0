//! Record values in their text form: what is a value of which type.
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/ResourceRecordTypes.html>

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::name;
use crate::shape::RrType;

/// Most octets of one quoted string.
const STRING: usize = 255;
/// Most characters of a whole value.
const VALUE: usize = 4000;

/// Why a text is no value: the problem's name and its sentence, such as `ARRDATAIllegalIPv4Address (Value is
/// not a valid IPv4 address)`, and the part that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadValue {
    problem: String,
    part: String,
}

impl BadValue {
    fn new(problem: impl Into<String>, part: &str) -> Self {
        Self {
            problem: problem.into(),
            part: part.chars().take(256).collect(),
        }
    }

    /// As the service words it.
    pub(crate) fn text(&self) -> String {
        let Self { problem, part } = self;
        format!("Invalid Resource Record: 'FATAL problem: {problem} encountered with '{part}''")
    }
}

type Checked<T = ()> = Result<T, BadValue>;

/// The form in which two equal values are the same text: names canonical, addresses and numbers as they
/// print.
///
/// # Errors
/// What is wrong with the value.
pub(crate) fn normal(kind: RrType, text: &str) -> Checked<String> {
    if text.chars().count() > VALUE {
        return Err(BadValue::new("ValueTooLong (Value is too long)", text));
    }
    match kind {
        RrType::A => address::<Ipv4Addr>(text, "ARRDATAIllegalIPv4Address", "IPv4"),
        RrType::Aaaa => address::<Ipv6Addr>(text, "AAAARRDATAIllegalIPv6Address", "IPv6"),
        RrType::Cname | RrType::Ns | RrType::Ptr => one_name(kind, text),
        RrType::Txt | RrType::Spf => strings(text),
        RrType::Caa => caa(text),
        RrType::Ds => digest(kind, text, 4, &[65535, 255, 255]),
        RrType::Sshfp => digest(kind, text, 3, &[255, 255]),
        RrType::Tlsa => digest(kind, text, 4, &[255, 255, 255]),
        RrType::Mx => numbers_and_name(kind, text, &[65535]),
        RrType::Srv => numbers_and_name(kind, text, &[65535, 65535, 65535]),
        RrType::Naptr => naptr(text),
        RrType::Soa => soa(text),
        RrType::Svcb | RrType::Https => service(kind, text),
    }
}

fn address<T: std::str::FromStr + ToString>(
    text: &str,
    problem: &str,
    family: &str,
) -> Checked<String> {
    text.parse::<T>()
        .map(|address| address.to_string())
        .map_err(|_| {
            let problem = format!("{problem} (Value is not a valid {family} address)");
            BadValue::new(problem, text)
        })
}

fn one_name(kind: RrType, text: &str) -> Checked<String> {
    if text.contains(char::is_whitespace) {
        let problem = format!("{kind}RRDATANotSingleField (Value contains spaces)");
        return Err(BadValue::new(problem, text));
    }
    domain(text)
}

fn domain(text: &str) -> Checked<String> {
    if text == "." {
        return Ok(text.to_owned());
    }
    name::canonical(text).map_err(|error| BadValue::new(error.text(), text))
}

fn number(text: &str, most: u32) -> Checked<String> {
    match text.parse::<u32>() {
        Ok(number) if number <= most && text.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(number.to_string())
        }
        _ => Err(BadValue::new(
            "IllegalInteger (Value is not a valid integer)",
            text,
        )),
    }
}

/// The fields of a value, a quoted string being one.
fn fields(text: &str) -> Checked<Vec<&str>> {
    let mut fields = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = field_end(rest)?;
        fields.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    Ok(fields)
}

/// Where the first field ends: at a space outside of quotes, or where one quoted string touches the next, which is
/// how Terraform's users write texts of more than 255 octets.
fn field_end(text: &str) -> Checked<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '"' if quoted && text.starts_with('"') && text[at + 1..].starts_with('"') => {
                return Ok(at + 1);
            }
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok(at),
            _ => {}
        }
    }
    if quoted {
        return Err(unquoted(text));
    }
    Ok(text.len())
}

fn unquoted(text: &str) -> BadValue {
    let problem = "InvalidCharacterString (Value should be enclosed in quotation marks)";
    BadValue::new(problem, text)
}

fn counted(kind: RrType, text: &str, want: usize) -> Checked<Vec<&str>> {
    let fields = fields(text)?;
    if fields.len() == want {
        return Ok(fields);
    }
    let problem = format!("{kind}RRDATANot{want}Fields (Value must have {want} fields)");
    Err(BadValue::new(problem, text))
}

/// The octets of a quoted string.
fn string_octets(text: &str) -> Checked<Vec<u8>> {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or_else(|| unquoted(text))?;
    let mut octets = Vec::with_capacity(inner.len());
    let mut rest = inner.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'\\' => {
                let (octet, after) = escape(after).ok_or_else(|| unsupported(text))?;
                octets.push(octet);
                rest = after;
            }
            b'"' => return Err(unquoted(text)),
            b' '..=b'~' => octets.push(*first),
            _ => return Err(unsupported(text)),
        }
    }
    Ok(octets)
}

fn unsupported(text: &str) -> BadValue {
    let problem = "UnsupportedCharacter (Value contains unsupported characters)";
    BadValue::new(problem, text)
}

/// The octet that follows a backslash, and the rest: three octal digits, or any character that is no digit and stands
/// for itself, as in RFC 1035, 5.1 (clients write `\;`).
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
            let digit = |octet: &u8| octet - b'0';
            Some((digit(a) * 64 + digit(b) * 8 + digit(c), rest))
        }
        [b'0'..=b'9', ..] => None,
        [octet @ b' '..=b'~', rest @ ..] => Some((*octet, rest)),
        _ => None,
    }
}

/// The form in which equal strings are the same text.
fn string(text: &str) -> Checked<String> {
    let octets = string_octets(text)?;
    if octets.len() > STRING {
        let problem = "CharacterStringTooLong (Value is too long)";
        return Err(BadValue::new(problem, text));
    }
    let mut out = String::with_capacity(text.len());
    out.push('"');
    for octet in octets {
        match octet {
            b'"' | b'\\' => out.extend(['\\', char::from(octet)]),
            b' '..=b'~' => out.push(char::from(octet)),
            _ => out.push_str(&format!("\\{octet:03o}")),
        }
    }
    out.push('"');
    Ok(out)
}

fn strings(text: &str) -> Checked<String> {
    let fields = fields(text)?;
    if fields.is_empty() {
        return Err(unquoted(text));
    }
    let fields: Vec<String> = fields.into_iter().map(string).collect::<Checked<_>>()?;
    Ok(fields.join(" "))
}

fn caa(text: &str) -> Checked<String> {
    let fields = counted(RrType::Caa, text, 3)?;
    let flags = number(fields[0], 255)?;
    let tag = fields[1];
    if !matches!(tag.len(), 1..=15) || !tag.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(BadValue::new("CAARRDATAInvalidTag (Tag is not valid)", tag));
    }
    let value = string(fields[2])?;
    Ok(format!("{flags} {} {value}", tag.to_ascii_lowercase()))
}

/// Numbers, and hexadecimal digits at the end.
fn digest(kind: RrType, text: &str, want: usize, most: &[u32]) -> Checked<String> {
    let fields = counted(kind, text, want)?;
    let mut out = Vec::new();
    for (field, most) in fields.iter().zip(most) {
        out.push(number(field, *most)?);
    }
    let hex = fields[want - 1];
    if hex.len() % 2 != 0 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        let problem = format!("{kind}RRDATAInvalidDigest (Value is not hexadecimal)");
        return Err(BadValue::new(problem, hex));
    }
    out.push(hex.to_ascii_lowercase());
    Ok(out.join(" "))
}

/// Numbers, and a name at the end.
fn numbers_and_name(kind: RrType, text: &str, most: &[u32]) -> Checked<String> {
    let fields = counted(kind, text, most.len() + 1)?;
    let mut out = Vec::new();
    for (field, most) in fields.iter().zip(most) {
        out.push(number(field, *most)?);
    }
    out.push(domain(fields[most.len()])?);
    Ok(out.join(" "))
}

fn naptr(text: &str) -> Checked<String> {
    let fields = counted(RrType::Naptr, text, 6)?;
    let (order, preference) = (number(fields[0], 65535)?, number(fields[1], 65535)?);
    let strings = fields[2..5].iter().map(|field| string(field));
    let strings = strings.collect::<Checked<Vec<_>>>()?.join(" ");
    let replacement = domain(fields[5])?;
    Ok(format!("{order} {preference} {strings} {replacement}"))
}

fn soa(text: &str) -> Checked<String> {
    let fields = counted(RrType::Soa, text, 7)?;
    let mut out = vec![domain(fields[0])?, domain(fields[1])?];
    for field in &fields[2..] {
        out.push(number(field, u32::MAX)?);
    }
    Ok(out.join(" "))
}

/// RFC 9460: a priority, a target, and parameters, of which an alias (priority 0) has none.
fn service(kind: RrType, text: &str) -> Checked<String> {
    let fields = fields(text)?;
    let [priority, target, parameters @ ..] = fields.as_slice() else {
        let problem = format!("{kind}RRDATANot2Fields (Value must have at least 2 fields)");
        return Err(BadValue::new(problem, text));
    };
    let priority = number(priority, 65535)?;
    let mut out = vec![domain(target)?];
    for parameter in parameters {
        out.push(service_parameter(kind, parameter)?);
    }
    let mut keys: Vec<&str> = out[1..].iter().map(|p| key_of(p)).collect();
    keys.sort_unstable();
    let twice = keys.windows(2).any(|pair| pair[0] == pair[1]);
    if twice || (priority == "0" && !parameters.is_empty()) {
        return Err(bad_parameter(kind, text));
    }
    Ok(format!("{priority} {}", out.join(" ")))
}

fn key_of(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(key, _)| key)
}

fn bad_parameter(kind: RrType, text: &str) -> BadValue {
    let problem = format!("{kind}RRDATAInvalidParameter (Parameter is not valid)");
    BadValue::new(problem, text)
}

fn service_parameter(kind: RrType, text: &str) -> Checked<String> {
    let bad = || bad_parameter(kind, text);
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.trim_matches('"'))),
        None => (text, None),
    };
    let list = || value.unwrap_or_default().split(',');
    let sound = match key {
        "no-default-alpn" => value.is_none(),
        "port" => value.is_some_and(|port| port.parse::<u16>().is_ok()),
        "ipv4hint" => list().all(|a| a.parse::<Ipv4Addr>().is_ok()),
        "ipv6hint" => list().all(|a| a.parse::<Ipv6Addr>().is_ok()),
        "alpn" => list().all(|id| matches!(id.len(), 1..=255)),
        "mandatory" => list().all(|key| !key.is_empty()),
        "ech" | "dohpath" => value.is_some_and(|value| !value.is_empty()),
        _ => key
            .strip_prefix("key")
            .is_some_and(|number| number.parse::<u16>().is_ok()),
    };
    if sound {
        Ok(text.to_owned())
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is stored, servers can answer.
    #[track_caller]
    fn is_known_to_servers(kind: RrType, text: &str) {
        let wire = lath_zones::Value::parse(kind.as_str().parse().unwrap(), text);
        assert!(wire.is_ok(), "{kind} {text}: {wire:?}");
    }

    #[test]
    fn values_are_judged_by_their_type() {
        let long = format!("\"{}\"", "a".repeat(256));
        for (kind, text, want) in [
            (RrType::A, "192.0.2.1", Ok("192.0.2.1")),
            (RrType::A, "192.0.2", Err("ARRDATAIllegalIPv4Address")),
            (RrType::A, "2001:db8::1", Err("ARRDATAIllegalIPv4Address")),
            (RrType::Aaaa, "2001:DB8:0:0::1", Ok("2001:db8::1")),
            (RrType::Aaaa, "x", Err("AAAARRDATAIllegalIPv6Address")),
            (RrType::Cname, "WWW.Example.com", Ok("www.example.com.")),
            (RrType::Cname, "a b", Err("CNAMERRDATANotSingleField")),
            (RrType::Cname, "a..b", Err("DomainLabelEmpty")),
            (RrType::Ns, "ns.example.com.", Ok("ns.example.com.")),
            (
                RrType::Mx,
                "10 mail.example.com",
                Ok("10 mail.example.com."),
            ),
            (RrType::Mx, "mail.example.com", Err("MXRRDATANot2Fields")),
            (RrType::Mx, "65536 a", Err("IllegalInteger")),
            (RrType::Mx, "0 .", Ok("0 .")),
            (RrType::Txt, "\"a b\" \"c\"", Ok("\"a b\" \"c\"")),
            (RrType::Txt, "\"a b\"\"c\"", Ok("\"a b\" \"c\"")),
            (RrType::Txt, "\"\"\"c\"", Ok("\"\" \"c\"")),
            (
                RrType::Txt,
                "\"a \\\" \\\\ \\351\"",
                Ok("\"a \\\" \\\\ \\351\""),
            ),
            (RrType::Txt, "\"\"", Ok("\"\"")),
            (RrType::Txt, "plain", Err("InvalidCharacterString")),
            (RrType::Txt, "\"open", Err("InvalidCharacterString")),
            (
                RrType::Txt,
                "\"v=DKIM1\\; k=rsa\\;\"",
                Ok("\"v=DKIM1; k=rsa;\""),
            ),
            (RrType::Txt, "\"\\a\\ \\$\\@\\101\"", Ok("\"a $@A\"")),
            (
                RrType::Caa,
                "0 issue \"ca.example\\; a=b\"",
                Ok("0 issue \"ca.example; a=b\""),
            ),
            (RrType::Txt, "\"a\\9\"", Err("UnsupportedCharacter")),
            (RrType::Txt, "\"a\\400\"", Err("UnsupportedCharacter")),
            (RrType::Txt, "\"a\\18\"", Err("UnsupportedCharacter")),
            (RrType::Txt, "\"ä\"", Err("UnsupportedCharacter")),
            (RrType::Txt, "", Err("InvalidCharacterString")),
            (RrType::Txt, &long, Err("CharacterStringTooLong")),
            (RrType::Spf, "\"v=spf1 -all\"", Ok("\"v=spf1 -all\"")),
            (
                RrType::Caa,
                "0 issue \"ca.example.net\"",
                Ok("0 issue \"ca.example.net\""),
            ),
            (RrType::Caa, "0 issue ca", Err("InvalidCharacterString")),
            (RrType::Caa, "256 issue \"x\"", Err("IllegalInteger")),
            (
                RrType::Srv,
                "1 10 5269 xmpp.example.com.",
                Ok("1 10 5269 xmpp.example.com."),
            ),
            (
                RrType::Srv,
                "1 10 xmpp.example.com.",
                Err("SRVRRDATANot4Fields"),
            ),
            (
                RrType::Naptr,
                "100 50 \"u\" \"E2U+sip\" \"!^.*$!sip:a@example.com!\" .",
                Ok("100 50 \"u\" \"E2U+sip\" \"!^.*$!sip:a@example.com!\" ."),
            ),
            (
                RrType::Naptr,
                "100 50 u \"x\" \"\" .",
                Err("InvalidCharacterString"),
            ),
            (RrType::Ds, "123 4 5 AB12", Ok("123 4 5 ab12")),
            (RrType::Ds, "123 4 5 AB1", Err("DSRRDATAInvalidDigest")),
            (RrType::Sshfp, "2 1 123456", Ok("2 1 123456")),
            (RrType::Tlsa, "3 0 1 d2ab", Ok("3 0 1 d2ab")),
            (RrType::Tlsa, "3 0 d2ab", Err("TLSARRDATANot4Fields")),
            (
                RrType::Soa,
                "ns-1.awsdns-00.com. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400",
                Ok("ns-1.awsdns-00.com. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"),
            ),
            (RrType::Soa, "a b 1 2 3 4", Err("SOARRDATANot7Fields")),
            (
                RrType::Https,
                "1 . alpn=\"h3,h2\" port=443",
                Ok("1 . alpn=\"h3,h2\" port=443"),
            ),
            (
                RrType::Https,
                "0 a.example.com port=1",
                Err("HTTPSRRDATAInvalidParameter"),
            ),
            (
                RrType::Svcb,
                "1 a port=1 port=2",
                Err("SVCBRRDATAInvalidParameter"),
            ),
            (RrType::Svcb, "1", Err("SVCBRRDATANot2Fields")),
            (RrType::Ptr, "host.example.com", Ok("host.example.com.")),
        ] {
            match (normal(kind, text), want) {
                (Ok(got), Ok(want)) => {
                    assert_eq!(got, want, "{kind} {text}");
                    is_known_to_servers(kind, text);
                }
                (Err(got), Err(want)) => {
                    let got = got.text();
                    assert!(got.contains(want), "{kind} {text}: {got}");
                }
                (got, want) => panic!("{kind} {text}: {got:?}, {want:?}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn normal_forms_are_their_own(text in "[0-9a-fA-F. \"\\\\=,!-~]{0,40}") {
            crate::fuzzing::record_value(&text);
            crate::fuzzing::domain_name(&text);
        }
    }
}
