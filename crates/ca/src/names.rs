//! Distinguished names.

use std::fmt;

use rcgen::{DistinguishedName, DnType, DnValue};
use serde::{Deserialize, Serialize};
use x509_parser::x509::X509Name;

/// An attribute of a name: its type's object identifier, such as `2.5.4.3`, and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// The type.
    pub oid: String,
    /// The value.
    pub value: String,
}

/// The name of a subject or an issuer, attributes in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject(pub Vec<Attribute>);

/// The types with names of their own, and those names.
const TYPES: [(&str, &str); 16] = [
    ("2.5.4.6", "C"),
    ("2.5.4.8", "ST"),
    ("2.5.4.7", "L"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.4", "SURNAME"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.12", "T"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.65", "PSEUDONYM"),
    ("2.5.4.44", "GENERATION"),
    ("2.5.4.46", "DNQ"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
];

/// Types whose values are `PrintableString` by RFC 5280.
const PRINTABLE: [&str; 3] = ["2.5.4.6", "2.5.4.5", "2.5.4.46"];

impl Subject {
    /// A name with a common name only.
    pub fn common(name: impl Into<String>) -> Self {
        Self::default().with("2.5.4.3", name)
    }

    /// One more attribute.
    #[must_use]
    pub fn with(mut self, oid: &str, value: impl Into<String>) -> Self {
        self.0.push(Attribute {
            oid: oid.to_owned(),
            value: value.into(),
        });
        self
    }

    /// The first value of a type.
    pub fn get(&self, oid: &str) -> Option<&str> {
        let found = self.0.iter().find(|it| it.oid == oid);
        found.map(|it| it.value.as_str())
    }

    /// The common name.
    pub fn common_name(&self) -> Option<&str> {
        self.get("2.5.4.3")
    }

    /// The organization.
    pub fn organization(&self) -> Option<&str> {
        self.get("2.5.4.10")
    }

    /// As RFC 2253 writes it: the last attribute first, and what would be read otherwise escaped, so that it is one line of ASCII.
    pub fn rfc2253(&self) -> String {
        let attributes = self.0.iter().rev().map(|Attribute { oid, value }| {
            let named = TYPES.iter().find(|(known, _)| known == oid);
            let name = named.map_or(oid.as_str(), |(_, name)| name);
            format!("{name}={}", escaped(value))
        });
        attributes.collect::<Vec<_>>().join(",")
    }

    pub(crate) fn of(name: &X509Name<'_>) -> Self {
        let attributes = name.iter_attributes().map(|it| Attribute {
            oid: it.attr_type().to_id_string(),
            value: match it.as_str() {
                Ok(text) => text.to_owned(),
                Err(_) => String::from_utf8_lossy(it.as_slice()).into_owned(),
            },
        });
        Self(attributes.collect())
    }

    /// As rcgen writes it; `None` where a type is no object identifier, or stands there twice.
    pub(crate) fn to_name(&self) -> Option<DistinguishedName> {
        let mut name = DistinguishedName::new();
        for Attribute { oid, value } in &self.0 {
            let kind = kind(oid)?;
            if name.get(&kind).is_some() {
                return None;
            }
            let printable = PRINTABLE.contains(&oid.as_str());
            let value = match value.as_str().try_into() {
                Ok(value) if printable => DnValue::PrintableString(value),
                _ => DnValue::Utf8String(value.clone()),
            };
            name.push(kind, value);
        }
        Some(name)
    }
}

/// A value by RFC 2253 section 2.4. Bytes that are not ASCII are written as `\C3`.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            b'#' | b' ' if at == 0 => out.extend(['\\', char::from(byte)]),
            b' ' if at == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("\\{other:02X}")),
        }
    }
    out
}

fn kind(oid: &str) -> Option<DnType> {
    Some(match oid {
        "2.5.4.6" => DnType::CountryName,
        "2.5.4.7" => DnType::LocalityName,
        "2.5.4.8" => DnType::StateOrProvinceName,
        "2.5.4.10" => DnType::OrganizationName,
        "2.5.4.11" => DnType::OrganizationalUnitName,
        "2.5.4.3" => DnType::CommonName,
        other => DnType::CustomDnType(numbers(other)?),
    })
}

/// The numbers of an object identifier.
pub(crate) fn numbers(oid: &str) -> Option<Vec<u64>> {
    let numbers: Option<Vec<u64>> = oid.split('.').map(|it| it.parse().ok()).collect();
    let numbers = numbers?;
    let (first, second) = (numbers.first()?, numbers.get(1)?);
    let fits = match first {
        0 | 1 => *second < 40,
        2 => true,
        _ => false,
    };
    (fits && numbers.len() <= 32 && numbers.iter().all(|it| *it <= u64::from(u32::MAX)))
        .then_some(numbers)
}

impl fmt::Display for Subject {
    /// `C=US,O=Example,CN=www.example.com`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Attribute { oid, value }) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            let named = TYPES.iter().find(|(known, _)| known == oid);
            write!(
                f,
                "{}={value}",
                named.map_or(oid.as_str(), |(_, name)| name)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_rfc_2253_are_one_line_of_ascii() {
        let name = Subject::default()
            .with("2.5.4.6", "US")
            .with("2.5.4.10", "A, \"B\"; C=D+E\\")
            .with("2.5.4.3", " J\u{fc}rgen\r\nx: y ");
        assert_eq!(
            name.rfc2253(),
            r#"CN=\ J\C3\BCrgen\0D\0Ax: y\ ,O=A\, \"B\"\; C=D\+E\\,C=US"#
        );
    }

    #[test]
    fn names_are_shown_in_their_order() {
        let name = Subject::common("a.b")
            .with("2.5.4.6", "US")
            .with("1.2.3", "x");
        assert_eq!(name.to_string(), "CN=a.b,C=US,1.2.3=x");
        assert!(name.to_name().is_some());
        assert!(name.with("1.2.3", "y").to_name().is_none());
        for bad in ["", "1", "x", "3.1", "1.40", "1.2.99999999999"] {
            assert!(
                Subject::default().with(bad, "x").to_name().is_none(),
                "{bad}"
            );
        }
    }
}
