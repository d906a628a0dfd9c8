//! What a worker has in its hands.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use portolan_balance::{Board, Budget, WorkerGauges};
use portolan_model::{Cause, http::ResponseHead};
use portolan_policy::{Exchange, Fault};
use portolan_runtime::{Alarm, Dice, Env, Ticker};
use portolan_snapshot::{Template, View, WorkerView};
use portolan_telemetry::{AccessLog, Meters, WorkerMeters};
use portolan_wire::{
    io::Buffers,
    tls::ClientTls,
    upstream::{Gates, Pool, Transport},
};

/// What all workers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Clock, dice, tasks.
    pub env: Env,
    /// The snapshots.
    pub view: View,
    /// The gauges of all workers.
    pub board: Arc<Board>,
    /// The counters of all workers.
    pub meters: Arc<Meters>,
    /// Where access records go, if anywhere.
    pub access: Option<AccessLog>,
    /// Client configurations by setting. Guards the map; held for no await.
    pub client_tls: Arc<Mutex<ClientTls>>,
    /// The connections that instances allow.
    pub gates: Arc<Gates>,
    /// When the program started, for the coarse clocks.
    pub start: Instant,
    /// The name by which Via tells our own requests.
    pub pseudonym: Arc<str>,
}

/// One worker's hands. Lives on its thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Shared,
    pub(crate) view: WorkerView,
    pub(crate) gauges: WorkerGauges,
    pub(crate) meters: WorkerMeters,
    pub(crate) dice: RefCell<Dice>,
    pub(crate) ticker: Rc<Ticker>,
    pub(crate) buffers: Rc<Buffers>,
    pub(crate) pool: Pool,
    /// Set when the program is stopping: connections end with their request.
    pub(crate) draining: Cell<bool>,
    budgets: RefCell<Vec<Budget>>,
    /// By number.
    transports: RefCell<Vec<Option<Rc<Transport>>>>,
    /// Heads that have been used before and keep their memory.
    heads: RefCell<Vec<ResponseHead>>,
    /// Exchanges that have been used before and keep their memory.
    exchanges: RefCell<Vec<Exchange>>,
    /// Alarms that have been used before.
    alarms: RefCell<Vec<Alarm>>,
}

/// Heads, exchanges and alarms that are kept for the next requests: what a few busy HTTP/2
/// clients have under way at a time. A head takes about a kilobyte.
const SPARES_MAX: usize = 512;

impl Worker {
    /// The worker of that number, on the current thread.
    pub(crate) fn new(shared: Shared, index: usize) -> Rc<Self> {
        Rc::new(Self {
            view: shared.view.worker(index),
            gauges: WorkerGauges::new(Arc::clone(&shared.board), index),
            meters: shared.meters.worker(index),
            dice: RefCell::new(shared.env.dice()),
            ticker: Ticker::new(shared.start, &shared.env),
            buffers: Buffers::new(),
            pool: Pool::default(),
            draining: Cell::new(false),
            budgets: RefCell::default(),
            transports: RefCell::default(),
            heads: RefCell::default(),
            exchanges: RefCell::default(),
            alarms: RefCell::default(),
            shared,
        })
    }

    /// An empty head for an answer.
    pub(crate) fn take_head(&self) -> ResponseHead {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a head back; one that is not is only freed.
    pub(crate) fn give_head(&self, mut head: ResponseHead) {
        head.clear();
        let mut heads = self.heads.borrow_mut();
        if heads.len() < SPARES_MAX {
            heads.push(head);
        }
    }

    /// An empty exchange with that client.
    pub(crate) fn take_exchange(&self, client: IpAddr) -> Exchange {
        match self.exchanges.borrow_mut().pop() {
            Some(exchange) => Exchange { client, ..exchange },
            None => Exchange::new(client),
        }
    }

    /// Gives an exchange back; one that is not is only freed.
    pub(crate) fn give_exchange(&self, mut exchange: Exchange) {
        exchange.clear();
        let mut exchanges = self.exchanges.borrow_mut();
        if exchanges.len() < SPARES_MAX {
            exchanges.push(exchange);
        }
    }

    /// An alarm that is not set.
    pub(crate) fn take_alarm(&self) -> Alarm {
        let spare = self.alarms.borrow_mut().pop();
        spare.unwrap_or_else(|| self.ticker.alarm())
    }

    /// Gives an alarm back; one that is not is only freed.
    pub(crate) fn give_alarm(&self, alarm: Alarm) {
        alarm.clear();
        let mut alarms = self.alarms.borrow_mut();
        if alarms.len() < SPARES_MAX {
            alarms.push(alarm);
        }
    }

    /// A precise reading, which also moves the coarse clock on.
    pub(crate) fn instant(&self) -> Instant {
        let now = self.shared.env.instant();
        self.ticker.touch(now);
        now
    }

    /// How the instances of a template are connected to.
    ///
    /// # Errors
    /// A fault of ours: the TLS files of the upstream can't be used.
    pub(crate) fn transport(&self, template: &Template) -> Result<Rc<Transport>, Box<Fault>> {
        let place = template.transport as usize;
        if let Some(Some(transport)) = self.transports.borrow().get(place) {
            return Ok(Rc::clone(transport));
        }
        let upstream = &template.upstream;
        let tls = upstream.tls.as_ref().map(|settings| {
            let client_tls = &mut *self
                .shared
                .client_tls
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            client_tls.connector(settings, upstream.protocol)
        });
        let tls = tls.transpose().map_err(|error| {
            let explanation = format!("upstream {}: its TLS settings can't be used", upstream.name);
            Box::new(Fault::new(Cause::Misconfigured, explanation).with_detail(error.to_string()))
        })?;
        let transport = Rc::new(Transport {
            protocol: upstream.protocol,
            tls,
            proxy_protocol: upstream.proxy_protocol,
            timeout: upstream.timeouts.connect,
        });
        let mut transports = self.transports.borrow_mut();
        if transports.len() <= place {
            transports.resize(place + 1, None);
        }
        transports[place] = Some(Rc::clone(&transport));
        Ok(transport)
    }

    /// Closes pooled connections that are old, or whose instance is gone from the catalogue.
    pub(crate) fn sweep(&self) {
        let departed = self.view.departed(self.pool.slots().into_iter());
        self.pool
            .sweep(self.ticker.now(), |key| departed.contains(&key.slot));
    }

    /// Counts a first try to an upstream, which pays for retries.
    pub(crate) fn deposit(&self, template: &Template) {
        self.with_budget(template, |budget, percent, per_second, now| {
            budget.deposit(percent, per_second, now);
        });
    }

    /// Whether the upstream's budget allows one retry more, which it then pays.
    pub(crate) fn may_retry(&self, template: &Template) -> bool {
        self.with_budget(template, |budget, _, per_second, now| {
            budget.withdraw(per_second, now)
        })
    }

    fn with_budget<T>(
        &self,
        template: &Template,
        act: impl FnOnce(&mut Budget, u32, f32, u64) -> T,
    ) -> T {
        let retry = &template.upstream.retry;
        let workers = u16::try_from(self.shared.board.workers()).unwrap_or(u16::MAX);
        let all = u16::try_from(retry.budget_per_second).unwrap_or(u16::MAX);
        // Every worker has its share of the fixed rate.
        let per_second = f32::from(all) / f32::from(workers);
        let now = self.ticker.now();
        let mut budgets = self.budgets.borrow_mut();
        let place = template.budget as usize;
        if budgets.len() <= place {
            budgets.resize(place + 1, Budget::new(per_second.max(1.0), now));
        }
        act(&mut budgets[place], retry.budget_percent, per_second, now)
    }
}
