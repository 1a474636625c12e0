//! The plugin `lath-cni`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::answer::{Address, Code, Dns, Failure, Interface, Route, Success};
use crate::branches;
use crate::leases::{Lease, Leases, Owner};
use crate::loopback::versions;
use crate::namespace::open;
use crate::pod::{self, GATEWAY, Hardware, Link};
use crate::ports;
use crate::request::{Command, Network, Request};

/// The longest list of prefixes or branches that is read, in bytes: thousands of either, where instance types allow 240
/// prefixes and a node has 110 pods.
const MAXIMUM_PREFIXES: u64 = 64 << 10;

pub(crate) fn run(request: &Request) -> Result<String, Failure> {
    match request.command {
        Command::Add => add(request),
        Command::Del => del(request).map(|()| String::new()),
        Command::Check => check(request).map(|()| String::new()),
        Command::Gc => gc(request).map(|()| String::new()),
        Command::Status => status(request).map(|()| String::new()),
        Command::Version => Ok(versions(&request.network.cni_version)),
    }
}

fn add(request: &Request) -> Result<String, Failure> {
    let netns = open(request.netns()?)?;
    // Before the lock: it may wait.
    let own = branches::own_address(request)?;
    let leases = leases(request)?;
    let prefixes = prefixes(&request.network)?;
    let lease = Lease {
        owner: owner(request),
        pod: request.pod.clone(),
        ports: ports::wanted(&request.network.runtime_config.port_mappings)?,
    };
    let all = leases.all().map_err(unreadable)?;
    ports::check_free(&all, &lease.owner, &lease.ports)?;
    let had = leases.of(&lease.owner).map_err(unreadable)?;
    let address = match own {
        Some(own) => {
            // An earlier container of the same pod may still have it.
            let former = leases.give(own, &lease).map_err(unreadable)?;
            if let Some(former) = former {
                pod::detach(&pod::host_name(&former.container, &former.interface))?;
            }
            own
        }
        None => {
            let address = leases.take(&prefixes, &lease).map_err(unreadable)?;
            address.ok_or_else(|| none_free(&prefixes))?
        }
    };
    let mapped = if lease.ports.is_empty() {
        Ok(())
    } else {
        let all = leases.all().map_err(unreadable);
        all.and_then(|all| ports::apply(&all))
    };
    // Only leases and ports need the lock: links of different pods are set up side by side.
    drop(leases);
    let link = link(request, &netns, address);
    match mapped.and_then(|()| pod::attach(&link)) {
        Ok(hardware) => success(request, &link, hardware),
        Err(failure) => {
            // What an earlier ADD gave stays until DEL.
            if had.is_none() {
                let _ = del(request);
            }
            Err(failure)
        }
    }
}

fn success(request: &Request, link: &Link<'_>, hardware: Hardware) -> Result<String, Failure> {
    let sandbox = request.netns()?.to_str();
    let pod = Interface {
        name: link.name,
        mac: hardware.pod,
        sandbox,
    };
    let host = Interface {
        name: &link.host,
        mac: hardware.host,
        sandbox: None,
    };
    let address = Address {
        address: Ipv4Net::from(link.address),
        gateway: Some(GATEWAY),
        interface: 1,
    };
    let default = Route {
        dst: Ipv4Net::default(),
        gw: GATEWAY,
    };
    let answer = Success {
        cni_version: &request.network.cni_version,
        interfaces: vec![host, pod],
        ips: vec![address],
        routes: vec![default],
        dns: Dns {},
    };
    Ok(answer.to_json())
}

/// The link first: an address is not free while a pod can still use it.
fn del(request: &Request) -> Result<(), Failure> {
    pod::detach(&pod::host_name(&request.container, &request.interface))?;
    let leases = leases(request)?;
    let owner = owner(request);
    free(&leases, |lease| lease.is_some_and(|it| it.owner == owner))
}

/// Frees the addresses of the leases that are to go, and their ports. The ports first: a call that is killed in between
/// leaves leases, by which the next one knows that there is something to do.
fn free(leases: &Leases, goes: impl Fn(Option<&Lease>) -> bool) -> Result<(), Failure> {
    let all = leases.all().map_err(unreadable)?;
    let (going, staying): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, lease)| goes(lease.as_ref()));
    let has_ports = |lease: &Option<Lease>| lease.as_ref().is_none_or(|it| !it.ports.is_empty());
    if going.iter().any(|(_, lease)| has_ports(lease)) {
        ports::apply(&staying)?;
    }
    for (address, _) in going {
        leases.free(address).map_err(unreadable)?;
    }
    Ok(())
}

fn check(request: &Request) -> Result<(), Failure> {
    let netns = open(request.netns()?)?;
    let address = leases(request)?.of(&owner(request)).map_err(unreadable)?;
    let Some(address) = address else {
        let message = format!("no address is leased to {}", request.container);
        return Err(Failure::new(Code::UnknownContainer, message));
    };
    pod::check(&link(request, &netns, address))
}

/// Removes what belongs to none of the attachments that the runtime knows.
fn gc(request: &Request) -> Result<(), Failure> {
    let Some(valid) = &request.network.valid_attachments else {
        let message = "GC needs cni.dev/valid-attachments";
        return Err(Failure::new(Code::InvalidConfiguration, message));
    };
    let owners: BTreeSet<_> = valid
        .iter()
        .map(|it| Owner {
            container: it.container.clone(),
            interface: it.interface.clone(),
        })
        .collect();
    let names: BTreeSet<_> = owners
        .iter()
        .map(|it| pod::host_name(&it.container, &it.interface))
        .collect();
    for name in pod::host_names()?
        .iter()
        .filter(|name| !names.contains(*name))
    {
        pod::detach(name)?;
    }
    let leases = leases(request)?;
    free(&leases, |lease| {
        !lease.is_some_and(|it| owners.contains(&it.owner))
    })
}

fn status(request: &Request) -> Result<(), Failure> {
    leases(request)?;
    if prefixes(&request.network)?.is_empty() {
        return Err(Failure::new(
            Code::Unavailable,
            "no prefix is routed to this node yet",
        ));
    }
    Ok(())
}

fn owner(request: &Request) -> Owner {
    Owner {
        container: request.container.clone(),
        interface: request.interface.clone(),
    }
}

fn link<'a>(request: &'a Request, netns: &'a std::fs::File, address: Ipv4Addr) -> Link<'a> {
    Link {
        host: pod::host_name(&request.container, &request.interface),
        name: &request.interface,
        address,
        mtu: request.network.mtu,
        netns,
    }
}

fn leases(request: &Request) -> Result<Leases, Failure> {
    Leases::open(&request.network.data_dir).map_err(unreadable)
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::io("the addresses in use", error)
}

/// Those of the configuration and of the file it names. A file that is missing holds none yet.
fn prefixes(network: &Network) -> Result<Vec<Ipv4Net>, Failure> {
    let mut prefixes = network.prefixes.clone();
    let Some(path) = &network.prefixes_file else {
        return Ok(prefixes);
    };
    let invalid = |what: String| {
        Failure::new(
            Code::InvalidConfiguration,
            format!("{}: {what}", path.display()),
        )
    };
    let text = match read_capped(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(prefixes),
        Err(error) => return Err(Failure::io(path.display(), error)),
    };
    let more: Vec<Ipv4Net> =
        serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    prefixes.extend(more);
    Ok(prefixes)
}

pub(crate) fn read_capped(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAXIMUM_PREFIXES)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn none_free(prefixes: &[Ipv4Net]) -> Failure {
    if prefixes.is_empty() {
        return Failure::new(Code::TryAgainLater, "no prefix is routed to this node yet");
    }
    let names: Vec<_> = prefixes.iter().map(ToString::to_string).collect();
    let message = format!(
        "every address of {} is in use; the node gets another prefix if its type allows",
        names.join(", ")
    );
    Failure::new(Code::TryAgainLater, message)
}
