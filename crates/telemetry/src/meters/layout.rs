//! Where in a row's cells each number stands.

use portolan_model::Cause;

use super::histogram;

/// Classes of status: none sent, 1xx, 2xx, 3xx, 4xx, 5xx.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// How many causes there are.
pub(super) const CAUSES: usize = Cause::ALL.len();

/// First cell of the requests by class.
pub(super) const CLASS: usize = 0;
/// First cell of the requests by cause, in the order of [`Cause::ALL`].
pub(super) const CAUSE: usize = CLASS + CLASSES.len();
/// First cell of the histogram of whole requests.
pub(super) const TOTAL: usize = CAUSE + CAUSES;
/// First cell of the histogram of first bytes.
pub(super) const FIRST_BYTE: usize = TOTAL + histogram::CELLS;
/// Bytes received.
pub(super) const RECEIVED: usize = FIRST_BYTE + histogram::CELLS;
/// Bytes sent.
pub(super) const SENT: usize = RECEIVED + 1;
/// Tries after the first.
pub(super) const RETRIES: usize = SENT + 1;
/// Cells of a row.
pub(super) const WIDTH: usize = RETRIES + 1;

/// The numbers of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Totals(pub(super) [u64; WIDTH]);

impl Default for Totals {
    fn default() -> Self {
        Self([0; WIDTH])
    }
}

impl Totals {
    /// What was counted since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let mut delta = self.clone();
        for (cell, before) in delta.0.iter_mut().zip(before.0) {
            *cell = cell.wrapping_sub(before);
        }
        delta
    }

    /// How many requests ended.
    pub(super) fn requests(&self) -> u64 {
        self.0[CLASS..CAUSE].iter().sum()
    }
}
