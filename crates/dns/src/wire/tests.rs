//! Any bytes are read or refused, and whatever is read has its parts within the message.

use proptest::prelude::*;

use super::{Bad, Query, query::HEADER_BYTES};

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut query = Query::new();
        let _read = query.read(&bytes);
        prop_assert!(query.question_end >= HEADER_BYTES);
    }

    #[test]
    fn a_question_ends_within_its_message(
        labels in prop::collection::vec("[a-zA-Z0-9_-]{1,63}", 0..4),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in &labels {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
        let end = bytes.len();
        bytes.extend_from_slice(&tail);
        let mut query = Query::new();
        let read = query.read(&bytes);
        prop_assert!(read != Err(Bad::Silent));
        prop_assert_eq!(query.question_end, end);
        prop_assert_eq!(query.name.labels(), labels.len());
    }
}
