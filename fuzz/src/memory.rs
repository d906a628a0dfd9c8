//! What a program remembers of services for its next start.

use std::{fs, process, time::Duration};

use portolan_client::{Discovery, Source};

/// Any file is read or passed over: the program starts, and what was read can be called.
///
/// # Panics
/// When it does not hold for `input`.
pub fn memory(input: &[u8]) {
    let thread = std::thread::current().id();
    let name = format!("portolan-fuzz-{}-{thread:?}", process::id());
    let file = std::env::temp_dir().join(name);
    fs::write(&file, input).expect("there is a place for temporary files");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("there is a runtime");
    runtime.block_on(async {
        // Its only source is away.
        let source = Source::file(file.with_extension("none"));
        let started = Discovery::builder().source(source).remember(&file).start();
        let discovery = started.expect("a file that is damaged stops nobody");
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        for key in discovery.services() {
            let name = format!("{}/{}", key.namespace, key.name);
            let service = discovery.service(&name).expect("a name that was known");
            let known = service.known();
            assert!(!known.is_empty(), "{name} is known for its instances");
            assert!(known.iter().all(|one| one.state.stale), "nobody spoke yet");
            if let Ok(picked) = service.pick() {
                assert!(known.iter().any(|one| one.id == picked.instance().id));
            }
        }
        drop(discovery);
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    let _gone = fs::remove_file(&file);
}
