//! Nodes and their checks on their way to the ledger, and back from it.

use portolan_ledger::{Answer, Input};

use super::{Clerk, Writing, begin};
use crate::{
    book::{ALIVE, Book},
    nodes::Stored,
    terms::{Fact, Holder, Others, Touched},
};

impl Clerk {
    /// Has the ledger keep what nodes are now.
    pub(super) fn keep(&self, book: &mut Book, facts: &[Fact]) -> Writing {
        book.count_facts();
        let alterations = facts.iter().map(|fact| fact.alteration(book));
        let input = Input::Alter(alterations.collect());
        let ledger = self.ledger.clone();
        begin(async move {
            match ledger.step(input).await? {
                Answer::Refused(refused) => Err(refused.into()),
                Answer::Done(_) | Answer::Session(_) | Answer::Txn(_) => Ok(()),
            }
        })
    }

    /// Shows nodes as the ledger has them, unless it was told of one since it was told so often.
    pub(crate) fn replace_nodes(
        &self,
        told: u64,
        stored: Stored,
        others: Others,
    ) -> Option<Vec<Writing>> {
        let mut book = self.book();
        if book.facts_told() != told {
            return None;
        }
        let touched = book.set_nodes(self.now(), stored, others);
        let mut writings = Vec::new();
        for touched in touched {
            // What it could name once, it can name again.
            writings.extend(self.tell_registry(&book, touched).ok().flatten());
        }
        self.touch_nodes(&mut book);
        Some(writings)
    }

    /// A node or one of its checks is different: whoever reads them looks again.
    pub(crate) fn touch_nodes(&self, book: &mut Book) {
        book.touch(self.catalog().revision().as_u64());
        self.nodes.send_replace(());
    }
}

/// What the ledger keeps of it: the checks that somebody registered.
pub(super) fn fact_of(touched: &Touched) -> Option<Fact> {
    let key = match touched {
        Touched::NodeCheck(key) => key.clone(),
        Touched::Gone(record) => match Holder::of(record) {
            Holder::NodeCheck(key) => key,
            Holder::Service(_) => return None,
        },
        Touched::Checks(_) | Touched::Node(_) | Touched::Kept(_) => return None,
    };
    (key.id != ALIVE).then_some(Fact::Check(key))
}
