//! Names in order that share what did not change with earlier versions.
//!
//! Pieces of a list behind shared pointers: a change copies the pointers and one piece.
//!
//! Invariant: no piece is empty, and all names of one come before those of the next.

use std::sync::Arc;

use portolan_model::Name;

/// Most names of a piece.
const PIECE: usize = 128;

/// Names in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Vec<Arc<Vec<Name>>>);

impl Names {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().flat_map(|piece| piece.iter())
    }

    pub(super) fn insert(&mut self, name: &Name) {
        let at = self.piece(name);
        let Some(piece) = self.0.get_mut(at).map(Arc::make_mut) else {
            self.0.push(Arc::new(vec![name.clone()]));
            return;
        };
        if let Err(place) = piece.binary_search(name) {
            piece.insert(place, name.clone());
        }
        if piece.len() > PIECE {
            let rest = piece.split_off(PIECE / 2);
            self.0.insert(at.saturating_add(1), Arc::new(rest));
        }
    }

    pub(super) fn remove(&mut self, name: &Name) {
        let at = self.piece(name);
        let Some(piece) = self.0.get_mut(at).map(Arc::make_mut) else {
            return;
        };
        if let Ok(place) = piece.binary_search(name) {
            piece.remove(place);
        }
        if piece.is_empty() {
            self.0.remove(at);
        }
    }

    /// The piece where a name is if it is anywhere.
    fn piece(&self, name: &Name) -> usize {
        let after = self.0.partition_point(|piece| piece.first() <= Some(name));
        after.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u32) -> Name {
        Name::parse(&format!("n{number:04}")).unwrap()
    }

    #[test]
    fn names_stay_in_order_and_share_what_did_not_change() {
        let mut names = Names::default();
        // 7 and 1000 have no common factor: each number once.
        for number in (0..1000).map(|step| step * 7 % 1000) {
            names.insert(&name(number));
            names.insert(&name(number));
        }
        assert!(names.iter().cloned().eq((0..1000).map(name)));
        let before = names.clone();
        names.remove(&name(500));
        names.remove(&name(2000));
        let shared = before.0.iter().zip(&names.0);
        let copied = shared.filter(|(one, other)| !Arc::ptr_eq(one, other));
        // The last piece is where the one that is not there would be.
        assert!(copied.count() <= 2);
        assert_eq!((before.iter().count(), names.iter().count()), (1000, 999));
    }

    #[test]
    fn nothing_is_left_of_what_is_gone() {
        let mut names = Names::default();
        (0..300).for_each(|number| names.insert(&name(number)));
        (0..300).for_each(|number| names.remove(&name(number)));
        assert!(names.is_empty());
    }
}
