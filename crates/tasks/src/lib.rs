//! Tasks that live and end together.
//!
//! A [`Group`] pairs tasks with the token that stops them. A part of a process holds one group for each moment of its stop: it
//! stops them in an order that the part chooses, and learns by name which task ended although nothing stopped it.
//!
//! ```
//! # tokio_test_runtime(async {
//! let mut group = lath_tasks::Group::new("doors");
//! let stop = group.token();
//! group.spawn("the API port", async move { stop.cancelled().await });
//! assert!(group.stop().await);
//! # });
//! # fn tokio_test_runtime(test: impl Future<Output = ()>) {
//! #     tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
//! # }
//! ```

use std::future::Future;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tasks with one token. Dropping the group aborts them.
#[derive(Debug)]
pub struct Group {
    name: &'static str,
    token: CancellationToken,
    tasks: JoinSet<Ended>,
}

/// What a task leaves.
#[derive(Debug)]
struct Ended {
    name: &'static str,
    clean: bool,
}

impl Group {
    /// An empty group. `name` stands for a task that panicked, whose own name is lost.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            token: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    /// The token that [`Group::stop`] cancels.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Runs a task that ends by itself once the group's token is cancelled.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_judged(name, async {
            task.await;
            true
        });
    }

    /// Runs a task that does not know the token. It is dropped at its next point of waiting once the token is cancelled.
    pub fn spawn_until_stop(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let token = self.token();
        self.spawn(name, async move {
            let _it_was_dropped = token.run_until_cancelled(task).await;
        });
    }

    /// Runs a task that says whether it ended cleanly.
    pub fn spawn_judged(
        &mut self,
        name: &'static str,
        task: impl Future<Output = bool> + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            let clean = task.await;
            Ended { name, clean }
        });
    }

    /// Waits until a task ends although nothing stopped it. Returns its name. Waits for ever while the group is empty.
    ///
    /// It may be dropped and called again without losing an end.
    pub async fn failed(&mut self) -> &'static str {
        match self.tasks.join_next().await {
            Some(ended) => ended.map_or(self.name, |ended| ended.name),
            None => std::future::pending().await,
        }
    }

    /// Cancels the token and waits for every task. Returns whether each ended cleanly; a panic is no clean end.
    ///
    /// A group that was stopped has no tasks, so a second call returns at once.
    pub async fn stop(&mut self) -> bool {
        self.token.cancel();
        let mut clean = true;
        while let Some(ended) = self.tasks.join_next().await {
            clean &= ended.is_ok_and(|ended| ended.clean);
        }
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_that_nothing_asked_for_is_named() {
        let mut group = Group::new("parts");
        let stop = group.token();
        group.spawn("the one that stays", async move { stop.cancelled().await });
        group.spawn("the one that ends", async {});
        assert_eq!(group.failed().await, "the one that ends");
        assert!(group.stop().await);
    }

    #[tokio::test]
    async fn a_task_that_panics_has_the_groups_name() {
        let mut group = Group::new("parts");
        group.spawn("the one that panics", async { panic!("as the test wants") });
        assert_eq!(group.failed().await, "parts");
    }

    #[tokio::test]
    async fn a_stop_waits_for_all_and_says_whether_all_ended_well() {
        let mut group = Group::new("processes");
        let stop = group.token();
        group.spawn_judged("one", async move {
            stop.cancelled().await;
            false
        });
        group.spawn_until_stop("one that knows no token", std::future::pending());
        assert!(!group.stop().await);
        assert!(group.stop().await, "nothing is left of the second time");
    }

    #[tokio::test]
    async fn an_empty_group_never_fails() {
        let mut group = Group::new("none");
        let mut failed = std::pin::pin!(group.failed());
        let at_once =
            std::future::poll_fn(|cx| std::task::Poll::Ready(failed.as_mut().poll(cx).is_ready()));
        assert!(!at_once.await);
    }
}
