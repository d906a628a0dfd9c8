//! The bodies of `apps` and `apps/delta`, encoded once for everybody.
//!
//! All clients that ask for the same revision get the same buffer. A service that did not
//! change keeps its piece, so a change costs what it changed and one copy. A long list is
//! encoded in steps that let others run.

use std::{collections::HashMap, io::Write as _, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use portolan_catalog::{Catalog, Service};
use portolan_dialects::eureka::{
    Counts, Format, InstanceInfo, app_of, application_piece, show, status_of, write_applications,
};
use portolan_model::{Revision, ServiceKey};
use tokio::sync::Mutex;

use super::{
    delta::{self, Touched},
    read::is_served,
};

/// Instances that are encoded at a time.
const STEP: usize = 256;
/// Bytes that are compressed at a time.
const STEP_BYTES: usize = 64 << 10;

/// Every body that is there, by what it is and how it is written.
#[derive(Default)]
pub(super) struct Bodies {
    all: [Mutex<All>; Format::ALL.len()],
    delta: [Mutex<Option<Body>>; Format::ALL.len()],
}

/// A body and what it was made of.
struct Body {
    revision: Revision,
    /// Where a delta begins.
    after: Option<Revision>,
    plain: Bytes,
    zipped: Option<Bytes>,
}

/// The list of everything.
#[derive(Default)]
struct All {
    body: Option<Body>,
    pieces: HashMap<ServiceKey, Piece>,
}

/// What a service adds to the list of everything.
struct Piece {
    service: Arc<Service>,
    bytes: Bytes,
    counts: Counts,
}

impl Bodies {
    /// Everything, as the newest catalogue has it.
    pub(super) async fn all(
        &self,
        catalog: impl Fn() -> Catalog,
        format: Format,
        is_zipped: bool,
    ) -> Bytes {
        // The lock is for tasks: whoever waits for it gets what the other one makes.
        let mut all = self.all[format as usize].lock().await;
        let catalog = catalog();
        let is_made = |body: &Body| body.revision == catalog.revision();
        if !all.body.as_ref().is_some_and(is_made) {
            let plain = all.encode(&catalog, format).await;
            all.body = Some(Body {
                revision: catalog.revision(),
                after: None,
                plain,
                zipped: None,
            });
        }
        served(all.body.as_mut(), is_zipped).await
    }

    /// What changed lately, as the newest catalogue has it.
    pub(super) async fn delta(
        &self,
        catalog: impl Fn() -> (Catalog, Revision),
        format: Format,
        is_zipped: bool,
    ) -> Bytes {
        let mut made = self.delta[format as usize].lock().await;
        let (catalog, after) = catalog();
        let is_made =
            |body: &Body| body.revision == catalog.revision() && body.after == Some(after);
        if !made.as_ref().is_some_and(is_made) {
            let touched = delta::touched(&catalog, after);
            let plain = encode_delta(&catalog, &touched, format).await;
            *made = Some(Body {
                revision: catalog.revision(),
                after: Some(after),
                plain,
                zipped: None,
            });
        }
        served(made.as_mut(), is_zipped).await
    }
}

async fn served(body: Option<&mut Body>, is_zipped: bool) -> Bytes {
    let Some(body) = body else {
        return Bytes::new();
    };
    if !is_zipped {
        return body.plain.clone();
    }
    if body.zipped.is_none() {
        body.zipped = Some(zip(&body.plain).await);
    }
    body.zipped.clone().unwrap_or_default()
}

impl All {
    async fn encode(&mut self, catalog: &Catalog, format: Format) -> Bytes {
        let mut services: Vec<_> = catalog
            .services()
            .filter(|service| is_served(&service.key) && !service.instances.is_empty())
            .collect();
        services.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let mut fresh = HashMap::with_capacity(services.len());
        for service in &services {
            let known = self.pieces.remove(&service.key);
            let known = known.filter(|piece| Arc::ptr_eq(&piece.service, service));
            let piece = match known {
                Some(piece) => piece,
                None => Piece::encode(service, format).await,
            };
            fresh.insert(service.key.clone(), piece);
        }
        self.pieces = fresh;
        let pieces: Vec<_> = services
            .iter()
            .filter_map(|service| self.pieces.get(&service.key))
            .collect();
        let mut counts = Counts::default();
        for piece in &pieces {
            counts.merge(&piece.counts);
        }
        let pieces = pieces.into_iter().map(|piece| &*piece.bytes);
        write_applications(format, &counts.hash(), pieces).into()
    }
}

impl Piece {
    async fn encode(service: &Arc<Service>, format: Format) -> Self {
        let mut infos = Vec::with_capacity(service.instances.len());
        for some in service.instances.chunks(STEP) {
            infos.extend(some.iter().map(|instance| show(instance)));
            tokio::task::yield_now().await;
        }
        let counts = infos.iter().map(|info| info.status).collect();
        let app = app_of(&service.key);
        Self {
            service: Arc::clone(service),
            bytes: application_piece(format, &app, &infos).into(),
            counts,
        }
    }
}

async fn encode_delta(catalog: &Catalog, touched: &[Touched], format: Format) -> Bytes {
    let mut pieces = Vec::new();
    for some in touched.chunk_by(|a, b| a.instance.key == b.instance.key) {
        let infos: Vec<_> = some.iter().map(told).collect();
        if let Some(first) = some.first() {
            let app = app_of(&first.instance.key);
            pieces.push(application_piece(format, &app, &infos));
        }
        tokio::task::yield_now().await;
    }
    // That of everything, as of the same catalogue.
    let hash = counts(catalog).hash();
    let pieces = pieces.iter().map(Vec::as_slice);
    write_applications(format, &hash, pieces).into()
}

fn told(touched: &Touched) -> InstanceInfo {
    InstanceInfo {
        action: Some(touched.action),
        ..show(&touched.instance)
    }
}

/// How many instances have which status, over everything that is served.
pub(super) fn counts(catalog: &Catalog) -> Counts {
    let services = catalog.services().filter(|service| is_served(&service.key));
    let instances = services.flat_map(|service| &service.instances);
    instances.map(|instance| status_of(instance)).collect()
}

async fn zip(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for some in plain.chunks(STEP_BYTES) {
        // Writing to memory can't fail.
        let _written = encoder.write_all(some);
        tokio::task::yield_now().await;
    }
    encoder.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use portolan_catalog::{Fold, GuardSettings, News, Saying};
    use portolan_model::{
        Change, Instance, InstanceId, Name, NamedPort, RevisionClock, SourceId, State, Timestamp,
        Weight,
    };

    use super::*;

    const SERVICES: usize = 20;
    const INSTANCES: usize = 10_000;

    fn put(fold: &mut Fold, number: usize, port: u16) {
        let instance = Arc::new(Instance {
            key: ServiceKey::parse(&format!("service-{}", number % SERVICES)).unwrap(),
            id: InstanceId::parse(&format!("i{number}")).unwrap(),
            endpoints: Box::new([NamedPort {
                name: Name::parse("default").unwrap(),
                address: ([127, 0, 0, 1], port).into(),
            }]),
            zone: None,
            version: None,
            weight: Weight::NORMAL,
            tags: Box::default(),
            metadata: BTreeMap::new(),
            source: SourceId::new("file"),
            state: State::default(),
        });
        let saying = Saying {
            source: SourceId::new("file"),
            actor: None,
            news: News::Said(Change::Put { instance }),
        };
        fold.apply(Timestamp::from_millis(1), saying);
    }

    #[tokio::test]
    async fn ten_thousand_instances_are_encoded_once_for_all_clients() {
        let clock = RevisionClock::new(Revision::FIRST);
        let now = Timestamp::from_millis(1);
        let mut fold = Fold::new(GuardSettings::default(), clock, now);
        (0..INSTANCES).for_each(|number| put(&mut fold, number, 80));
        let bodies = Bodies::default();
        let both = |format| [(format, false), (format, true)];
        for (format, is_zipped) in Format::ALL.into_iter().flat_map(both) {
            let first = bodies.all(|| fold.catalog(), format, is_zipped).await;
            for _ in 0..100 {
                let again = bodies.all(|| fold.catalog(), format, is_zipped).await;
                assert_eq!(again.as_ptr(), first.as_ptr(), "{format:?} {is_zipped}");
            }
        }

        // A change makes a new list, in which only one service is encoded anew.
        let json = Format::Json as usize;
        let pieces = |all: &All| -> HashMap<ServiceKey, *const u8> {
            let pieces = all.pieces.iter();
            pieces
                .map(|(key, piece)| (key.clone(), piece.bytes.as_ptr()))
                .collect()
        };
        let before = pieces(&*bodies.all[json].lock().await);
        put(&mut fold, 7, 81);
        let list = bodies.all(|| fold.catalog(), Format::Json, false).await;
        assert!(
            list.windows(6).any(|some| some == b"\"$\":81"),
            "it is never stale"
        );
        let after = pieces(&*bodies.all[json].lock().await);
        let differ = before.iter().filter(|(key, piece)| after[*key] != **piece);
        assert_eq!(differ.count(), 1);
    }
}
