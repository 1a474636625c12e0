//! Sockets in a cell's underlay namespace, for processes that have no fabric.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lath_feed::Topology;
use lath_net::{Kind, Network, Place, new_socket};
use socket2::{Domain, Socket};

/// The host's network and a pinned underlay namespace; no VPCs.
#[derive(Debug, Clone, Default)]
pub struct Underlay {
    pin: Option<PathBuf>,
}

impl Underlay {
    /// The underlay of this cell, where it has one.
    pub fn of(topology: &Topology) -> Self {
        Self {
            pin: topology.underlay.clone(),
        }
    }
}

#[async_trait]
impl Network for Underlay {
    async fn socket(&self, place: &Place, domain: Domain, kind: Kind) -> io::Result<Socket> {
        match (place, &self.pin) {
            (Place::Host, _) => new_socket(domain, kind),
            (Place::Underlay, Some(pin)) => {
                let pin = pin.clone();
                tokio::task::spawn_blocking(move || inside(&pin, domain, kind))
                    .await
                    .map_err(io::Error::other)?
            }
            (Place::Underlay, None) | (Place::Vpc(_) | Place::Workload(_), _) => {
                Err(io::ErrorKind::NotFound.into())
            }
        }
    }
}

fn inside(pin: &Path, domain: Domain, kind: Kind) -> io::Result<Socket> {
    lath_tunnel::inside(File::open(pin)?.as_fd(), || new_socket(domain, kind))
}
