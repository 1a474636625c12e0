//! The plugin `loopback`, which containerd before 2.0 calls for every pod: it sets `lo` up.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::answer::{Address, Dns, Failure, Interface, Success};
use crate::namespace::{inside, open};
use crate::pod::raise_loopback;
use crate::request::{Command, Request, VERSIONS};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

pub(crate) fn run(request: &Request) -> Result<String, Failure> {
    match request.command {
        Command::Add => {
            let path = request.netns()?;
            inside(Some(&open(path)?), raise_loopback)?;
            let sandbox = path.to_str();
            let name = "lo";
            let mac = "00:00:00:00:00:00".to_owned();
            let address = Ipv4Net::new(LOCALHOST, 8).expect("8 bits of 32");
            let answer = Success {
                cni_version: &request.network.cni_version,
                interfaces: vec![Interface { name, mac, sandbox }],
                ips: vec![Address {
                    address,
                    gateway: None,
                    interface: 0,
                }],
                routes: Vec::new(),
                dns: Dns {},
            };
            Ok(answer.to_json())
        }
        Command::Check => {
            inside(Some(&open(request.netns()?)?), raise_loopback).map(|()| String::new())
        }
        Command::Version => Ok(versions(&request.network.cni_version)),
        // The link goes with its namespace.
        Command::Del | Command::Gc | Command::Status => Ok(String::new()),
    }
}

/// The answer to VERSION.
pub(crate) fn versions(version: &str) -> String {
    serde_json::json!({"cniVersion": version, "supportedVersions": VERSIONS}).to_string()
}
