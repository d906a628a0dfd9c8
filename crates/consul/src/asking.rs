//! Asking the ledger, and what it refuses in Consul's words.

use portolan_dialects::consul::{Parameters, Refusal, blocking::Verdict};
use portolan_ledger::{Answer, Input, LedgerError, Output, Query, Refusal as Refused};
use portolan_model::Revision;
use portolan_store::StoreError;

use super::Parts;

/// Does something, and answers when it would survive a restart.
pub(super) async fn step(parts: &Parts, input: Input) -> Result<Answer, Refusal> {
    match parts.ledger.step(input).await {
        Ok(Answer::Refused(refused)) => Err(refusal(&refused)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(failed(&error)),
    }
}

/// Does something on a condition; whether it held.
pub(super) async fn done(parts: &Parts, input: Input) -> Result<bool, Refusal> {
    match step(parts, input).await? {
        Answer::Done(held) => Ok(held),
        Answer::Session(_) | Answer::Txn(_) | Answer::Refused(_) => Ok(false),
    }
}

/// What is there now, and its index.
pub(super) async fn look(parts: &Parts, query: Query) -> Result<(Output, Revision), Refusal> {
    let found = parts.ledger.look(query).await;
    found.map_err(|error| failed(&error))
}

/// What is there, once it is another than the client has seen.
pub(super) async fn look_when_news(
    parts: &Parts,
    parameters: &Parameters,
    query: Query,
) -> Result<(Output, u64), Refusal> {
    let (output, index) = look(parts, query.clone()).await?;
    let blocking = parameters.blocking;
    if blocking.verdict(index.as_u64()) == Verdict::Answer {
        return Ok((output, index.as_u64()));
    }
    let patience = blocking.patience(parts.env.dice().unit_f64());
    let mut drain = parts.drain.clone();
    tokio::select! {
        biased;
        // Whatever is news is not for whoever may see something else now.
        () = parts.permit.outdated(&parts.access) => Ok((output, index.as_u64())),
        news = parts.ledger.wait(query, index) => {
            let (output, index) = news.map_err(|error| failed(&error))?;
            Ok((output, index.as_u64()))
        }
        () = drain.draining() => Ok((output, index.as_u64())),
        () = parts.env.sleep(patience) => Ok((output, index.as_u64())),
    }
}

/// A ledger that can't answer, as a client is told.
pub(super) fn failed(error: &LedgerError) -> Refusal {
    let (status, text) = match error {
        LedgerError::TooManyWaiters(_) | LedgerError::Closed | LedgerError::Stopped => {
            (503, error.to_string())
        }
        LedgerError::Store(source @ (StoreError::Busy { .. } | StoreError::Closed)) => {
            (503, format!("{error}: {source}"))
        }
        LedgerError::Store(source) => (500, format!("{error}: {source}")),
        LedgerError::Record(source) => (500, format!("{error}: {source}")),
    };
    Refusal::new(status, text)
}

/// What the rules refuse: Consul says most of it with 500.
pub(super) fn refusal(refused: &Refused) -> Refusal {
    let status = match refused {
        Refused::NoKey | Refused::KeyTooLong(_) => 400,
        Refused::ValueTooLarge(_)
        | Refused::TooManyOperations(_)
        | Refused::TxnTooLarge(_)
        | Refused::ObjectTooLarge(_) => 413,
        Refused::NoSession(_)
        | Refused::SessionExists(_)
        | Refused::TooManySessions(_)
        | Refused::TooManyObjects(_)
        | Refused::Full
        | Refused::StaleIndex(_)
        | Refused::StaleDelete(_)
        | Refused::LockHeld(_)
        | Refused::LockNotHeld(_)
        | Refused::NoSuchKey(_)
        | Refused::KeyExists(_)
        | Refused::Unexpected(_)
        | Refused::AliasTaken(_)
        | Refused::AliasIsId(_) => 500,
    };
    Refusal::new(status, refused.to_string())
}
