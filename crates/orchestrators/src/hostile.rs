//! Objects that nobody would write, for tests: JSON in which the words of the outside stand in
//! odd places.

use proptest::{
    collection::{btree_map, vec},
    prelude::{Just, Strategy, any},
    prop_oneof,
    sample::select,
};
use serde_json::Value;

/// Any JSON whose keys and texts are often of these words.
pub(crate) fn json_of(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let word = prop_oneof![select(words).prop_map(str::to_owned), "[ -~]{0,8}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(word.clone(), inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}
