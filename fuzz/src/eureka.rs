//! Documents of Eureka's protocol.

use portolan_dialects::eureka::{
    Application, Format, InstanceInfo, Place, Unreadable, application_piece, describe,
    read_application, read_applications, read_batch, read_instance, read_replicated, show,
    write_application, write_applications, write_instance, write_replicated,
};
use portolan_model::SourceId;

/// Any document is read or refused, in both formats and in each of its meanings. What was
/// read stays the same however often it is written and read again, and comes back from the
/// model as it went in.
///
/// # Panics
/// When it does not hold for `input`.
pub fn eureka(input: &[u8]) {
    if let Ok(path) = std::str::from_utf8(input)
        && let Some(place) = Place::parse(path)
    {
        assert!(!place.methods().is_empty());
    }
    for format in Format::ALL {
        if let Ok(info) = read_instance(format, input) {
            instance(format, info);
        }
        if let Ok(application) = read_application(format, input) {
            let write = |application: &Application| {
                write_application(format, &application.name, &application.instances)
            };
            settled(application, write, |bytes| read_application(format, bytes));
        }
        if let Ok(read) = read_applications(format, input) {
            let pieces: Vec<_> = read
                .applications
                .iter()
                .map(|found| application_piece(format, &found.name, &found.instances))
                .collect();
            let pieces = pieces.iter().map(Vec::as_slice);
            let bytes = write_applications(format, &read.hash, pieces);
            let again = read_applications(format, &bytes).expect("what we write we read");
            assert_eq!(again.applications.len(), read.applications.len());
        }
        if let Ok(batch) = read_batch(format, input) {
            for info in batch.into_iter().filter_map(|item| item.info) {
                instance(format, info);
            }
        }
        if let Ok(answers) = read_replicated(format, input) {
            settled(
                answers,
                |answers| write_replicated(format, answers),
                |bytes| read_replicated(format, bytes),
            );
        }
    }
}

fn instance(format: Format, info: InstanceInfo) {
    let source = SourceId::new("registry");
    if let Ok(described) = describe(&info, &source) {
        let instance = described.instance;
        let again = describe(&show(&instance), &source).expect("what is shown can be registered");
        assert_eq!(again.instance.endpoints, instance.endpoints);
        assert_eq!(again.instance.key, instance.key);
        assert_eq!(again.instance.id, instance.id);
    }
    settled(
        info,
        |info| write_instance(format, info),
        |bytes| read_instance(format, bytes),
    );
}

/// The first reading puts in what was left out, and the first writing what can't be written;
/// after that nothing changes.
fn settled<T: PartialEq + std::fmt::Debug>(
    first: T,
    write: impl Fn(&T) -> Vec<u8>,
    read: impl Fn(&[u8]) -> Result<T, Unreadable>,
) {
    let second = read(&write(&first)).expect("what we write we read");
    let third = read(&write(&second)).expect("what we write we read");
    assert_eq!(second, third);
}
