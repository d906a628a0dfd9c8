//! Reads services, nodes and data, many at a time.

use portolan_sources::frame::{Ended, Unfit};

use super::{
    dirty::Place,
    jute::{self, Ask, Malformed, Refusal},
    map,
    session::{Answer, Session, SessionError},
    watch::Zookeeper,
};
use crate::held::Made;

/// A node that was read.
pub(super) struct Node {
    pub(super) made: Made,
    /// It stays when the session of its maker ends, as far as is known.
    pub(super) stays: bool,
}

impl Zookeeper {
    pub(super) async fn names_of_services(
        &self,
        session: &mut Session,
    ) -> Result<Vec<String>, Ended> {
        let base = self.settings.tree.base();
        loop {
            let answer = session.ask(Ask::Children(base, self.single)).await;
            match answer.map_err(|error| Ended::by(&error))? {
                Ok(body) => return jute::children(body).map_err(malformed),
                Err(Refusal::NoNode) if !self.single => return Ok(Vec::new()),
                Err(Refusal::NoNode) => {}
                Err(refusal) => return Err(refused(base, refusal)),
            }
            // To hear of it when somebody makes it.
            let answer = session.ask(Ask::Exists(base)).await;
            match answer.map_err(|error| Ended::by(&error))? {
                // Somebody made it just now.
                Ok(_) => {}
                Err(Refusal::NoNode) => return Ok(Vec::new()),
                Err(refusal) => return Err(refused(base, refusal)),
            }
        }
    }

    /// The services of these that are there, and the nodes of their instances.
    pub(super) async fn nodes_of(
        &self,
        session: &mut Session,
        services: Vec<String>,
    ) -> Result<(Vec<String>, Vec<Place>), Ended> {
        let mut nodes = Vec::new();
        let mut known = Vec::new();
        let mut rest = services;
        while !rest.is_empty() {
            let paths: Vec<_> = rest
                .iter()
                .map(|name| self.settings.tree.service(name))
                .collect();
            let asks = paths.iter().map(|path| Ask::Children(path, self.single));
            let answers = ask_all(session, asks).await?;
            let mut missing = Vec::new();
            for ((service, path), answer) in rest.into_iter().zip(&paths).zip(answers) {
                match answer {
                    Ok(body) => {
                        let children = jute::children(body).map_err(malformed)?;
                        nodes.extend(children.into_iter().map(|node| (service.clone(), node)));
                        known.push(service);
                    }
                    Err(Refusal::NoNode) => missing.push(service),
                    Err(refusal) => return Err(refused(path, refusal)),
                }
            }
            if nodes.len() > self.nodes_max || known.len() > self.nodes_max {
                return Err(self.too_many());
            }
            rest = self.wait_for(session, missing).await?;
        }
        Ok((known, nodes))
    }

    pub(super) fn too_many(&self) -> Ended {
        let most = self.nodes_max;
        Ended::lost(format!("there are more than {most} nodes below the base"))
    }

    /// Arms watches for services that are not there; gives those that are by now.
    async fn wait_for(
        &self,
        session: &mut Session,
        services: Vec<String>,
    ) -> Result<Vec<String>, Ended> {
        if !self.single {
            return Ok(Vec::new());
        }
        let paths: Vec<_> = services
            .iter()
            .map(|name| self.settings.tree.service(name))
            .collect();
        let answers = ask_all(session, paths.iter().map(|path| Ask::Exists(path))).await?;
        let there = services
            .into_iter()
            .zip(answers)
            .filter(|(_, answer)| answer.is_ok());
        Ok(there.map(|(service, _)| service).collect())
    }

    /// What stands at these nodes; `None` where a node is gone by now.
    pub(super) async fn read(
        &self,
        session: &mut Session,
        places: Vec<Place>,
    ) -> Result<Vec<(Place, Option<Node>)>, Ended> {
        if !self.settings.tree.has_data() {
            let made = |place: Place| {
                let made = self.made(&place, Ok(&[]));
                // Whether it stays was not asked.
                let stays = false;
                (place, Some(Node { made, stays }))
            };
            return Ok(places.into_iter().map(made).collect());
        }
        let paths: Vec<_> = places.iter().map(|place| self.path_of(place)).collect();
        let asks = paths.iter().map(|path| Ask::Data(path, self.single));
        let answers = ask_all(session, asks).await?;
        let read = places.into_iter().zip(answers);
        let read = read.map(|(place, answer)| {
            let made = self.answered(&place, answer)?;
            Ok((place, made))
        });
        read.collect()
    }

    fn answered(&self, place: &Place, answer: Answer) -> Result<Option<Node>, Ended> {
        match answer {
            Ok(body) => {
                let (data, stays) = jute::data(body).map_err(malformed)?;
                let made = self.made(place, Ok(&data));
                Ok(Some(Node { made, stays }))
            }
            Err(Refusal::NoNode) => Ok(None),
            Err(Refusal::NoAuth) => {
                let message = "it may not be read (may this user read that?)";
                let made = self.made(place, Err(Unfit::Because(message.to_owned())));
                let stays = false;
                Ok(Some(Node { made, stays }))
            }
            Err(refusal) => Err(refused(&self.path_of(place), refusal)),
        }
    }

    fn made(&self, (service, node): &Place, content: map::Content<'_>) -> Made {
        map::read(&self.settings, &self.id, (service, node), content)
    }

    pub(super) fn path_of(&self, (service, node): &Place) -> String {
        format!("{}/{node}", self.settings.tree.service(service))
    }
}

async fn ask_all<'a>(
    session: &mut Session,
    asks: impl Iterator<Item = Ask<'a>>,
) -> Result<Vec<Answer>, Ended> {
    let asks: Vec<_> = asks.collect();
    let answers = session.ask_all(&asks).await;
    answers.map_err(|error| Ended::by(&error))
}

fn malformed(error: Malformed) -> Ended {
    Ended::by(&SessionError::from(error))
}

pub(super) fn refused(path: &str, refusal: Refusal) -> Ended {
    let words = match refusal {
        Refusal::NoNode => "there is no such node".to_owned(),
        Refusal::NoAuth => "it may not be read (may this user read that?)".to_owned(),
        Refusal::AuthFailed => "it does not take `username` and `password`".to_owned(),
        Refusal::Unimplemented => "the server does not know how".to_owned(),
        Refusal::Other(code) => format!("the server says error {code}"),
    };
    Ended::lost(format!("{path}: {words}"))
}
