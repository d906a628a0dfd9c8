//! Answers that others know, and answers for those who are no workers.

use std::net::IpAddr;

use bytes::Bytes;

use super::{Asked, Engine, Hand, Outcome, Reply, SILENT_RECORDS, Task};
use crate::{
    Peer,
    answer::{Pen, Subject, resolve},
    wire::{Closing, Code, Message},
    zone::{Member, Members},
};

impl Engine {
    /// Answers for those who are no workers, whatever it takes.
    pub(crate) async fn answer_owned(
        &self,
        message: Bytes,
        peer: Peer,
        local: IpAddr,
    ) -> Option<Bytes> {
        let mut answer = None;
        let reply = self.answer_now(&message, peer, local, |written| {
            answer = Some(Bytes::copy_from_slice(written));
        });
        match reply {
            Reply::Later(task) => self.later(task, message, peer, local).await,
            Reply::Done => answer,
        }
    }

    /// Answers for those who are no workers, as far as the table knows.
    pub(crate) fn answer_now(
        &self,
        message: &[u8],
        peer: Peer,
        local: IpAddr,
        put: impl FnOnce(&[u8]),
    ) -> Reply {
        let mut hand = self.spare();
        let began = self.env.instant();
        let asked = Asked {
            message,
            peer,
            local: local.to_canonical(),
            now: began,
        };
        let outcome = self.answer(&mut hand, asked);
        if matches!(outcome, Outcome::Now) {
            let took = self.env.instant().saturating_duration_since(began);
            hand.counters.took(took, 1);
            put(&hand.out);
        }
        self.put_back(hand);
        match outcome {
            Outcome::Later(task) => Reply::Later(task),
            Outcome::Now | Outcome::Silent => Reply::Done,
        }
    }

    /// Answers what others know, and counts it with how long they took.
    pub(crate) async fn later(
        &self,
        task: Task,
        message: Bytes,
        peer: Peer,
        local: IpAddr,
    ) -> Option<Bytes> {
        let began = self.env.instant();
        let answer = self.ask_others(task, message.clone(), peer, local).await?;
        let mut hand = self.spare();
        hand.answered(&message, &answer);
        let took = self.env.instant().saturating_duration_since(began);
        hand.counters.took(took, 1);
        self.put_back(hand);
        Some(answer)
    }

    async fn ask_others(
        &self,
        task: Task,
        message: Bytes,
        peer: Peer,
        local: IpAddr,
    ) -> Option<Bytes> {
        let others = self.others.load_full();
        match task {
            Task::Beyond => {
                let beyond = others.beyond.as_ref()?;
                let answer = beyond.answer(message.clone(), peer).await?;
                Some(self.with_cookie(answer, &message, peer))
            }
            Task::Update => others.updates.as_ref()?.update(message, peer).await,
            Task::Node(name) => {
                let node = others.directory.as_ref()?.node(&name).await;
                self.settle((message, peer, local), |pen| match &node {
                    Ok(Some(node)) => pen.write_node(node),
                    Err(_) => Code::ServFail,
                    Ok(None) => pen.write(&Subject::Nothing),
                })
            }
            Task::Query(name, client) => {
                let directory = others.directory.as_ref()?;
                let found = directory.query(&name, client).await;
                self.settle((message, peer, local), |pen| match &found {
                    Err(_) => Code::ServFail,
                    Ok(Some(found)) => {
                        let members = found.instances.iter().map(|(address, weight)| {
                            let ip = address.ip().to_canonical();
                            Member::new(ip, address.port(), *weight)
                        });
                        let ttl = found.ttl.unwrap_or(pen.place.settings.address_ttl());
                        pen.write_members(&Members::new(members.collect()), ttl)
                    }
                    Ok(None) => pen.write(&Subject::Nothing),
                })
            }
        }
    }

    /// Writes the answer to a query that was read before.
    fn settle(
        &self,
        (message, peer, local): (Bytes, Peer, IpAddr),
        write: impl FnOnce(&mut Pen<'_, '_>) -> Code,
    ) -> Option<Bytes> {
        let mut hand = self.spare();
        self.refresh(&mut hand);
        let answer = self.settled(&mut hand, (&message, peer, local), write);
        self.put_back(hand);
        answer
    }

    fn settled(
        &self,
        hand: &mut Hand,
        (message, peer, local): (&Bytes, Peer, IpAddr),
        write: impl FnOnce(&mut Pen<'_, '_>) -> Code,
    ) -> Option<Bytes> {
        hand.query.read(message).ok()?;
        let asked = Asked {
            message,
            peer,
            local,
            now: self.env.instant(),
        };
        let (limit, is_silent) = (hand.limit(peer), hand.is_silent(peer));
        let (zone, place, _) = resolve(&hand.query.name, &hand.table, &hand.settings)?;
        let mut pen = Pen {
            query: &hand.query,
            zone,
            place,
            local,
            near: None,
            records_max: if is_silent {
                SILENT_RECORDS
            } else {
                usize::MAX
            },
            message: Message::new(&mut hand.out, message, &hand.query, limit),
            order: &mut hand.order,
            targets: &mut hand.targets,
        };
        let code = write(&mut pen);
        let message = pen.message;
        let closing = self.closing((&hand.query, &hand.settings, &hand.others), &asked);
        let closing = Closing {
            code: code.number(),
            is_authoritative: code != Code::ServFail,
            // Whoever answered may have looked at all of it.
            subnet: closing.subnet.map(|(subnet, _)| (subnet, subnet.prefix)),
            ..closing
        };
        message.finish(&hand.query, &closing, is_silent);
        Some(Bytes::copy_from_slice(&hand.out))
    }
}
