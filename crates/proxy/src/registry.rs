//! What a thread watches for deadlines: one look at everything each tick, instead of a timer for each.

use std::cell::RefCell;
use std::rc::Rc;

use slab::Slab;

/// The things of one thread that have deadlines.
pub(crate) struct Registry<T>(Rc<RefCell<Slab<Rc<T>>>>);

/// Keeps a thing in its registry.
pub(crate) struct Registered<T> {
    registry: Rc<RefCell<Slab<Rc<T>>>>,
    key: usize,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<T> Registry<T> {
    /// As [`Self::insert`], for one who has the registry at hand to take it out with [`Self::remove`].
    pub(crate) fn add(&self, thing: Rc<T>) -> usize {
        self.0.borrow_mut().insert(thing)
    }

    pub(crate) fn remove(&self, key: usize) {
        self.0.borrow_mut().try_remove(key);
    }

    pub(crate) fn insert(&self, thing: Rc<T>) -> Registered<T> {
        let key = self.0.borrow_mut().insert(thing);
        Registered {
            registry: Rc::clone(&self.0),
            key,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Calls `look` with each thing. It may wake tasks, but neither insert nor remove.
    pub(crate) fn each(&self, mut look: impl FnMut(&T)) {
        for (_, thing) in self.0.borrow().iter() {
            look(thing);
        }
    }
}

impl<T> Drop for Registered<T> {
    fn drop(&mut self) {
        self.registry.borrow_mut().try_remove(self.key);
    }
}
