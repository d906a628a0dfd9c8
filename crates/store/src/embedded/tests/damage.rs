//! Files that are not as they were written, and processes that are killed.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use portolan_runtime::{Dice, Env};
use portolan_testkit::Scratch;

use super::{fact, line, put};
use crate::{
    Embedded, Facts, Loaded, Settings, Start, StoreError,
    embedded::disk::{Disk, FileDisk},
};

const FLIPS: u32 = 400;

/// The name by which the child finds the file.
const CHILD: &str = "PORTOLAN_STORE_CHILD";

fn open(path: &Path) -> Result<(Embedded, Start), StoreError> {
    Embedded::open(&Env::virtual_time(1), Settings::of(path))
}

async fn loaded(path: &Path) -> Result<Loaded, StoreError> {
    let (store, _) = open(path)?;
    let loaded = store.load().await;
    store.close().await;
    loaded
}

/// A closed store of some commits.
async fn filled(scratch: &Scratch) -> (PathBuf, Loaded) {
    let path = scratch.path().join("store");
    let (store, _) = open(&path).unwrap();
    for number in 0..40 {
        let mut batch = put(&format!("i{number}"), "v");
        batch.put(fact(&format!("j{number}")), vec![b'v'; 700]);
        batch.write(line(number + 2, 1));
        store.commit(batch).await.unwrap();
    }
    let loaded = store.load().await.unwrap();
    store.close().await;
    (path, loaded)
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_refused_or_complete() {
    let scratch = Scratch::new();
    let (path, whole) = filled(&scratch).await;
    let intact = fs::read(&path).unwrap();
    let mut dice = Dice::new(7);
    let mut refused = 0;
    for _ in 0..FLIPS {
        let mut bytes = intact.clone();
        let length = u32::try_from(bytes.len()).unwrap();
        // The header is a small part of the file, and the most interesting one.
        let place = if dice.u32_below(4) == 0 {
            dice.u32_below(320)
        } else {
            dice.u32_below(length)
        };
        bytes[place as usize] ^= 1 << dice.u32_below(8);
        fs::write(&path, &bytes).unwrap();
        match loaded(&path).await {
            Ok(found) => assert!(found == whole, "a flipped bit at {place} lost something"),
            Err(StoreError::Damaged { path: named, .. }) => {
                assert_eq!(named, path);
                refused += 1;
            }
            Err(error) => panic!("{place}: {error}"),
        }
    }
    assert!(refused > FLIPS / 10, "{refused} of {FLIPS} were refused");
}

/// After a kill the last commit can't be told from one that was under way: if it is damaged it
/// is dropped, and the start says which revision was reached.
#[tokio::test(start_paused = true)]
async fn a_damaged_file_of_a_killed_writer_loses_at_most_its_last_commit() {
    let scratch = Scratch::new();
    let path = scratch.path().join("store");
    let (store, _) = open(&path).unwrap();
    let (mut states, mut bytes) = (Vec::new(), Vec::new());
    for number in 0..30 {
        let mut batch = put(&format!("i{number}"), "v");
        batch.write(line(number + 2, 1));
        store.commit(batch).await.unwrap();
        states.push(store.load().await.unwrap());
        bytes = fs::read(&path).unwrap();
    }
    store.close().await;
    let (Some(whole), Some(before)) = (states.pop(), states.pop()) else {
        panic!("there are 30 states");
    };
    let mut dice = Dice::new(8);
    let mut counts = [0; 3];
    for _ in 0..FLIPS {
        let mut damaged = bytes.clone();
        let place = dice.u32_below(u32::try_from(bytes.len()).unwrap()) as usize;
        damaged[place] ^= 1 << dice.u32_below(8);
        fs::write(&path, &damaged).unwrap();
        let (store, start) = match open(&path) {
            Ok(opened) => opened,
            Err(error) => {
                assert!(
                    matches!(error, StoreError::Damaged { .. }),
                    "{place}: {error}"
                );
                counts[0] += 1;
                continue;
            }
        };
        let found = store.load().await.unwrap();
        store.close().await;
        let revision = found.revision;
        assert!(
            start == Start::Recovered { revision } || start == Start::Clean,
            "{start:?}"
        );
        assert!(found == whole || found == before, "{place}: {revision}");
        counts[1 + usize::from(found == before)] += 1;
    }
    let [refused, whole, dropped] = counts;
    assert!(refused > 0 && whole > 0 && dropped > 0, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_cut_short_is_refused() {
    let scratch = Scratch::new();
    let (path, _) = filled(&scratch).await;
    let intact = fs::read(&path).unwrap();
    for length in [1, 9, 100, 4096, intact.len() / 2, intact.len() - 4096] {
        fs::write(&path, &intact[..length]).unwrap();
        let error = loaded(&path).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{length}: {error}"
        );
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(
            text.contains("portolan restore") && text.contains("start empty"),
            "{text}"
        );
    }
}

#[test]
fn an_empty_file_is_a_new_store() {
    let scratch = Scratch::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        assert_eq!(open(&scratch.write("store", "")).unwrap().1, Start::New);
    });
}

/// Runs only when another test starts it: commits facts and says which were answered, until it
/// is killed.
#[test]
#[expect(clippy::disallowed_methods, reason = "a child is told its file so")]
fn child_that_commits_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (store, _) = Embedded::open(&Env::system(), Settings::of(path)).unwrap();
        for number in 0_u64.. {
            store.commit(put(&format!("i{number}"), "v")).await.unwrap();
            let mut output = std::io::stdout().lock();
            writeln!(output, "answered {number}").unwrap();
            output.flush().unwrap();
        }
    });
}

#[test]
fn what_was_answered_survives_a_kill() {
    let scratch = Scratch::new();
    let path = scratch.path().join("store");
    let mut answered = 0;
    for round in 1..=5_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_commits_until_it_is_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            let Some((_, number)) = line.split_once("answered ") else {
                continue;
            };
            let number: u64 = number.parse().unwrap();
            answered = answered.max(number + 1);
            if number == round * 20 {
                // SIGKILL, while the next commit is under way.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (store, start) = open(&path).unwrap();
            assert!(matches!(start, Start::Recovered { .. }), "{start:?}");
            let facts = store.load().await.unwrap().facts;
            for number in 0..answered {
                let wanted = fact(&format!("i{number}"));
                assert!(
                    facts.iter().any(|(key, _)| *key == wanted),
                    "i{number} is lost"
                );
            }
            store.close().await;
        });
    }
}

#[test]
fn a_file_that_goes_while_it_is_in_use_is_not_made_anew() {
    let scratch = Scratch::new();
    let path = scratch.path().join("store");
    let settings = Settings::of(&path);
    let mut disk = FileDisk::new(path.clone(), settings.cache);
    drop(disk.open().unwrap());
    fs::remove_file(&path).unwrap();
    assert!(disk.open().is_err());
    assert!(!path.exists());
}
