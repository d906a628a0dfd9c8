//! A service as tower's balancers want it: instances that come and go.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use tower::discover::Change;

use crate::{Instance, InstanceId, Service, Watch};

/// What waits for the next change.
type Waiting = Pin<Box<dyn Future<Output = (Watch, Option<Vec<Arc<Instance>>>)> + Send>>;

/// The instances of a service as they come and go: a `tower::discover::Discover`, with a
/// client for each that `connect` makes. An instance whose address changed comes anew.
///
/// Never fails; ends when nothing is followed any more.
pub struct Changes<F> {
    connect: F,
    service: Service,
    waiting: Waiting,
    /// Those that were told.
    known: BTreeMap<InstanceId, SocketAddr>,
    due: VecDeque<Step>,
}

/// A change that is to be told.
enum Step {
    Insert(Arc<Instance>, SocketAddr),
    Remove(InstanceId),
}

impl Service {
    /// The instances that may get calls, for tower's balancers. `connect` makes the client of
    /// an instance and must not block.
    pub fn changes<F, S>(&self, connect: F) -> Changes<F>
    where
        F: FnMut(&Instance, SocketAddr) -> S,
    {
        Changes {
            connect,
            service: self.clone(),
            waiting: wait(self.watch()),
            known: BTreeMap::new(),
            due: VecDeque::new(),
        }
    }
}

fn wait(mut watch: Watch) -> Waiting {
    Box::pin(async move {
        let changed = watch.changed().await;
        (watch, changed)
    })
}

impl<F> Changes<F> {
    /// Notes what differs from what was told.
    fn note(&mut self, found: Vec<Arc<Instance>>) {
        let mut gone = std::mem::take(&mut self.known);
        for instance in found {
            let Some(address) = instance.address(self.service.port_name()) else {
                continue;
            };
            let told = gone.remove(&instance.id);
            self.known.insert(instance.id.clone(), address);
            if told != Some(address) {
                self.due.push_back(Step::Insert(instance, address));
            }
        }
        self.due.extend(gone.into_keys().map(Step::Remove));
    }
}

impl<F, S> Stream for Changes<F>
where
    F: FnMut(&Instance, SocketAddr) -> S + Unpin,
{
    type Item = Result<Change<InstanceId, S>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.due.pop_front() {
                Some(Step::Insert(instance, address)) => {
                    let client = (self.connect)(&instance, address);
                    let change = Change::Insert(instance.id.clone(), client);
                    return Poll::Ready(Some(Ok(change)));
                }
                Some(Step::Remove(id)) => return Poll::Ready(Some(Ok(Change::Remove(id)))),
                None => {}
            }
            let (watch, found) = ready!(self.waiting.as_mut().poll(cx));
            let Some(found) = found else {
                self.waiting = Box::pin(std::future::pending());
                return Poll::Ready(None);
            };
            self.waiting = wait(watch);
            self.note(found);
        }
    }
}

impl<F> fmt::Debug for Changes<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Changes({})", self.service.key())
    }
}
