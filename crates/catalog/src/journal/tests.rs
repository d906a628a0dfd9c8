//! Claims about history over restarts.

use portolan_model::{Change, Name, NamedPort, RevisionClock, SourceId, State, Weight};

use super::*;
use crate::{Applied, Catalog, Fold, GuardSettings, News, Saying};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000 + seconds * 1000)
}

fn key() -> ServiceKey {
    ServiceKey::parse("orders").unwrap()
}

fn instance(id: &str, version: &str) -> Arc<Instance> {
    Arc::new(Instance {
        key: key(),
        id: InstanceId::parse(id).unwrap(),
        endpoints: Box::new([NamedPort {
            name: Name::parse("default").unwrap(),
            address: "127.0.0.1:9001".parse().unwrap(),
        }]),
        zone: None,
        version: Some(version.into()),
        weight: Weight::NORMAL,
        tags: Box::default(),
        metadata: BTreeMap::new(),
        source: SourceId::new("file:edge"),
        state: State::default(),
    })
}

fn seen_at(id: &str, seconds: u64) -> Arc<Instance> {
    let mut known = Instance::clone(&instance(id, "1"));
    known.state.first_seen = at(seconds);
    Arc::new(known)
}

fn put(id: &str, version: &str) -> News {
    let instance = instance(id, version);
    News::Said(Change::Put { instance })
}

fn remove(id: &str) -> News {
    News::Said(Change::Remove {
        key: key(),
        id: InstanceId::parse(id).unwrap(),
        departure: portolan_model::Departure::Explicit,
    })
}

fn stale() -> News {
    let reason = "gone".into();
    News::Said(Change::Stale { reason })
}

fn whole(versions: &[(&str, &str)]) -> News {
    let instances = versions
        .iter()
        .map(|(id, version)| instance(id, version))
        .collect();
    let services = Vec::new();
    News::Said(Change::Reset {
        services,
        instances,
    })
}

/// A process, and what it has stored of its journal.
struct Process {
    fold: Fold,
    began: Revision,
    lines: Vec<Line>,
    now: u64,
}

impl Process {
    fn first(now: u64) -> Self {
        let clock = RevisionClock::new(Revision::FIRST);
        let fold = Fold::new(GuardSettings::default(), clock, at(now));
        let began = fold.catalog().revision();
        Self {
            fold,
            began,
            lines: vec![Line::start(began, at(now), at(now))],
            now,
        }
    }

    /// The next one, which has only what sources said last.
    fn next(&self, kept: &[(&str, &str)], now: u64) -> Self {
        let mut next = Self::first(now);
        let kept = kept.iter().map(|(id, version)| instance(id, version));
        next.news(now, News::Remembered(kept.collect()));
        let lines = self.stored();
        let newest = lines.last().unwrap().revision;
        next.news(now, News::Recalled(newest));
        next.began = next.fold.catalog().revision();
        next.lines = lines;
        next.lines.push(Line::start(next.began, at(now), at(now)));
        next
    }

    fn news(&mut self, now: u64, news: News) -> Applied {
        self.now = now;
        let source = SourceId::new("file:edge");
        let actor = None;
        self.fold.apply(
            at(now),
            Saying {
                source,
                actor,
                news,
            },
        )
    }

    fn catalog(&self) -> Catalog {
        self.fold.catalog()
    }

    fn stored(&self) -> Vec<Line> {
        let catalog = self.catalog();
        let new = catalog.journal().lines_since(self.began);
        self.lines.iter().cloned().chain(new).collect()
    }

    fn past(&self) -> Past {
        Past::read(&self.stored()).0.unwrap()
    }

    /// Ids and versions at a revision; who is stale has a tilde.
    fn at(&self, revision: Revision) -> Result<String, Forgotten> {
        let catalog = self.catalog();
        let instances = catalog.instances_before(&key(), revision, Some(&self.past()))?;
        let shown = instances.iter().map(|instance| {
            let stale = if instance.state.stale { "~" } else { "" };
            let version = instance.version.as_deref().unwrap_or_default();
            format!("{}{version}{stale}", instance.id)
        });
        Ok(shown.collect::<Vec<_>>().join(" "))
    }
}

#[test]
fn history_goes_on_over_restarts() {
    let mut one = Process::first(0);
    let a1 = one.news(1, put("a", "1")).revision;
    let b1 = one.news(2, put("b", "1")).revision;
    let a2 = one.news(3, put("a", "2")).revision;
    let lost = one.news(4, stale()).revision;
    let back = one.news(5, whole(&[("a", "2"), ("b", "1")])).revision;
    let gone = one.news(6, remove("b")).revision;
    let steps = [a1, b1, a2, lost, back, gone];
    let expected = ["a1", "a1 b1", "a2 b1", "a2~ b1~", "a2 b1", "a2"];
    for (revision, was) in steps.into_iter().zip(expected) {
        assert_eq!(one.at(revision).unwrap(), was);
    }

    // What sources said is kept a little later than the journal: `b` is still there.
    let mut two = one.next(&[("a", "2"), ("b", "1")], 10);
    for (revision, was) in steps.into_iter().zip(expected) {
        assert_eq!(two.at(revision).unwrap(), was);
    }
    let again = two.news(11, whole(&[("a", "2"), ("c", "1")])).revision;
    assert_eq!(two.at(again).unwrap(), "a2 c1");
    assert_eq!(two.at(gone).unwrap(), "a2");

    let three = two.next(&[("a", "2"), ("c", "1")], 20);
    for (revision, was) in steps.into_iter().zip(expected) {
        assert_eq!(three.at(revision).unwrap(), was);
    }
    assert_eq!(three.at(again).unwrap(), "a2 c1");
    assert!(three.at(Revision::FIRST).is_err());
}

#[test]
fn what_is_not_in_memory_any_more_is_in_the_store() {
    let mut one = Process::first(0);
    let first = one.news(1, put("a", "1")).revision;
    let mut lines = one.stored();
    let mut revisions = Vec::new();
    for number in 0..=JOURNAL_ENTRIES_MAX {
        let known = one.catalog().revision();
        revisions.push(one.news(2, put("b", &number.to_string())).revision);
        lines.extend(one.catalog().journal().lines_since(known));
    }
    let catalog = one.catalog();
    assert_eq!(catalog.journal().oldest(), revisions[0]);
    assert!(catalog.instances_at(&key(), first).is_err());
    let past = Past::read(&lines).0.unwrap();
    for (revision, count) in [(first, 1), (revisions[0], 2), (revisions[9], 2)] {
        let found = catalog.instances_before(&key(), revision, Some(&past));
        assert_eq!(found.unwrap().len(), count);
    }
    let told = catalog.journal().told_since(first, Some(&past)).unwrap();
    assert_eq!(told.len(), revisions.len());
    // A store that has fallen behind is of no help.
    let behind = Past::read(&lines[..2]).0.unwrap();
    assert!(
        catalog
            .instances_before(&key(), first, Some(&behind))
            .is_err()
    );
}

#[test]
fn what_came_when_a_process_was_cut_off_is_not_in_its_history() {
    let mut one = Process::first(0);
    let first = one.news(1, put("a", "1")).revision;
    let mut two = Process::first(10);
    let kept = vec![seen_at("a", 1), seen_at("b", 2)];
    two.news(10, News::Remembered(kept));
    two.news(10, News::Recalled(first));
    two.began = two.catalog().revision();
    two.lines = one.stored();
    two.lines.push(Line::start(two.began, at(10), at(10)));
    assert_eq!(two.at(first).unwrap(), "a1");
    assert_eq!(two.at(two.began).unwrap(), "a1~ b1~");
}

#[test]
fn what_came_a_moment_before_the_last_that_is_stored_is_not_in_history_either() {
    let mut one = Process::first(0);
    let first = one.news(1, put("a", "1")).revision;
    // It was told to the registry before this was to the catalogue, and came to it later.
    let last = one.news(5, put("z", "1")).revision;
    let mut two = Process::first(10);
    let kept = vec![seen_at("a", 1), seen_at("b", 4), seen_at("z", 5)];
    two.news(10, News::Remembered(kept));
    two.news(10, News::Recalled(last));
    two.began = two.catalog().revision();
    two.lines = one.stored();
    two.lines.push(Line::start(two.began, at(10), at(10)));
    assert_eq!(two.at(first).unwrap(), "a1");
    assert_eq!(two.at(last).unwrap(), "a1 z1");
    assert_eq!(two.at(two.began).unwrap(), "a1~ b1~ z1~");
}

#[test]
fn revisions_go_on_above_those_that_were_stored() {
    let mut one = Process::first(1_000);
    let last = one.news(1_001, put("a", "1")).revision;
    // The clock was set back.
    let two = one.next(&[("a", "1")], 10);
    assert!(two.catalog().revision() > last);
    assert_eq!(two.at(last).unwrap(), "a1");
}

#[test]
fn times_before_the_restart_are_known() {
    let mut one = Process::first(0);
    let first = one.news(1, put("a", "1")).revision;
    let second = one.news(5, put("a", "2")).revision;
    let two = one.next(&[("a", "2")], 10);
    let past = two.past();
    let revision_at = |seconds| past.revision_at(at(seconds)).unwrap();
    assert_eq!(revision_at(1), Some(first));
    assert_eq!(revision_at(4), Some(first));
    assert_eq!(revision_at(9), Some(second));
    assert!(revision_at(11) > Some(second));
    assert_eq!(past.revision_at(Timestamp::from_millis(1)), Ok(None));
}

#[test]
fn what_was_while_a_successor_took_over_is_told_to_be_unknown() {
    let mut one = Process::first(0);
    let first = one.news(1, put("a", "1")).revision;
    let last = one.news(12, put("a", "2")).revision;
    let lines = one.stored();
    // Its store is closed: who follows this process sees what no history has.
    let unseen = one.news(13, put("b", "1")).revision;
    // Its successor began while it was at work, and is ready later.
    let mut two = Process::first(10);
    two.news(14, News::Remembered(vec![instance("a", "2")]));
    two.news(15, News::Recalled(last));
    two.began = two.catalog().revision();
    two.lines = lines;
    two.lines.push(Line::start(two.began, at(10), at(15)));
    let third = two.news(16, put("c", "1")).revision;

    let past = two.past();
    let gap = Gap {
        after: last,
        until: two.began,
    };
    assert_eq!(past.gap_at(unseen), Some(gap));
    for known in [first, last, two.began, third] {
        assert_eq!(past.gap_at(known), None);
    }
    assert_eq!(past.revision_at(at(11)), Ok(Some(first)));
    for seconds in [12, 13, 14] {
        assert_eq!(past.revision_at(at(seconds)), Err(gap));
    }
    assert_eq!(past.revision_at(at(15)), Ok(Some(two.began)));
    assert_eq!(past.gaps_between(first, third), [gap]);
    assert_eq!(past.gaps_between(last, two.began), [gap]);
    assert_eq!(past.gaps_between(two.began, third), []);
    assert_eq!(past.gaps_between(first, last), []);
}

#[test]
fn where_lines_of_earlier_versions_began_is_known() {
    let mut one = Process::first(0);
    let first = one.news(1, put("a", "1")).revision;
    let mut two = one.next(&[("a", "1")], 10);
    for line in &mut two.lines {
        if line.text.starts_with(b"{\"begun\"") {
            line.text = b"\"start\"".to_vec();
        }
    }
    assert_eq!(two.at(first).unwrap(), "a1");
    assert_eq!(two.past().revision_at(at(9)), Ok(Some(first)));
}

#[test]
fn what_is_in_memory_after_a_gap_is_stored() {
    let mut one = Process::first(0);
    let first = one.news(1, put("a", "1")).revision;
    for number in 0..=JOURNAL_ENTRIES_MAX {
        let seconds = 10 + number as u64;
        one.news(seconds, put("b", &number.to_string()));
    }
    let (catalog, past) = (one.catalog(), one.past());
    let oldest = catalog.journal().oldest();
    assert!(oldest > first);
    assert_eq!((past.oldest(), past.newest()), (oldest, catalog.revision()));
    assert_eq!(past.revision_at(at(10)), Ok(Some(oldest)), "b0");
    assert_eq!(past.revision_at(at(9)), Ok(None));
    let mut two = one.next(&[("a", "1"), ("b", "2048")], 10_000);
    two.lines = one.stored();
    two.lines
        .push(Line::start(two.began, at(10_000), at(10_000)));
    assert_eq!(two.at(oldest).unwrap(), "a1 b0");
    assert!(two.at(first).is_err());
}

#[test]
fn what_was_said_before_the_restart_is_told() {
    let mut one = Process::first(0);
    let first = one.news(1, put("a", "1")).revision;
    let second = one.news(5, put("b", "1")).revision;
    let mut two = one.next(&[("a", "1"), ("b", "1")], 10);
    let third = two.news(11, put("c", "1")).revision;
    let catalog = two.catalog();
    let past = two.past();
    let told = catalog.journal().told_since(first, Some(&past)).unwrap();
    assert_eq!(told.first().map(|event| event.revision), Some(second));
    assert_eq!(told.last().map(|event| event.revision), Some(third));
    assert!(told.is_sorted_by_key(|event| event.revision));
    let own = catalog.journal().since(first);
    assert!(
        own.is_err(),
        "watches of this process do not resume from it"
    );
    let told = catalog.journal().told_since(Revision::FIRST, Some(&past));
    assert!(told.is_err());
}

#[test]
fn a_gap_forgets_what_was_before_it() {
    let mut one = Process::first(0);
    let first = one.news(1, put("a", "1")).revision;
    let second = one.news(2, put("b", "1")).revision;
    let mut lines = one.stored();
    let after = Revision::from_u64(second.as_u64() + 1);
    lines.push(Line::gap(after, at(3)));
    let past = Past::read(&lines).0.unwrap();
    assert_eq!((past.oldest(), past.newest()), (after, after));
    let mut two = Process::first(10);
    two.news(10, News::Remembered(vec![instance("a", "1")]));
    two.news(10, News::Recalled(past.newest()));
    lines.push(Line::start(two.catalog().revision(), at(10), at(10)));
    two.lines = lines;
    two.began = two.catalog().revision();
    assert_eq!(two.at(after).unwrap(), "a1");
    for forgotten in [first, second] {
        assert!(two.at(forgotten).is_err());
    }
}

#[test]
fn a_line_that_is_none_of_ours_forgets_what_was_before_it() {
    let mut one = Process::first(0);
    one.news(1, put("a", "1"));
    let second = one.news(2, put("a", "2")).revision;
    for text in [&b""[..], b"{", b"\"begin\"", b"{\"step\":{\"undo\":7}}"] {
        let mut lines = one.stored();
        lines[1].text = text.to_vec();
        let bad = lines[1].revision;
        let (past, told) = Past::read(&lines);
        let (past, told) = (past.unwrap(), told.unwrap().to_string());
        assert!(told.contains(&bad.to_string()), "{told}");
        assert_eq!((past.oldest(), past.newest()), (bad, second));
    }
    let (past, bad) = Past::read(&[]);
    assert!(past.is_none() && bad.is_none());
}

/// An entry in which so many instances become stale, or in which they come.
fn mass(count: usize, is_outage: bool) -> Entry {
    let known = instance("a", &"v".repeat(200));
    let mut lost = Instance::clone(&known);
    lost.state.stale = true;
    let lost = Arc::new(lost);
    let undo = (0..count).map(|number| Undo {
        key: key(),
        id: InstanceId::parse(&format!("instance-{number}")).unwrap(),
        before: Some(Arc::clone(&known)),
        after: is_outage.then(|| Arc::clone(&lost)),
    });
    Entry {
        revision: Revision::from_u64(9),
        at: at(9),
        events: Vec::new(),
        undo: undo.collect(),
    }
}

#[test]
fn an_outage_is_a_short_line() {
    let line = Line::of(&mass(10_000, true));
    assert!(line.text.len() < 1 << 20, "{}", line.text.len());
    let past = Past::read(&[Line::start(Revision::from_u64(1), at(0), at(0)), line]).0;
    assert_eq!(past.unwrap().oldest(), Revision::from_u64(1));
}

#[test]
fn a_line_is_a_gap_one_past_its_limit() {
    let mut entry = mass(1, false);
    let start = Line::of(&entry).text.len();
    entry.undo.extend(mass(1, false).undo);
    let each = Line::of(&entry).text.len() - start;
    let most = (LINE_BYTES_MAX - start) / each;
    let of = |count| Line::of(&mass(count, false));
    let large = of(most * 9 / 10);
    assert!(large.text.len() <= LINE_BYTES_MAX && large != Line::gap(large.revision, large.at));
    let too_large = of(most * 11 / 10);
    assert_eq!(too_large, Line::gap(too_large.revision, too_large.at));
}

#[test]
fn what_was_said_is_left_out_before_how_to_undo_it() {
    let mut entry = mass(10, true);
    entry.events.push(Event {
        revision: entry.revision,
        at: entry.at,
        origin: portolan_model::Origin {
            source: SourceId::new("file:edge"),
            actor: None,
        },
        change: Change::Stale {
            reason: "x".repeat(LINE_BYTES_MAX).into(),
        },
    });
    let line = Line::of(&entry);
    assert!(line.text.len() < 10_000);
    let past = Past::read(&[Line::start(Revision::from_u64(1), at(0), at(0)), line]).0;
    let past = past.unwrap();
    assert_eq!(past.oldest(), Revision::from_u64(1));
    assert_eq!(past.told_from(), entry.revision);
}
