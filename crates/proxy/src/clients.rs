//! The clients of one thread: what waits for each, and what had to be done about those who take nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lath_model::id::VpcId;
use lath_net::accept::Source;

use crate::account::Account;
use crate::config::Limits;
use crate::counters::{Cells, Count};
use crate::fields::Field;

/// How often it is said at most.
const EVERY: Duration = Duration::from_secs(1);

/// All clients with connections to this thread.
pub(crate) struct Clients(Rc<Shared>);

struct Shared {
    limits: Limits,
    threads: usize,
    account: Rc<Account>,
    /// The thread's, see [`Client::now`].
    clock: Rc<Cell<Instant>>,
    known: RefCell<HashMap<Address, Rc<Known>>>,
    stalled: Cell<u64>,
    refused: Cell<u64>,
    reported: Cell<Option<Instant>>,
}

/// An address is a client's only in its VPC.
type Address = (VpcId, Source);

/// Each address of a VPC is one interface's; neighbours share a /64.
pub(crate) fn source_of(address: IpAddr) -> Source {
    Source::Address(address.to_canonical())
}

/// What all connections of a client have in common is kept here once.
struct Known {
    shared: Rc<Shared>,
    vpc: VpcId,
    address: IpAddr,
    header: Field,
    connections: Cell<usize>,
    account: Rc<Account>,
}

/// A client, as one of its connections sees it.
pub(crate) struct Client(Rc<Known>);

impl Clients {
    pub(crate) fn new(limits: Limits, threads: usize, clock: Rc<Cell<Instant>>) -> Self {
        Self(Rc::new(Shared {
            limits,
            threads,
            account: Account::of_thread(&limits, threads),
            clock,
            known: RefCell::default(),
            stalled: Cell::new(0),
            refused: Cell::new(0),
            reported: Cell::new(None),
        }))
    }

    /// A connection of the client's.
    pub(crate) fn enter(&self, vpc: &VpcId, address: IpAddr) -> Client {
        let shared = &self.0;
        let mut clients = shared.known.borrow_mut();
        let known = clients.entry((vpc.clone(), source_of(address)));
        let known = known.or_insert_with(|| {
            let address = address.to_canonical();
            Rc::new(Known {
                shared: Rc::clone(shared),
                vpc: vpc.clone(),
                address,
                header: Field::forwarded_for(&address.to_string()),
                connections: Cell::new(0),
                account: Account::of_client(&shared.limits, shared.threads, &shared.account),
            })
        });
        known.connections.set(known.connections.get() + 1);
        Client(Rc::clone(known))
    }

    /// Called each tick: says how many connections were ended, at most once a second.
    pub(crate) fn report(&self, now: Instant, cells: &Cells) {
        cells.set(Count::BufferedBytes, self.0.account.used() as u64);
        let recently = |at: Instant| now.saturating_duration_since(at) < EVERY;
        let news = self.0.stalled.get() + self.0.refused.get();
        if news == 0 || self.0.reported.get().is_some_and(recently) {
            return;
        }
        self.0.reported.set(Some(now));
        let (stalled, refused) = (self.0.stalled.take(), self.0.refused.take());
        cells.add(Count::Stalled, stalled);
        tracing::warn!(
            stalled,
            refused,
            "clients left answers unread and were ended, or requests were refused: memory or connections to \
             targets are used up"
        );
    }

    /// A request was refused, see [`crate::refusal::Refusal::overloaded`].
    pub(crate) fn refused(&self) {
        self.0.refused.set(self.0.refused.get() + 1);
    }
}

impl Client {
    pub(crate) fn account(&self) -> Rc<Account> {
        Rc::clone(&self.0.account)
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.0.address
    }

    /// `x-forwarded-for`.
    pub(crate) fn header(&self) -> &Field {
        &self.0.header
    }

    /// As exact as the thread's last tick or request.
    pub(crate) fn now(&self) -> Instant {
        self.0.shared.clock.get()
    }

    /// A connection or stream of the client's is ended because nothing is taken on it.
    pub(crate) fn stalled(&self) {
        let stalled = &self.0.shared.stalled;
        stalled.set(stalled.get() + 1);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let known = &self.0;
        let left = known.connections.get().saturating_sub(1);
        known.connections.set(left);
        if left == 0 {
            let key = (known.vpc.clone(), source_of(known.address));
            known.shared.known.borrow_mut().remove(&key);
        }
    }
}
