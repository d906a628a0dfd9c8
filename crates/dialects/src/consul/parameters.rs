//! The parameters of a query.

use super::{
    Refusal,
    blocking::Blocking,
    filter::{Checked, Filter, Shape},
};

/// Most values of a parameter that may be repeated.
const VALUES_MAX: usize = 64;

/// How fresh an answer must be. There is one process so far, so all are answered alike,
/// but clients are told which one they got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// As the leader knows it.
    #[default]
    Leader,
    /// As anybody knows it.
    Stale,
    /// As a majority knows it.
    Consistent,
}

impl Consistency {
    /// The value of `X-Consul-Effective-Consistency`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Stale => "stale",
            Self::Consistent => "consistent",
        }
    }
}

/// What every read understands.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// What is waited for.
    pub blocking: Blocking,
    /// How fresh the answer must be.
    pub consistency: Consistency,
    /// Whether an answer from a cache is fine.
    pub is_cached: bool,
    /// Only what is passing.
    pub passing: bool,
    /// Only what has all of these tags.
    pub tags: Vec<String>,
    /// Only nodes with all of these labels.
    pub node_meta: Vec<(String, String)>,
    /// Sorted by the way to this node.
    pub near: Option<String>,
    /// Whatever this chooses.
    pub filter: Option<Filter>,
    /// Only what a peer of that name exports; we have no peers.
    pub has_peer: bool,
}

impl Parameters {
    /// Reads a query of a datacenter, given all values of a parameter by its name.
    ///
    /// # Errors
    /// [`Refusal`]: 400, or 500 for another datacenter than `datacenter`.
    pub fn read<'q>(
        all: impl Fn(&'static str) -> Vec<&'q str>,
        datacenter: &str,
    ) -> Result<Self, Refusal> {
        let one = |name: &'static str| all(name).first().copied();
        let has = |name: &'static str| one(name).is_some();
        check_scope(datacenter, one)?;
        let is_cached = has("cached");
        let consistency = match (has("stale"), has("consistent")) {
            (true, true) => {
                let text = "Cannot specify ?stale with ?consistent, conflicting semantics.";
                return Err(Refusal::bad(text));
            }
            (_, true) if is_cached => {
                let text = "Cannot specify ?cached with ?consistent, conflicting semantics.";
                return Err(Refusal::bad(text));
            }
            (true, false) => Consistency::Stale,
            (false, true) => Consistency::Consistent,
            (false, false) => Consistency::Leader,
        };
        let passing = match one("passing") {
            Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some(_) => return Err(Refusal::bad("Invalid value for ?passing")),
        };
        let some = |name: &'static str| one(name).filter(|text| !text.is_empty());
        let many = |name: &'static str| {
            let values = all(name);
            if values.len() > VALUES_MAX {
                let text = format!("`{name}` is given more than {VALUES_MAX} times");
                return Err(Refusal::bad(text));
            }
            Ok(values.into_iter().filter(|value| !value.is_empty()))
        };
        let node_meta = many("node-meta")?.map(|pair| {
            let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        });
        Ok(Self {
            blocking: Blocking::read(one("index"), one("wait"))?,
            consistency,
            is_cached,
            passing,
            tags: many("tag")?.map(str::to_owned).collect(),
            node_meta: node_meta.collect(),
            near: some("near").map(str::to_owned),
            filter: some("filter").map(Filter::parse).transpose()?,
            has_peer: some("peer").is_some(),
        })
    }

    /// The filter for objects of that shape.
    ///
    /// # Errors
    /// [`Refusal`]: 400.
    pub fn filter_on(&self, shape: &'static Shape) -> Result<Option<Checked>, Refusal> {
        let filter = self.filter.clone();
        Ok(filter.map(|filter| filter.on(shape)).transpose()?)
    }
}

/// There is one datacenter, one namespace and one partition.
fn check_scope<'q>(
    datacenter: &str,
    one: impl Fn(&'static str) -> Option<&'q str>,
) -> Result<(), Refusal> {
    let is_ours = |text: Option<&str>, ours: &str| {
        text.is_none_or(|text| text.is_empty() || text.eq_ignore_ascii_case(ours))
    };
    if !is_ours(one("dc"), datacenter) {
        return Err(Refusal::no_path());
    }
    for (name, what) in [("ns", "Namespaces"), ("partition", "Partitions")] {
        if !is_ours(one(name), "default") {
            let text = format!(
                "Invalid query parameter: {name:?} - {what} are a Consul Enterprise feature"
            );
            return Err(Refusal::bad(text));
        }
    }
    Ok(())
}

/// What reads and writes of keys understand besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvParameters {
    /// The value itself and nothing else.
    pub raw: bool,
    /// Everything that begins so.
    pub recurse: bool,
    /// Names only.
    pub keys: bool,
    /// Names end here.
    pub separator: String,
    /// The index that the key must have; 0 stands for none.
    pub cas: Option<u64>,
    /// The session that locks.
    pub acquire: Option<String>,
    /// The session that unlocks.
    pub release: Option<String>,
    /// A number that the client keeps with it.
    pub flags: u64,
}

impl KvParameters {
    /// Reads a query, given the first value of a parameter by its name.
    ///
    /// # Errors
    /// [`Refusal`]: 400.
    pub fn read<'q>(one: impl Fn(&'static str) -> Option<&'q str>) -> Result<Self, Refusal> {
        let number = |name: &'static str| {
            let text = one(name).filter(|text| !text.is_empty());
            let parsed = text.map(str::parse).transpose();
            parsed.map_err(|_| Refusal::bad(format!("Invalid {name} value")))
        };
        let some = |name: &'static str| one(name).map(str::to_owned);
        let parameters = Self {
            raw: one("raw").is_some(),
            recurse: one("recurse").is_some(),
            keys: one("keys").is_some(),
            separator: one("separator").unwrap_or_default().to_owned(),
            cas: number("cas")?,
            acquire: some("acquire"),
            release: some("release"),
            flags: number("flags")?.unwrap_or(0),
        };
        let conditions = [
            parameters.cas.is_some(),
            parameters.acquire.is_some(),
            parameters.release.is_some(),
        ];
        if conditions.into_iter().filter(|is_set| *is_set).count() > 1 {
            let text = "Conflicting flags: cas, acquire and release exclude each other";
            return Err(Refusal::bad(text));
        }
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &'static [(&str, &str)]) -> Result<Parameters, Refusal> {
        let all = |name: &'static str| {
            let given = query.iter().filter(|(given, _)| *given == name);
            given.map(|(_, value)| *value).collect::<Vec<_>>()
        };
        Parameters::read(all, "dc1")
    }

    #[test]
    fn a_query_is_read_whole() {
        let parameters = read(&[
            ("dc", "dc1"),
            ("tag", "a"),
            ("tag", "b"),
            ("node-meta", "env:prod"),
            ("passing", ""),
            ("stale", ""),
            ("index", "5"),
            ("filter", "a == b"),
        ])
        .unwrap();
        assert!(parameters.passing);
        assert_eq!(parameters.tags, ["a", "b"]);
        assert_eq!(parameters.node_meta[0].1, "prod");
        assert_eq!(parameters.consistency.as_str(), "stale");
        assert_eq!(parameters.blocking.index, Some(5));
        assert!(parameters.filter.is_some());
        assert!(!read(&[("passing", "false")]).unwrap().passing);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        type Query = &'static [(&'static str, &'static str)];
        let cases: [(Query, u16, &str); 7] = [
            (&[("stale", ""), ("consistent", "")], 400, "conflicting"),
            (&[("cached", ""), ("consistent", "")], 400, "conflicting"),
            (&[("passing", "nope")], 400, "?passing"),
            (&[("dc", "dc2")], 500, "No path to datacenter"),
            (&[("ns", "team")], 400, "Namespaces"),
            (&[("filter", "((")], 400, "boolean expression"),
            (&[("index", "x")], 400, "Invalid index"),
        ];
        for (query, status, text) in cases {
            let refusal = read(query).unwrap_err();
            assert_eq!(refusal.status, status);
            assert!(refusal.text.contains(text), "{refusal}");
        }
    }

    #[test]
    fn parameters_repeat_up_to_a_limit() {
        let many = |count| {
            let all = move |name: &'static str| match name {
                "tag" => vec!["t"; count],
                _ => Vec::new(),
            };
            Parameters::read(all, "dc1")
        };
        assert!(many(VALUES_MAX).is_ok());
        assert!(many(VALUES_MAX + 1).is_err());
    }

    #[test]
    fn conditions_of_a_write_exclude_each_other() {
        let one = |name: &'static str| match name {
            "cas" => Some("0"),
            "flags" => Some("42"),
            _ => None,
        };
        let parameters = KvParameters::read(one).unwrap();
        assert_eq!((parameters.cas, parameters.flags), (Some(0), 42));
        let two = |name: &'static str| matches!(name, "cas" | "acquire").then_some("1");
        assert_eq!(KvParameters::read(two).unwrap_err().status, 400);
        let bad = |name: &'static str| (name == "flags").then_some("x");
        assert_eq!(KvParameters::read(bad).unwrap_err().status, 400);
    }
}
