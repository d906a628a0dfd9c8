//! Backups, restores, and files of other formats.

use std::fs;

use portolan_runtime::Env;
use portolan_testkit::Scratch;
use redb::{Database, ReadableTable};

use super::{fact, key, line, put};
use crate::{
    Embedded, FORMAT_KNOWN, Facts, FormatVersion, Ledger, Operation, Settings, Start, StoreError,
    Transaction,
    embedded::{
        format::{Step, bring_up_by},
        tables::{FORMAT, META},
    },
    restore,
};

/// A store with two facts, a line of the journal and a record.
async fn filled(scratch: &Scratch, name: &str) -> Embedded {
    let settings = Settings::of(scratch.path().join(name));
    let (store, _) = Embedded::open(&Env::virtual_time(1), settings).unwrap();
    let mut batch = put("a", "1");
    batch.put(fact("b"), "2").write(line(70, 1));
    store.commit(batch).await.unwrap();
    let record = Transaction {
        operations: vec![Operation::Put(key("kv/a"), "v".into())],
        ..Transaction::default()
    };
    store.transact(vec![record]).await.unwrap();
    store
}

fn reopened(scratch: &Scratch, name: &str) -> (Embedded, Start) {
    let settings = Settings::of(scratch.path().join(name));
    Embedded::open(&Env::virtual_time(1), settings).unwrap()
}

/// Changes the version that a closed file says it has.
fn set_format(scratch: &Scratch, name: &str, version: u64) {
    let database = Database::open(scratch.path().join(name)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(META)
        .unwrap()
        .insert(FORMAT, version)
        .unwrap();
    transaction.commit().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_backup_of_a_running_store_is_restored_elsewhere() {
    let scratch = Scratch::new();
    let store = filled(&scratch, "store").await;
    let backup = scratch.path().join("backup");
    let before = store.load().await.unwrap();
    assert_eq!(store.backup(backup.clone()).await.unwrap(), before.revision);
    store.commit(put("late", "3")).await.unwrap();
    assert_eq!(store.load().await.unwrap().facts.len(), 3);

    let restored = restore(&backup, &scratch.path().join("other")).unwrap();
    assert_eq!((restored.facts, restored.records), (2, 1));
    assert_eq!(
        (restored.revision, restored.format),
        (before.revision, FORMAT_KNOWN)
    );
    assert_eq!(restored.set_aside, None);
    let (other, start) = reopened(&scratch, "other");
    assert_eq!(start, Start::Clean);
    assert_eq!(other.load().await.unwrap(), before);
    assert!(other.read(key("kv/a")).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_restore_sets_aside_what_it_replaces() {
    let scratch = Scratch::new();
    let store = filled(&scratch, "store").await;
    let (path, backup) = (scratch.path().join("store"), scratch.path().join("backup"));
    store.backup(backup.clone()).await.unwrap();
    store.commit(put("late", "3")).await.unwrap();
    let refused = restore(&backup, &path);
    assert!(matches!(refused, Err(StoreError::Locked { .. })), "it runs");
    assert_eq!(store.load().await.unwrap().facts.len(), 3);
    store.close().await;

    let first = restore(&backup, &path).unwrap().set_aside.unwrap();
    assert_eq!(
        reopened(&scratch, "store")
            .0
            .load()
            .await
            .unwrap()
            .facts
            .len(),
        2
    );
    assert!(first.ends_with("store.replaced-1"));
    let (old, _) = reopened(&scratch, "store.replaced-1");
    assert_eq!(old.load().await.unwrap().facts.len(), 3);
    fs::write(scratch.path().join("garbage"), "no database").unwrap();
    let second = restore(&backup, &scratch.path().join("garbage")).unwrap();
    assert!(
        second
            .set_aside
            .is_some_and(|path| path.ends_with("garbage.replaced-1"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_backup_replaces_a_backup_and_nothing_else() {
    let scratch = Scratch::new();
    let store = filled(&scratch, "store").await;
    let backup = scratch.path().join("backup");
    store.backup(backup.clone()).await.unwrap();
    store.backup(backup.clone()).await.unwrap();
    for taken in [
        scratch.path().join("store"),
        scratch.write("notes", "redundant"),
    ] {
        let before = fs::read(&taken).unwrap();
        let refused = store.backup(taken.clone()).await;
        assert!(matches!(refused, Err(StoreError::Exists { path }) if path == taken));
        assert_eq!(fs::read(&taken).unwrap(), before);
    }
    let missing = store.backup(scratch.path().join("no/such/folder")).await;
    assert!(matches!(missing, Err(StoreError::Io { .. })), "{missing:?}");
    let mut left: Vec<_> = fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["backup", "notes", "store"], "nothing is left beside");
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_is_none_is_refused() {
    let scratch = Scratch::new();
    let to = scratch.path().join("store");
    for (name, text) in [
        ("empty", ""),
        ("text", "no database at all"),
        ("magic", "redb"),
    ] {
        let from = scratch.write(name, text);
        let refused = restore(&from, &to);
        assert!(
            matches!(refused, Err(StoreError::Damaged { path, .. }) if path == from),
            "{name}"
        );
    }
    assert!(matches!(
        restore(&scratch.path().join("none"), &to),
        Err(StoreError::Io { .. })
    ));
    let foreign = scratch.path().join("foreign");
    let database = Database::create(&foreign).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("theirs");
    transaction.open_table(table).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(
        restore(&foreign, &to),
        Err(StoreError::Damaged { .. })
    ));
    let opened = Embedded::open(&Env::virtual_time(1), Settings::of(foreign));
    assert!(matches!(opened, Err(StoreError::Damaged { .. })));
    assert!(!to.exists());
    assert!(!scratch.path().join("store.restoring").exists());
}

#[tokio::test(start_paused = true)]
async fn a_file_of_a_newer_program_is_refused_unchanged() {
    let scratch = Scratch::new();
    filled(&scratch, "store").await.close().await;
    set_format(&scratch, "store", 2);
    let path = scratch.path().join("store");
    let opened = Embedded::open(&Env::virtual_time(1), Settings::of(path.clone()));
    let Err(StoreError::Newer { found, known, .. }) = opened else {
        panic!("{opened:?}");
    };
    assert_eq!((found, known), (FormatVersion::from_u64(2), FORMAT_KNOWN));
    let refused = restore(&path, &scratch.path().join("other"));
    assert!(matches!(refused, Err(StoreError::Newer { .. })));
    set_format(&scratch, "store", 1);
    let (store, _) = reopened(&scratch, "store");
    assert_eq!(store.load().await.unwrap().facts.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_older_backup_replaces_a_newer_file_and_the_other_way_round() {
    let scratch = Scratch::new();
    let store = filled(&scratch, "store").await;
    let backup = scratch.path().join("backup");
    store.backup(backup.clone()).await.unwrap();
    store.close().await;
    set_format(&scratch, "store", 2);
    let restored = restore(&backup, &scratch.path().join("store")).unwrap();
    assert_eq!(restored.format, FORMAT_KNOWN);
    assert_eq!(
        reopened(&scratch, "store")
            .0
            .load()
            .await
            .unwrap()
            .facts
            .len(),
        2
    );
}

/// There is only one format so far; the steps are made up, the way along them is real.
#[tokio::test(start_paused = true)]
async fn older_formats_are_brought_up_step_by_step() {
    let scratch = Scratch::new();
    filled(&scratch, "store").await.close().await;
    let path = scratch.path().join("store");
    let step = |from: u64| Step {
        from: FormatVersion::from_u64(from),
        run: |transaction| {
            let mut meta = transaction.open_table(META)?;
            let length = redb::ReadableTableMetadata::len(&meta)?;
            meta.insert(&*format!("step after {length}"), 0)?;
            Ok(())
        },
    };
    let version = FormatVersion::from_u64;
    let database = Database::open(&path).unwrap();
    let gap = bring_up_by(&[step(2)], version(3), &database, &path);
    assert!(
        matches!(gap, Err(StoreError::Damaged { .. })),
        "no way leads from 1 to 2"
    );
    let found = bring_up_by(&[step(1), step(2)], version(3), &database, &path);
    assert_eq!(found.unwrap(), version(1));
    let transaction = database.begin_write().unwrap();
    let meta = transaction.open_table(META).unwrap();
    assert!(meta.get("step after 2").unwrap().is_some());
    assert!(meta.get("step after 3").unwrap().is_some());
    assert_eq!(meta.get(FORMAT).unwrap().unwrap().value(), 3);
}
