//! Hears at once what others change: a thread waits for the kernel's notifications of every namespace that
//! the fabric owns, of the host's, and of the mounts that pin them.
//!
//! A notification is no more than a hint: the place is compared with its plan again. What the fabric itself
//! changes is heard too, as far as the kernel does not say who asked for it; the comparison that follows
//! finds nothing to do, and then it is quiet.
//!
//! Nothing is heard in a namespace whose root is not this process's: what it disturbs there is found by the next audit,
//! and a link that it removes is missed at its other end.

mod pace;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;

use crate::netlink::{Notifications, Received};
use crate::nft;
use crate::plan::NamespaceRef;
use crate::rtnetlink;
use pace::Pace;

/// What was disturbed since it was last asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Disturbed {
    /// Namespaces to be compared with their plan.
    pub(crate) places: BTreeSet<NamespaceRef>,
    /// Pins may be gone.
    pub(crate) pins: bool,
    /// The host's own addresses or default routes have changed.
    pub(crate) outside: bool,
}

impl Disturbed {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, other: Self) {
        self.places.extend(other.places);
        self.pins |= other.pins;
        self.outside |= other.outside;
    }
}

/// The ear. Dropping it ends the thread.
pub(crate) struct Watch(Arc<Shared>);

struct Shared {
    epoll: Epoll,
    end: EventFd,
    listeners: Mutex<Listeners>,
    /// The fabric's own sockets: what they ask for is no news.
    ports: Mutex<HashSet<u32>>,
    disturbed: Mutex<Disturbed>,
}

#[derive(Default)]
struct Listeners {
    next: u64,
    by_token: BTreeMap<u64, Listener>,
}

struct Listener {
    place: NamespaceRef,
    owner: String,
    table: String,
    about_tables: bool,
    notifications: Notifications,
}

const END: u64 = 0;
const MOUNTS: u64 = 1;
const FIRST: u64 = 2;
/// Mounts come in swarms when many namespaces are made: their pins are looked at once.
const SWARM: Duration = Duration::from_millis(20);
const BUFFER: usize = 64 * 1024;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Starts the thread. It calls `tell` after it has noted something.
    pub(crate) fn start(notify: impl Fn() + Send + 'static) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let end = EventFd::new()?;
        epoll.add(&end, EpollEvent::new(EpollFlags::EPOLLIN, END))?;
        let mounts = File::open("/proc/self/mountinfo")?;
        epoll.add(&mounts, EpollEvent::new(EpollFlags::EPOLLPRI, MOUNTS))?;
        let shared = Arc::new(Shared {
            epoll,
            end,
            listeners: Mutex::new(Listeners {
                next: FIRST,
                ..Listeners::default()
            }),
            ports: Mutex::default(),
            disturbed: Mutex::default(),
        });
        let ear = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("lath-watch".into())
            .spawn(move || {
                // As long as it is waited for.
                let _mounts = mounts;
                ear.run(&notify);
            })?;
        Ok(Self(shared))
    }

    /// Listens in the calling thread's namespace, which is `place`.
    pub(crate) fn add(&self, place: &NamespaceRef, owner: &str, table: &str) -> io::Result<()> {
        let kinds = [
            (false, Notifications::of_routes()?),
            (true, Notifications::of_tables()?),
        ];
        for (about_tables, notifications) in kinds {
            let listener = Listener {
                place: place.clone(),
                owner: owner.to_owned(),
                table: table.to_owned(),
                about_tables,
                notifications,
            };
            self.0.listen(listener)?;
        }
        Ok(())
    }

    /// Stops listening there.
    pub(crate) fn remove(&self, place: &NamespaceRef) {
        let mut listeners = lock(&self.0.listeners);
        let gone = listeners
            .by_token
            .extract_if(.., |_, it| it.place == *place);
        for (_, listener) in gone {
            let _closing_it_does_the_same = self.0.epoll.delete(listener.notifications.as_fd());
        }
    }

    /// What the socket with this port asks for is the fabric's own doing.
    pub(crate) fn is_mine(&self, port: u32) {
        lock(&self.0.ports).insert(port);
    }

    /// What was disturbed since the last time.
    pub(crate) fn take(&self) -> Disturbed {
        std::mem::take(&mut lock(&self.0.disturbed))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _the_thread_has_ended_already = self.0.end.write(1);
    }
}

impl Shared {
    fn listen(&self, listener: Listener) -> io::Result<()> {
        let mut listeners = lock(&self.listeners);
        let token = listeners.next;
        listeners.next += 1;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
        self.epoll.add(listener.notifications.as_fd(), event)?;
        listeners.by_token.insert(token, listener);
        Ok(())
    }

    fn run(&self, notify: &dyn Fn()) {
        let mut events = [EpollEvent::empty(); 64];
        let mut buffer = vec![0; BUFFER];
        let mut pins: Option<Instant> = None;
        let mut pace = Pace::default();
        loop {
            let due = pins.into_iter().chain(pace.next()).min();
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            let timeout = left.map_or(EpollTimeout::NONE, |left| {
                EpollTimeout::try_from(left).unwrap_or(EpollTimeout::ZERO)
            });
            let heard = match self.epoll.wait(&mut events, timeout) {
                Ok(heard) => heard,
                Err(nix::Error::EINTR) => 0,
                Err(error) => {
                    tracing::error!(%error, "changes of the network by others are no longer heard");
                    return;
                }
            };
            let mut disturbed = Disturbed::default();
            for event in &events[..heard] {
                match event.data() {
                    END => return,
                    MOUNTS => pins = pins.or_else(|| Some(Instant::now() + SWARM)),
                    token => disturbed.add(self.hear(token, &mut buffer)),
                }
            }
            disturbed.places = pace.pass(disturbed.places, Instant::now());
            disturbed.pins = pins.take_if(|due| *due <= Instant::now()).is_some();
            if !disturbed.is_empty() {
                lock(&self.disturbed).add(disturbed);
                notify();
            }
        }
    }

    fn hear(&self, token: u64, buffer: &mut [u8]) -> Disturbed {
        let listeners = lock(&self.listeners);
        let Some(listener) = listeners.by_token.get(&token) else {
            return Disturbed::default();
        };
        let Some(all) = listener.notifications.take(buffer) else {
            return listener.place_is_disturbed();
        };
        let ports = lock(&self.ports);
        let mut disturbed = Disturbed::default();
        let foreign = |received: &&Received| received.port == 0 || !ports.contains(&received.port);
        for received in all.iter().filter(foreign) {
            disturbed.add(listener.judge(received));
        }
        disturbed
    }
}

impl Listener {
    fn place_is_disturbed(&self) -> Disturbed {
        Disturbed {
            places: [self.place.clone()].into(),
            ..Disturbed::default()
        }
    }

    fn judge(&self, received: &Received) -> Disturbed {
        if self.about_tables {
            return match nft::table_of(&received.payload) {
                Some(table) if table == self.table => self.place_is_disturbed(),
                _ => Disturbed::default(),
            };
        }
        if self.place != NamespaceRef::Host {
            return self.place_is_disturbed();
        }
        match rtnetlink::concern(received, &self.owner) {
            rtnetlink::Concern::Owner => self.place_is_disturbed(),
            rtnetlink::Concern::Host => Disturbed {
                outside: true,
                ..Disturbed::default()
            },
            rtnetlink::Concern::Others => Disturbed::default(),
        }
    }
}
