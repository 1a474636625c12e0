//! A thread of the proxy: obeys the supervisor, accepts connections, and looks at deadlines.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lath_model::id::VpcId;
use lath_net::Place;
use tokio::sync::{mpsc, oneshot};

use crate::clients::source_of;
use crate::core::{Core, Shared};
use crate::counters::Count;
use crate::listener::{ListenerKey, Listening, Porch};
use crate::resource::carry;
use crate::serve::serve;
use crate::stream::Stream;
use crate::tls::Door;

/// What the supervisor tells a thread.
pub(crate) enum Command {
    /// Accept connections from this socket.
    Listen(ListenerKey, std::net::TcpListener),
    /// Accept no more; requests in flight are finished.
    Close(ListenerKey),
    /// The VPC's network was made anew: use no old connection into it.
    Forget(VpcId),
    /// Links to other regions went up or down: let go of connections to those that are lost, and of requests
    /// that wait there.
    Relinked,
    /// Accept no more anywhere, finish what is in flight within the time, then say so and end.
    Shutdown(Duration, oneshot::Sender<()>),
}

/// The thread's body: obeys commands until told to end.
pub(crate) async fn run(
    index: usize,
    shared: Shared,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let core = Rc::new(Core::new(index, shared));
    let mut listeners: HashMap<ListenerKey, Rc<Listening>> = HashMap::new();
    tokio::task::spawn_local(keep_time(Rc::downgrade(&core)));
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(key, socket) => {
                if let Some(listening) = listen(&core, key.clone(), socket) {
                    listeners.insert(key, listening);
                }
            }
            Command::Close(key) => {
                if let Some(listening) = listeners.remove(&key) {
                    end(&core, listening);
                }
            }
            Command::Forget(vpc) => core.pools.forget(&vpc),
            Command::Relinked => {
                let now = Instant::now();
                core.tick(now);
                core.pools.sweep(now);
            }
            Command::Shutdown(deadline, done) => {
                listeners.values().for_each(|listening| listening.close());
                let moved = core.moved.take();
                moved.iter().for_each(|listening| listening.close());
                drain(&core, deadline).await;
                let _ = done.send(());
                return;
            }
        }
    }
}

/// Accepts no more at a listener. What a resource's changed port has accepted goes on while the resource is reached.
fn end(core: &Core, listening: Rc<Listening>) {
    if listening.is_led(&core.state.load()) {
        listening.leave();
        core.moved.borrow_mut().push(listening);
    } else {
        listening.close();
    }
}

fn listen(
    core: &Rc<Core>,
    key: ListenerKey,
    socket: std::net::TcpListener,
) -> Option<Rc<Listening>> {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(listener.addr = %key.at, %error, "a listening socket cannot be used");
            return None;
        }
    };
    let listening = Rc::new(Listening::new(key));
    let (core, accepting) = (Rc::clone(core), Rc::clone(&listening));
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = accepting.closed.cancelled() => {}
            () = accept(&core, &accepting, &listener) => {}
        }
    });
    Some(listening)
}

async fn accept(core: &Rc<Core>, listening: &Rc<Listening>, listener: &tokio::net::TcpListener) {
    let place = Place::Vpc(listening.vpc_id().clone());
    let porch = Rc::new(Porch::new(listening, &core.state));
    loop {
        let (stream, remote, slot) = core.acceptor.accept_from(listener, &place, source_of).await;
        if let Some(key) = listening.resource() {
            let (core, key) = (Rc::clone(core), key.clone());
            let carrying = carry(core, Rc::clone(listening), key, stream, remote, slot);
            tokio::task::spawn_local(carrying);
            continue;
        }
        let stream = if porch.is_opaque() {
            Stream::opaque(stream)
        } else if porch.spoken().tls {
            let client = source_of(remote.ip());
            let Some(shaking) = core.handshakes.admit(&place, client).await else {
                core.totals.add(Count::TlsErrors, 1);
                continue;
            };
            Stream::knocking(stream, Rc::clone(&porch) as Rc<dyn Door>, shaking)
        } else {
            Stream::Plain(stream)
        };
        let serving = serve(core, listening, stream, remote, slot);
        tokio::task::spawn_local(serving);
    }
}

async fn keep_time(core: std::rc::Weak<Core>) {
    let mut swept = Instant::now();
    while let Some(core) = core.upgrade() {
        let now = Instant::now();
        core.tick(now);
        if now.saturating_duration_since(swept) >= Duration::from_secs(1) {
            core.pools.sweep(now);
            swept = now;
        }
        let tick = core.config.tick;
        drop(core);
        tokio::time::sleep(tick).await;
    }
}

async fn drain(core: &Core, deadline: Duration) {
    let end = Instant::now() + deadline;
    core.connections.each(|connection| connection.finish(end));
    while core.connections.len() > 0 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
        core.connections.each(|connection| connection.finish(end));
    }
}
