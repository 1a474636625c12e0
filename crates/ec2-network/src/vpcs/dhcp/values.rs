//! What callers write into sets of DHCP options
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateDhcpOptions.html>).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use lath_ec2_records::errors::{invalid_parameter, invalid_value, missing};
use lath_wire::ApiError;

use super::super::messages::NewDhcpConfiguration;
use super::{AMAZON, DOMAIN, SERVERS};

/// "The IP addresses of up to four domain name servers", and of other servers.
const MAX_SERVERS: usize = 4;

/// What a DHCP option has room for (RFC 2132, section 3.17).
const MAX_DOMAIN: usize = 255;

/// An option: its name, how many values it has, and which ones it may have.
struct Known {
    key: &'static str,
    most: usize,
    is_valid: fn(&str) -> bool,
    why: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        key: DOMAIN,
        most: 1,
        is_valid: are_domains,
        why: "Expecting a domain name.",
    },
    Known {
        key: SERVERS,
        most: MAX_SERVERS,
        is_valid: |it| it == AMAZON || it.parse::<IpAddr>().is_ok(),
        why: "Expecting an IP address or AmazonProvidedDNS.",
    },
    Known {
        key: "ntp-servers",
        most: MAX_SERVERS,
        is_valid: |it| it.parse::<IpAddr>().is_ok(),
        why: "Expecting an IP address.",
    },
    Known {
        key: "netbios-name-servers",
        most: MAX_SERVERS,
        is_valid: |it| it.parse::<Ipv4Addr>().is_ok(),
        why: "Expecting an IPv4 address.",
    },
    Known {
        key: "netbios-node-type",
        most: 1,
        is_valid: |it| matches!(it, "1" | "2" | "4" | "8"),
        why: "Expecting 1, 2, 4 or 8.",
    },
    Known {
        key: "ipv6-address-preferred-lease-time",
        most: 1,
        is_valid: |it| matches!(it.parse::<u32>(), Ok(140..=2_147_483_647)),
        why: "Expecting seconds between 140 and 2147483647.",
    },
];

/// The values of each option, by its name.
///
/// # Errors
/// `MissingParameter` and `InvalidParameterValue`.
pub(super) fn read(
    given: &[NewDhcpConfiguration],
) -> Result<BTreeMap<String, Vec<String>>, ApiError> {
    let mut options = BTreeMap::new();
    for configuration in given {
        let (key, values) = read_one(configuration)?;
        if options.insert(key.to_owned(), values).is_some() {
            return Err(invalid_parameter("key", key, "It is given twice."));
        }
    }
    if options.is_empty() {
        return Err(missing("dhcpConfiguration"));
    }
    Ok(options)
}

fn read_one(given: &NewDhcpConfiguration) -> Result<(&'static str, Vec<String>), ApiError> {
    let key = given.key.as_deref();
    let key = key.ok_or_else(|| missing("dhcpConfiguration.key"))?;
    let Some(known) = KNOWN.iter().find(|it| it.key == key) else {
        return Err(invalid_parameter("key", key, "Unknown DHCP option."));
    };
    let values = given.values.iter().flat_map(|text| text.split(','));
    let values: Vec<&str> = values.map(str::trim).collect();
    if values.is_empty() {
        return Err(missing("dhcpConfiguration.value"));
    }
    if let Some(wrong) = values.iter().find(|it| !(known.is_valid)(it)) {
        return Err(invalid_parameter(key, wrong, known.why));
    }
    if values.len() > known.most {
        let most = known.most;
        return Err(invalid_value(format!(
            "The DHCP option {key} has too many values: at most {most}."
        )));
    }
    Ok((known.key, values.into_iter().map(str::to_owned).collect()))
}

/// A domain name, or several with spaces between them, which "some Linux operating systems accept".
fn are_domains(text: &str) -> bool {
    let mut domains = text.split(' ');
    text.len() <= MAX_DOMAIN && domains.all(is_domain)
}

fn is_domain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut labels = name.strip_suffix('.').unwrap_or(name).split('.');
    labels.all(|label| (1..=63).contains(&label.len()) && label.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(key: &str, values: &[&str]) -> NewDhcpConfiguration {
        NewDhcpConfiguration {
            key: Some(key.to_owned()),
            values: values.iter().map(|it| it.to_string()).collect(),
        }
    }

    #[test]
    fn each_option_has_its_values() {
        for (key, values, want) in [
            (DOMAIN, &["corp.test"][..], "corp.test"),
            (
                DOMAIN,
                &["corp.test us-east-1.test"],
                "corp.test us-east-1.test",
            ),
            (
                SERVERS,
                &["10.0.0.2", AMAZON, "fd00::1"],
                "10.0.0.2,AmazonProvidedDNS,fd00::1",
            ),
            (SERVERS, &["10.0.0.2, 10.0.0.3"], "10.0.0.2,10.0.0.3"),
            ("netbios-node-type", &["2"], "2"),
            ("ipv6-address-preferred-lease-time", &["140"], "140"),
        ] {
            let read = read(&[given(key, values)]).unwrap();
            assert_eq!(read[key].join(","), want);
        }
    }

    #[test]
    fn other_values_are_refused() {
        for (key, values) in [
            (DOMAIN, &["a b\nnameserver 10.0.0.1"][..]),
            (DOMAIN, &["a..b"]),
            (DOMAIN, &["a", "b"]),
            (DOMAIN, &[""]),
            (DOMAIN, &[]),
            (SERVERS, &["dns.test"]),
            (
                SERVERS,
                &["10.0.0.1,10.0.0.2,10.0.0.3", "10.0.0.4,10.0.0.5"],
            ),
            ("ntp-servers", &[AMAZON]),
            ("netbios-name-servers", &["fd00::1"]),
            ("netbios-node-type", &["3"]),
            ("ipv6-address-preferred-lease-time", &["139"]),
            ("lease-time", &["1"]),
        ] {
            assert!(read(&[given(key, values)]).is_err(), "{key} {values:?}");
        }
        let twice = [given(DOMAIN, &["a"]), given(DOMAIN, &["b"])];
        assert!(read(&twice).is_err());
        assert!(read(&[]).is_err());
    }
}
