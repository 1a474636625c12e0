//! Sockets in VPCs: a thread enters the namespace, makes the socket and hands it over. The socket stays
//! in that namespace, whichever thread uses it.

use std::io;
use std::sync::mpsc;

use async_trait::async_trait;
use lath_net::{Kind, Network};
use socket2::{Domain, Socket};
use tokio::sync::oneshot;

use crate::netns::Namespaces;
use crate::plan::NamespaceRef;

/// Makes sockets in VPCs and on the host. Clones share one thread.
#[derive(Debug, Clone)]
pub struct FabricNetwork {
    /// The host's place is a namespace other than the process's own.
    elsewhere: bool,
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    place: NamespaceRef,
    domain: Domain,
    kind: Kind,
    answer: oneshot::Sender<io::Result<Socket>>,
}

impl FabricNetwork {
    pub(crate) fn start(namespaces: Namespaces, elsewhere: bool) -> io::Result<Self> {
        let (requests, queue) = mpsc::channel::<Request>();
        std::thread::Builder::new()
            .name("lath-sockets".into())
            .spawn(move || {
                while let Ok(request) = queue.recv() {
                    let socket = make(&namespaces, &request);
                    // A caller that went away does not need its socket.
                    drop(request.answer.send(socket));
                }
            })?;
        Ok(Self {
            elsewhere,
            requests,
        })
    }
}

fn make(namespaces: &Namespaces, request: &Request) -> io::Result<Socket> {
    namespaces.get(&request.place)?.enter()?;
    lath_net::new_socket(request.domain, request.kind)
}

#[async_trait]
impl Network for FabricNetwork {
    async fn socket(
        &self,
        place: &lath_net::Place,
        domain: Domain,
        kind: Kind,
    ) -> io::Result<Socket> {
        let place = match place {
            // The process itself never leaves the host's network.
            lath_net::Place::Host => return lath_net::new_socket(domain, kind),
            // Where there is an underlay it is what the fabric takes for the host's network.
            lath_net::Place::Underlay if self.elsewhere => NamespaceRef::Host,
            lath_net::Place::Underlay => return Err(io::ErrorKind::NotFound.into()),
            lath_net::Place::Vpc(id) => NamespaceRef::Named(id.as_str().to_owned()),
            lath_net::Place::Workload(id) => NamespaceRef::Named(id.as_str().to_owned()),
        };
        let stopped = || io::Error::other("the socket thread has stopped");
        let (answer, socket) = oneshot::channel();
        let request = Request {
            place,
            domain,
            kind,
            answer,
        };
        self.requests.send(request).map_err(|_| stopped())?;
        socket.await.map_err(|_| stopped())?
    }
}
