//! The policies of a route in their final order.

use std::sync::Arc;

use portolan_model::http::ResponseHead;

use crate::{Answer, Exchange, Flow, Phase, Policy};

/// A policy and its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// When it has its turn.
    pub phase: Phase,
    /// Its place among others of the phase: the row of its kind in the shelf's table.
    pub rank: usize,
    /// The word of its kind, for explanations.
    pub kind: &'static str,
    /// What it does.
    pub policy: Arc<dyn Policy>,
}

/// Policies frozen in order: by phase, then by the shelf's table, then as written.
#[derive(Clone, Debug, Default)]
pub struct Chain(Arc<[Placed]>);

impl Chain {
    /// Freezes policies of the global, listener and route level together.
    #[must_use]
    pub fn freeze(mut policies: Vec<Placed>) -> Self {
        policies.sort_by_key(|placed| (placed.phase, placed.rank));
        Self(policies.into())
    }

    /// The policies in order.
    #[must_use]
    pub fn policies(&self) -> &[Placed] {
        &self.0
    }

    /// Walks a request through the chain.
    ///
    /// # Cancellation
    /// Dropping the future drops whatever a policy waits for.
    pub async fn request(&self, exchange: &mut Exchange) -> Flow {
        for placed in self.0.iter() {
            let flow = match placed.policy.request(exchange) {
                Answer::Now(flow) => flow,
                Answer::Later(later) => later.await,
            };
            match flow {
                Flow::Next => {}
                Flow::Reply(_) | Flow::Fail(_) => return flow,
            }
        }
        Flow::Next
    }

    /// Walks an answer back through the chain.
    pub fn response(&self, exchange: &Exchange, head: &mut ResponseHead) {
        for placed in self.0.iter().rev() {
            placed.policy.response(exchange, head);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use portolan_model::Cause;

    use super::*;
    use crate::Fault;

    #[derive(Debug)]
    struct Mark(&'static str);

    impl Policy for Mark {
        fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Answer<'a> {
            exchange.head.authority.push_str(self.0);
            if self.0 == "stop" {
                let fault = Fault::new(Cause::Denied, "stopped");
                return Answer::Later(Box::pin(async { Flow::Fail(Box::new(fault)) }));
            }
            Answer::Now(Flow::Next)
        }

        fn response(&self, _: &Exchange, head: &mut ResponseHead) {
            head.fields
                .push("x-mark", self.0.as_bytes())
                .expect("a mark is a value");
        }
    }

    fn placed(phase: Phase, rank: usize, mark: &'static str) -> Placed {
        Placed {
            phase,
            rank,
            kind: "mark",
            policy: Arc::new(Mark(mark)),
        }
    }

    #[tokio::test]
    async fn chain_runs_by_phase_and_rank_and_stops_at_a_fault() {
        let chain = Chain::freeze(vec![
            placed(Phase::Shape, 0, "never"),
            placed(Phase::Authorize, 2, "stop"),
            placed(Phase::Authorize, 1, "b"),
            placed(Phase::Admit, 9, "a"),
        ]);
        let mut exchange = Exchange::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let flow = chain.request(&mut exchange).await;
        assert!(matches!(flow, Flow::Fail(fault) if fault.cause == Cause::Denied));
        assert_eq!(exchange.head.authority, "abstop");
        let mut head = ResponseHead::default();
        chain.response(&exchange, &mut head);
        let marks: Vec<_> = head.fields.get_all("x-mark").collect();
        assert_eq!(marks, [&b"never"[..], b"stop", b"b", b"a"]);
    }
}
