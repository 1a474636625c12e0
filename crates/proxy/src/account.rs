//! Who has how many bytes waiting in memory: each client connection, each client, each thread.
//!
//! Bytes are charged when they are taken in (a head, a piece of a body) and settled when they have left for
//! the other side or were dropped. A client that has used its account up takes no more in until something was
//! settled: that is the back pressure on targets. Clients that leave bytes unread are ended, sooner while an
//! account is used up (see [`Limits`]).

use std::cell::Cell;
use std::rc::Rc;

use crate::config::Limits;

/// What a client may have waiting even when its thread's account is used up by others.
const FLOOR: usize = 128 * 1024;

/// An account, which charges the account above it as well.
#[derive(Default)]
pub(crate) struct Account {
    limit: usize,
    used: Cell<usize>,
    above: Option<Rc<Self>>,
    /// Exchanges that want to take something in. Boxed, because there are seldom any.
    waiting: Cell<Option<Box<Waiting>>>,
}

#[derive(Default)]
struct Waiting(Vec<Rc<dyn Waits>>);

/// What waits for room in an account.
pub(crate) trait Waits {
    /// Something was settled: looks again.
    fn go_on(&self);
}

impl Account {
    /// A thread's share of what the process may hold.
    pub(crate) fn of_thread(limits: &Limits, threads: usize) -> Rc<Self> {
        Rc::new(Self {
            limit: limits.total_buffer / threads.max(1),
            ..Self::default()
        })
    }

    /// A client's, on a thread.
    pub(crate) fn of_client(limits: &Limits, threads: usize, thread: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self {
            limit: limits.client_buffer / threads.max(1),
            above: Some(Rc::clone(thread)),
            ..Self::default()
        })
    }

    /// A connection's.
    pub(crate) fn of_connection(limits: &Limits, client: Rc<Self>) -> Self {
        Self {
            limit: limits.connection_buffer,
            above: Some(client),
            ..Self::default()
        }
    }

    pub(crate) fn charge(&self, bytes: usize) {
        self.used.set(self.used.get() + bytes);
        if let Some(above) = &self.above {
            above.charge(bytes);
        }
    }

    pub(crate) fn settle(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_sub(bytes));
        if !self.is_used_up() {
            self.wake();
        }
        if let Some(above) = &self.above {
            above.settle(bytes);
        }
    }

    fn wake(&self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.0.iter().for_each(|waits| waits.go_on());
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.used.get() >= self.limit
    }

    /// Of a connection: the account above it that allows no more, if there is one.
    pub(crate) fn exhausted(&self) -> Option<&Self> {
        let client = self.above.as_ref()?;
        if client.is_used_up() {
            return Some(client);
        }
        let thread = client.above.as_ref()?;
        (thread.is_used_up() && client.used() >= FLOOR).then_some(thread)
    }

    /// Tells it when something was settled.
    pub(crate) fn wait(&self, waits: Rc<dyn Waits>) {
        let mut waiting = self.waiting.take().unwrap_or_default();
        waiting.0.push(waits);
        self.waiting.set(Some(waiting));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_counts_above_and_a_small_client_is_not_held_up_by_others() {
        let limits = Limits {
            connection_buffer: 1000,
            client_buffer: 600 * 1024,
            total_buffer: 1024 * 1024,
            ..Limits::default()
        };
        let thread = Account::of_thread(&limits, 1);
        let client = || Account::of_client(&limits, 1, &thread);
        let [one, two, three] = [client(), client(), client()];
        let of = |client: &Rc<Account>| Account::of_connection(&limits, Rc::clone(client));
        let connections = [of(&one), of(&two), of(&three), of(&one)];
        connections[0].charge(600 * 1024);
        assert!(connections[0].is_used_up());
        assert!(
            connections[0].exhausted().is_some(),
            "the client's is used up"
        );
        assert!(
            connections[3].exhausted().is_some(),
            "for its other connection as well"
        );
        assert!(connections[1].exhausted().is_none());
        connections[1].charge(500 * 1024);
        assert!(
            connections[1].exhausted().is_some(),
            "the thread's is used up"
        );
        assert!(
            connections[2].exhausted().is_none(),
            "but for a small client"
        );
        connections[0].settle(600 * 1024);
        assert_eq!((one.used(), thread.used()), (0, 500 * 1024));
        assert!(connections[1].exhausted().is_none());
    }
}
