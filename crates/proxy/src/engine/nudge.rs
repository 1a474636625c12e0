//! The waker of a connection that has no task.
//!
//! A connection to a target is driven by the exchange that uses it at the moment. Its parts would wake whichever task
//! drove it last: hyper's channels do so whenever a request is put in or a piece of a body is asked for, and that task
//! then looks at everything in vain, or another one does that used the connection before. So a connection has one
//! waker of its own for as long as it lives, which passes on what is of use.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// The waker, as the connection's owner sees it.
#[derive(Debug)]
pub(super) struct Nudge {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether it was woken since the connection was left unattended.
    stirred: AtomicBool,
    /// Whether the connection is about to be driven anyway.
    muted: AtomicBool,
    /// Who drives the connection.
    task: Mutex<Option<Waker>>,
}

impl Shared {
    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.stirred.store(true, Relaxed);
        if !self.muted.load(Relaxed)
            && let Some(task) = &*self.task()
        {
            task.wake_by_ref();
        }
    }
}

impl Nudge {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker }
    }

    /// To poll the connection with: from now on `cx` is woken.
    pub(super) fn attended(&self, cx: &Context<'_>) -> Context<'_> {
        let mut task = self.shared.task();
        match &mut *task {
            Some(task) => task.clone_from(cx.waker()),
            None => *task = Some(cx.waker().clone()),
        }
        drop(task);
        Context::from_waker(&self.waker)
    }

    /// To poll the connection with: from now on nothing is woken, see [`Self::is_stirred`].
    pub(super) fn unattended(&self) -> Context<'_> {
        self.shared.task().take();
        self.shared.stirred.store(false, Relaxed);
        Context::from_waker(&self.waker)
    }

    /// Whether something happened to the connection since it was left unattended.
    pub(super) fn is_stirred(&self) -> bool {
        self.shared.stirred.load(Relaxed)
    }

    /// Whether waking is of no use for a moment, because the connection is driven right afterwards.
    pub(super) fn mute(&self, muted: bool) {
        self.shared.muted.store(muted, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    #[test]
    fn it_passes_on_what_is_of_use_to_who_drives_the_connection_now() {
        let [first, second] = [(); 2].map(|()| Arc::new(Flag::default()));
        let woken = |flag: &Arc<Flag>| flag.0.swap(false, Relaxed);
        let nudge = Nudge::new();
        let kept = nudge.unattended().waker().clone();
        kept.wake_by_ref();
        assert!(nudge.is_stirred());
        let waker = Waker::from(Arc::clone(&first));
        nudge.attended(&Context::from_waker(&waker));
        kept.wake_by_ref();
        assert!(woken(&first));
        nudge.mute(true);
        kept.wake_by_ref();
        nudge.mute(false);
        assert!(!woken(&first));
        let waker = Waker::from(Arc::clone(&second));
        nudge.attended(&Context::from_waker(&waker));
        kept.wake_by_ref();
        assert_eq!((woken(&first), woken(&second)), (false, true));
        assert!(!{
            nudge.unattended();
            nudge.is_stirred()
        });
        kept.wake_by_ref();
        assert!(nudge.is_stirred() && !woken(&second));
    }
}
