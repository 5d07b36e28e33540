//! Something of which there is only so much, shared out over groups. Who finds nothing left waits, in order.
//!
//! [`shares`] decides, as plain data; here is the waiting. A [`Place`] is given back when it is dropped, also one that
//! is still waited for.

mod shares;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

pub use shares::{Bounds, Taken};
use shares::{Entry, Shares, Ticket};

/// What is shared out, to members `M` of groups `G`. Clones are the same one.
#[derive(Debug)]
pub struct Fair<G, M>(Arc<Mutex<Inner<G, M>>>);

#[derive(Debug)]
struct Inner<G, M> {
    shares: Shares<G, M>,
    /// Who is to hear that its turn has come.
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
}

impl<G, M> Clone for Fair<G, M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<G: Clone + Eq + Hash + Send + 'static, M: Clone + Eq + Hash + Send + 'static> Fair<G, M> {
    /// Nobody has anything yet.
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Mutex::new(Inner { shares: Shares::new(bounds), waiting: HashMap::new() })))
    }

    /// Waits until this member may have so much. None at once when too many of its group wait already.
    pub async fn take(&self, group: G, member: M, amount: u32) -> Option<Place> {
        let (place, turn) = self.ask(group, member, amount)?;
        match turn {
            // Its sender is dropped with the place, which we have.
            Some(turn) => turn.await.ok().map(|()| place),
            None => Some(place),
        }
    }

    fn ask(&self, group: G, member: M, amount: u32) -> Option<(Place, Option<oneshot::Receiver<()>>)> {
        let mut inner = lock(&self.0);
        let (ticket, turn) = match inner.shares.ask(group, member, amount) {
            Entry::Granted(ticket) => (ticket, None),
            Entry::Waits(ticket) => {
                let (call, turn) = oneshot::channel();
                inner.waiting.insert(ticket, call);
                (ticket, Some(turn))
            }
            Entry::Refused => return None,
        };
        Some((Place { ticket, of: self.0.clone() }, turn))
    }

    /// What is taken now.
    pub fn taken(&self, group: &G) -> Taken {
        lock(&self.0).shares.taken(group)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What somebody was given, or waits for; dropping it gives it back.
pub struct Place {
    ticket: Ticket,
    of: Arc<dyn Leave>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.ticket).finish()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.leave(self.ticket);
    }
}

/// Where places are given back.
trait Leave: Send + Sync {
    fn leave(&self, ticket: Ticket);
}

impl<G: Clone + Eq + Hash + Send, M: Clone + Eq + Hash + Send> Leave for Mutex<Inner<G, M>> {
    fn leave(&self, ticket: Ticket) {
        let mut inner = lock(self);
        inner.waiting.remove(&ticket);
        for next in inner.shares.leave(ticket) {
            if let Some(call) = inner.waiting.remove(&next) {
                // Who is gone by now drops its place, which gives it on.
                let _ = call.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn fair() -> Fair<&'static str, ()> {
        Fair::new(Bounds { own: 0, group: 1, whole: 1, line: 2 })
    }

    #[tokio::test]
    async fn who_waits_is_called_in_order_and_who_went_away_is_passed_over() {
        let fair = fair();
        let first = fair.take("a", (), 1).await.unwrap();
        let mut gone = Box::pin(fair.take("a", (), 1));
        assert!(gone.as_mut().now_or_never().is_none(), "it waits");
        let mut next = Box::pin(fair.take("a", (), 1));
        assert!(next.as_mut().now_or_never().is_none(), "it waits");
        assert!(fair.take("a", (), 1).await.is_none(), "the line is full");
        drop(gone);
        drop(first);
        let next = next.now_or_never().expect("its turn has come");
        drop(next);
        assert_eq!(fair.taken(&"a"), Taken { group: 0, all: 0 });
    }

    #[tokio::test]
    async fn a_place_that_was_granted_to_somebody_who_left_is_given_on() {
        let fair = fair();
        let first = fair.take("a", (), 1).await.unwrap();
        let mut left = Box::pin(fair.take("a", (), 1));
        assert!(left.as_mut().now_or_never().is_none());
        let mut next = Box::pin(fair.take("b", (), 1));
        assert!(next.as_mut().now_or_never().is_none());
        drop(first);
        // Called, but never looked again.
        drop(left);
        assert!(next.now_or_never().expect("its turn has come").is_some());
    }
}
