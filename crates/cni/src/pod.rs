//! A pod's link: a veth between the node and the pod, with routes on both ends.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use futures::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::neighbour::NeighbourState;
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::answer::{Code, Failure};
use crate::namespace::inside;

/// Where pods send what is not for themselves: no address of any host, reached by a permanent neighbour entry.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

const ETHERNET: u32 = 1500;

/// What a pod's link is to be like.
#[derive(Debug)]
pub(crate) struct Link<'a> {
    /// The node's end.
    pub(crate) host: String,
    /// The pod's end.
    pub(crate) name: &'a str,
    pub(crate) address: Ipv4Addr,
    pub(crate) mtu: Option<u32>,
    pub(crate) netns: &'a File,
}

/// The hardware addresses of a link's two ends, as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hardware {
    pub(crate) host: String,
    pub(crate) pod: String,
}

/// The name of the node's end: the same for each call about one interface of one container.
pub(crate) fn host_name(container: &str, interface: &str) -> String {
    // FNV-1a, 64 bits of which a link's name has room for 48: a node has 110 pods, not millions.
    let bytes = container.bytes().chain([0]).chain(interface.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("lc{:012x}", hash & 0xffff_ffff_ffff)
}

/// Makes the link what it is to be, whatever is there of it.
pub(crate) fn attach(link: &Link<'_>) -> Result<Hardware, Failure> {
    let host = inside(None, async |handle| {
        forward_packets()?;
        if find(&handle, &link.host).await?.is_none() {
            add(&handle, link).await?;
        }
        let host = expect(&handle, &link.host).await?;
        raise(&handle, host.header.index).await?;
        to_pod(&handle, host.header.index, link.address).await?;
        Ok(hardware(&host))
    })?;
    let pod = inside(Some(link.netns), async |handle| {
        let pod = expect(&handle, link.name).await?;
        raise(&handle, 1).await?;
        to_gateway(&handle, pod.header.index, link.address, &host).await?;
        Ok(hardware(&pod))
    })?;
    Ok(Hardware {
        host: text(&host),
        pod: text(&pod),
    })
}

/// Removes the link by the node's end, which takes the pod's end and all routes with it. Missing is fine.
pub(crate) fn detach(host: &str) -> Result<(), Failure> {
    inside(None, async |handle| {
        let Some(link) = find(&handle, host).await? else {
            return Ok(());
        };
        match handle.link().del(link.header.index).execute().await {
            Err(error) if !is(&error, Errno::ENODEV) => {
                Err(Failure::io(format!("cannot remove {host}"), error))
            }
            _ => Ok(()),
        }
    })
}

/// Fails unless the link is as [`attach`] left it.
pub(crate) fn check(link: &Link<'_>) -> Result<(), Failure> {
    let missing = |what: String| Err(Failure::new(Code::UnknownContainer, what));
    let host = inside(None, async |handle| find(&handle, &link.host).await)?;
    if !host.is_some_and(|host| is_up(&host)) {
        return missing(format!("the node's end {} is missing or down", link.host));
    }
    inside(Some(link.netns), async |handle| {
        let Some(pod) = find(&handle, link.name).await?.filter(is_up) else {
            return missing(format!("the pod's {} is missing or down", link.name));
        };
        let mut addresses = handle
            .address()
            .get()
            .set_link_index_filter(pod.header.index)
            .set_address_filter(IpAddr::V4(link.address))
            .execute();
        match addresses.try_next().await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => missing(format!(
                "the pod's {} does not have {}",
                link.name, link.address
            )),
            Err(error) => Err(Failure::io("cannot read the pod's addresses", error)),
        }
    })
}

/// The node's ends of all pods.
pub(crate) fn host_names() -> Result<Vec<String>, Failure> {
    inside(None, async |handle| {
        let links = handle.link().get().execute().try_collect::<Vec<_>>().await;
        let links = links.map_err(|error| Failure::io("cannot list links", error))?;
        let ours = links.iter().filter_map(name).filter(|name| {
            let digits = name.strip_prefix("lc").unwrap_or_default();
            digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        Ok(ours.map(str::to_owned).collect())
    })
}

/// Makes the thread's namespace `lo` up.
pub(crate) async fn raise_loopback(handle: Handle) -> Result<(), Failure> {
    raise(&handle, 1).await
}

fn forward_packets() -> Result<(), Failure> {
    const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
    let on = fs::read_to_string(FORWARD).is_ok_and(|text| text.trim() == "1");
    if on {
        return Ok(());
    }
    fs::write(FORWARD, "1")
        .map_err(|error| Failure::io("cannot let the node forward packets", error))
}

async fn add(handle: &Handle, link: &Link<'_>) -> Result<(), Failure> {
    let mtu = link.mtu.unwrap_or(ETHERNET);
    let pod = LinkMessageBuilder::<LinkUnspec>::new()
        .name(link.name)
        .mtu(mtu)
        .setns_by_fd(link.netns.as_raw_fd())
        .build();
    let veth = LinkMessageBuilder::<LinkVeth>::new(&link.host, link.name)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(pod)))
        .mtu(mtu)
        .build();
    handle.link().add(veth).execute().await.map_err(|error| {
        Failure::io(
            format!("cannot make {} and the pod's {}", link.host, link.name),
            error,
        )
    })
}

async fn raise(handle: &Handle, index: u32) -> Result<(), Failure> {
    let message = LinkMessageBuilder::<LinkUnspec>::new()
        .index(index)
        .up()
        .build();
    let done = handle.link().set(message).execute().await;
    done.map_err(|error| Failure::io("cannot set a link up", error))
}

/// On the node: a route to the pod.
async fn to_pod(handle: &Handle, index: u32, address: Ipv4Addr) -> Result<(), Failure> {
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .build();
    let done = handle.route().add(route).replace().execute().await;
    done.map_err(|error| Failure::io(format!("cannot route {address} to the pod"), error))
}

/// In the pod: its address, and everything by the node.
async fn to_gateway(
    handle: &Handle,
    index: u32,
    address: Ipv4Addr,
    host: &[u8],
) -> Result<(), Failure> {
    let failed =
        |what: &'static str| move |error| Failure::io(format!("in the pod: cannot {what}"), error);
    let done = handle
        .address()
        .add(index, address.into(), 32)
        .replace()
        .execute()
        .await;
    done.map_err(failed("set the address"))?;
    raise(handle, index).await?;
    let gateway = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(GATEWAY, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .build();
    let done = handle.route().add(gateway).replace().execute().await;
    done.map_err(failed("route to the gateway"))?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new()
        .gateway(GATEWAY)
        .output_interface(index)
        .build();
    let done = handle.route().add(default).replace().execute().await;
    done.map_err(failed("set the default route"))?;
    let neighbour = handle.neighbours().add(index, GATEWAY.into());
    let neighbour = neighbour
        .link_layer_address(host)
        .state(NeighbourState::Permanent);
    neighbour
        .replace()
        .execute()
        .await
        .map_err(failed("set the gateway's hardware address"))
}

async fn find(handle: &Handle, name: &str) -> Result<Option<LinkMessage>, Failure> {
    match handle
        .link()
        .get()
        .match_name(name)
        .execute()
        .try_next()
        .await
    {
        Ok(link) => Ok(link),
        Err(error) if is(&error, Errno::ENODEV) => Ok(None),
        Err(error) => Err(Failure::io(format!("cannot look for {name}"), error)),
    }
}

async fn expect(handle: &Handle, name: &str) -> Result<LinkMessage, Failure> {
    let found = find(handle, name).await?;
    found.ok_or_else(|| Failure::new(Code::Io, format!("{name} went away while it was set up")))
}

fn is(error: &rtnetlink::Error, wanted: Errno) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message)
        if message.code.is_some_and(|code| code.get() == -(wanted as i32)))
}

fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up)
}

fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

fn hardware(link: &LinkMessage) -> Vec<u8> {
    let found = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => Some(bytes.clone()),
            _ => None,
        });
    found.unwrap_or_default()
}

fn text(hardware: &[u8]) -> String {
    let pairs: Vec<_> = hardware.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}
