//! Claims about every row of the shelf.

use super::KINDS;

#[test]
fn kinds_have_names_of_their_own() {
    let mut names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KINDS.len());
}

#[test]
fn every_example_is_accepted_and_every_bad_example_is_refused() {
    for kind in KINDS {
        let read = |text: &str| (kind.parse)(&crate::file::json_of(text));
        assert!(
            read(kind.example).is_ok(),
            "{}: {:?}",
            kind.name,
            read(kind.example)
        );
        let problems = read(kind.bad_example).unwrap_err();
        assert!(problems.len() > 1, "{}: {problems:?}", kind.name);
    }
}

#[test]
fn every_schema_describes_every_field() {
    for kind in KINDS {
        let schema = (kind.schema)();
        let fields = schema["properties"].as_object().unwrap();
        assert!(
            fields
                .values()
                .all(|field| field["description"].is_string()),
            "{}",
            kind.name
        );
        assert_eq!(schema["additionalProperties"], false, "{}", kind.name);
    }
}
