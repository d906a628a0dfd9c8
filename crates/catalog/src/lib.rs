//! Folds the events of every source into one catalogue: source contract, guard, journal.
