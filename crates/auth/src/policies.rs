//! Policies, made, changed and taken back.

use portolan_model::Revision;
use portolan_store::Operation;

use crate::{
    book::{Book, POLICIES_MAX},
    keeping::{Access, Fault},
    record::{MANAGEMENT, Policy},
};

impl Access {
    /// Every policy, that which is always there first.
    #[must_use]
    pub fn policies(&self) -> Vec<(Policy, Revision)> {
        let book = self.book();
        let stored = book.policies.values();
        let stored = stored.map(|kept| (kept.record.clone(), kept.modified));
        std::iter::once((Book::management(), Revision::FIRST))
            .chain(stored)
            .collect()
    }

    /// Makes a policy, or changes one that is there.
    ///
    /// # Errors
    /// [`Fault`]; [`Fault::Record`] if its rules are none.
    pub async fn put_policy(&self, policy: Policy) -> Result<Revision, Fault> {
        policy.read_rules()?;
        if *policy.id == *MANAGEMENT.0 {
            return Err(Fault::Fixed(MANAGEMENT.1.into()));
        }
        let before = {
            let book = self.book();
            let is_other = |kept: &Policy| kept.name == policy.name && kept.id != policy.id;
            let mut all = book.policies.values().map(|kept| &kept.record);
            if *policy.name == *MANAGEMENT.1 || all.any(is_other) {
                return Err(Fault::Taken("policy"));
            }
            let before = book.policies.get(&policy.id);
            if before.is_none() && book.policies.len() >= POLICIES_MAX {
                return Err(Fault::TooMany(POLICIES_MAX));
            }
            before.map(|kept| kept.modified)
        };
        let stored = self.put(before, policy.key(), &policy).await?;
        self.try_change(|book| {
            // One that was taken back meanwhile stays so.
            if before.is_none() || book.policies.contains_key(&policy.id) {
                book.put_policy(policy, stored)
            } else {
                Ok(())
            }
        })?;
        Ok(stored)
    }

    /// Takes a policy back; tokens that name it are allowed what their others allow.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn remove_policy(&self, id: &str) -> Result<Revision, Fault> {
        if id == MANAGEMENT.0 {
            return Err(Fault::Fixed(MANAGEMENT.1.into()));
        }
        let mut found = None;
        self.change(|book| found = book.policies.remove(id));
        let kept = found.ok_or(Fault::Unknown("policy"))?;
        let operations = vec![Operation::Delete(kept.record.key())];
        self.commit(Vec::new(), operations).await
    }
}
