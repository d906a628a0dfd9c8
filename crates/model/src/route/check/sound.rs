//! What a probe must be like, whoever asks for it: the configuration, the native API or
//! a foreign one.

use std::{ops::RangeInclusive, time::Duration};

use super::{AnswerMatch, HttpMeans, Means, Place, Probe};
use crate::{Problem, http::Method};

const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
const TTL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24 * 30);
const DEREGISTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24 * 30);
/// Longest id, path, host, field or argument, in bytes.
const TEXT_BYTES_MAX: usize = 2048;
/// Largest body or datagram that is sent, in bytes.
const BODY_BYTES_MAX: usize = 16 << 10;
/// Most header fields, statuses or arguments.
const ITEMS_MAX: usize = 64;
/// Most output that is kept.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// Fields that the probe itself writes.
const OWN_FIELDS: [&str; 5] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
];

type Sound = Result<(), Problem>;

impl Probe {
    /// Whether it is one that can be run.
    ///
    /// # Errors
    /// What is wrong, with a pointer into the probe: `/interval`, `/http/path`.
    pub fn sound(&self) -> Sound {
        if !is_id(&self.id) {
            let message = "an id has 1 to 255 printable characters and no spaces";
            return wrong("/id", message);
        }
        within("/interval", self.interval, &INTERVAL, "from 100ms to 1d")?;
        within("/timeout", self.timeout, &TIMEOUT, "from 1ms to 1h")?;
        if let Some(after) = self.deregister_after {
            within("/deregister_after", after, &DEREGISTER, "from 1s to 30d")?;
        }
        if self.output_max.as_bytes() > OUTPUT_BYTES_MAX {
            return wrong("/output_bytes", "at most 64 KiB of output are kept");
        }
        self.means.sound()
    }
}

impl Means {
    fn sound(&self) -> Sound {
        match self {
            Self::Http(http) => http.sound(),
            Self::Tcp { at, .. } => at.sound("/tcp/port"),
            Self::H2Ping { at, .. } => at.sound("/h2ping/port"),
            Self::Udp { at, payload } => {
                at.sound("/udp/port")?;
                let is_fine = payload.len() <= BODY_BYTES_MAX;
                need(is_fine, "/udp/payload", "at most 16 KiB are sent")
            }
            Self::Grpc { at, service, .. } => {
                at.sound("/grpc/port")?;
                let is_fine = is_text(service);
                need(is_fine, "/grpc/service", "a service is a line of text")
            }
            Self::Ttl(ttl) => within("/ttl", *ttl, &TTL, "from 100ms to 30d"),
            Self::Script { command } => is_command(command, "/script/command"),
            Self::Docker { container, command } => {
                let is_fine = !container.is_empty()
                    && container.len() <= TEXT_BYTES_MAX
                    && container
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
                let message = "a container is a name or an id";
                need(is_fine, "/docker/container", message)?;
                is_command(command, "/docker/command")
            }
            Self::Alias { .. } => Ok(()),
        }
    }
}

impl Place {
    fn sound(&self, pointer: &str) -> Sound {
        let port = match self {
            Self::Home => return Ok(()),
            Self::Port(port) => *port,
            Self::Address(address) => address.port(),
            Self::Host(host) => host.port,
        };
        need(port > 0, pointer, "nobody listens on port 0")
    }
}

impl HttpMeans {
    fn sound(&self) -> Sound {
        self.at.sound("/http/port")?;
        let path = &*self.path;
        let is_path = path.starts_with('/') && is_word(path);
        need(
            is_path,
            "/http/path",
            "a path begins with `/` and has no spaces",
        )?;
        let is_host = self.host.as_deref().is_none_or(is_word);
        need(is_host, "/http/host", "a host has no spaces")?;
        let method = Method::parse(&self.method);
        let is_method = method.is_some_and(|method| method != Method::Connect);
        need(
            is_method,
            "/http/method",
            "this is not a method of a request",
        )?;
        need(
            self.headers.len() <= ITEMS_MAX,
            "/http/headers",
            "there are at most 64 fields",
        )?;
        for (name, value) in &self.headers {
            field_sound(name, value)?;
        }
        let is_small = self.body.len() <= BODY_BYTES_MAX;
        need(is_small, "/http/body", "at most 16 KiB are sent")?;
        let are_statuses = self.statuses.len() <= ITEMS_MAX
            && self.statuses.iter().all(|statuses| {
                let is_status = |status: &u16| (200..=599).contains(status);
                is_status(statuses.start())
                    && is_status(statuses.end())
                    && statuses.start() <= statuses.end()
            });
        let message = "a status is from 200 to 599, a range like `200-299`";
        need(are_statuses, "/http/statuses", message)?;
        let is_small = self.answer.as_ref().is_none_or(|answer| match answer {
            AnswerMatch::Contains(text) | AnswerMatch::Regex(text) => {
                !text.is_empty() && text.len() <= TEXT_BYTES_MAX
            }
        });
        let message = "what the body must hold has 1 to 2048 bytes";
        need(is_small, "/http/answer", message)
    }
}

fn field_sound(name: &str, value: &str) -> Sound {
    let is_name = !name.is_empty() && name.len() <= TEXT_BYTES_MAX && name.bytes().all(is_token);
    let is_value = value.len() <= TEXT_BYTES_MAX
        && value
            .bytes()
            .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    if !is_name || !is_value {
        return wrong("/http/headers", format!("`{name}` is not a header field"));
    }
    if OWN_FIELDS.contains(&&*name.to_ascii_lowercase()) {
        let message = format!("`{name}` is written by the probe itself");
        return wrong("/http/headers", message);
    }
    Ok(())
}

/// RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

fn is_id(id: &str) -> bool {
    (1..=255).contains(&id.len()) && !id.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= TEXT_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_text(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control)
}

fn is_command(command: &[std::sync::Arc<str>], pointer: &str) -> Sound {
    let is_program = command.first().is_some_and(|program| !program.is_empty());
    let message = "a command is a program and at most 63 arguments, without NUL";
    let are_fine = command.len() <= ITEMS_MAX
        && command
            .iter()
            .all(|word| word.len() <= TEXT_BYTES_MAX && !word.contains('\0'));
    need(is_program && are_fine, pointer, message)
}

fn within(pointer: &str, span: Duration, bounds: &RangeInclusive<Duration>, words: &str) -> Sound {
    if bounds.contains(&span) {
        return Ok(());
    }
    let what = match pointer {
        "/interval" => "an interval",
        "/timeout" => "a timeout",
        _ => "this time",
    };
    wrong(pointer, format!("{what} is {words}"))
}

fn need(is_fine: bool, pointer: &str, message: &str) -> Sound {
    if is_fine {
        Ok(())
    } else {
        wrong(pointer, message)
    }
}

fn wrong(pointer: &str, message: impl Into<String>) -> Sound {
    let message = message.into();
    Err(Problem::new(pointer, message))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn http(change: impl FnOnce(&mut HttpMeans)) -> Probe {
        let mut http = HttpMeans::get("/");
        change(&mut http);
        Probe::new("http", Means::Http(Box::new(http)))
    }

    fn pointer(probe: &Probe) -> String {
        probe
            .sound()
            .map_or_else(|problem| problem.path, |()| "-".into())
    }

    fn ttl(change: impl FnOnce(&mut Probe)) -> Probe {
        let mut probe = Probe::new("ttl", Means::Ttl(Duration::from_secs(1)));
        change(&mut probe);
        probe
    }

    type Set = fn(&mut Probe, Duration);

    #[test]
    fn times_are_taken_up_to_their_limits_and_not_one_past() {
        let millis = Duration::from_millis;
        let (day, hour) = (Duration::from_hours(24), Duration::from_hours(1));
        let cases: [(Set, Duration, Duration, &str); 4] = [
            (|p, d| p.interval = d, millis(100), day, "/interval"),
            (|p, d| p.timeout = d, millis(1), hour, "/timeout"),
            (
                |p, d| p.means = Means::Ttl(d),
                millis(100),
                day * 30,
                "/ttl",
            ),
            (
                |p, d| p.deregister_after = Some(d),
                millis(1000),
                day * 30,
                "/deregister_after",
            ),
        ];
        for (set, least, most, name) in cases {
            let step = Duration::from_nanos(1);
            for (value, expected) in [
                (least, "-"),
                (most, "-"),
                (least.checked_sub(step).unwrap(), name),
                (most + step, name),
            ] {
                assert_eq!(
                    pointer(&ttl(|probe| set(probe, value))),
                    expected,
                    "{value:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_told_with_its_place() {
        let field = |name: &str, value: &str| vec![(Arc::from(name), Arc::from(value))];
        let cases = [
            (http(|_| {}), "-"),
            (http(|http| http.path = "x".into()), "/http/path"),
            (http(|http| http.path = "/a b".into()), "/http/path"),
            (http(|http| http.host = Some("a\r\nb".into())), "/http/host"),
            (http(|http| http.method = "GE T".into()), "/http/method"),
            (http(|http| http.method = "CONNECT".into()), "/http/method"),
            (http(|http| http.method = "PURGE".into()), "-"),
            (http(|http| http.headers = field("x-a", "b c")), "-"),
            (http(|http| http.headers = field(&"x".repeat(99), "b")), "-"),
            (
                http(|http| http.headers = field("x a", "b")),
                "/http/headers",
            ),
            (
                http(|http| http.headers = field("x", "b\r\nc: d")),
                "/http/headers",
            ),
            (
                http(|http| http.headers = field("Host", "a")),
                "/http/headers",
            ),
            (http(|http| http.statuses = vec![200..=299, 404..=404]), "-"),
            (
                http(|http| http.statuses = vec![199..=299]),
                "/http/statuses",
            ),
            #[expect(clippy::reversed_empty_ranges, reason = "this is what is refused")]
            (
                http(|http| http.statuses = vec![299..=200]),
                "/http/statuses",
            ),
            (http(|http| http.at = Place::Port(0)), "/http/port"),
        ];
        for (probe, expected) in cases {
            assert_eq!(pointer(&probe), expected, "{probe:?}");
        }
    }

    #[test]
    fn sizes_are_taken_up_to_their_limits_and_not_one_past() {
        let text = |bytes: usize| Arc::<str>::from("x".repeat(bytes));
        let path = |bytes: usize| Arc::<str>::from(format!("/{}", "x".repeat(bytes - 1)));
        let script = |arguments: usize| {
            let command = vec![text(1); arguments];
            Probe::new("script", Means::Script { command })
        };
        let output = |bytes| ttl(|probe| probe.output_max = crate::ByteSize::from_bytes(bytes));
        let cases = [
            (http(|http| http.path = path(2048)), "-"),
            (http(|http| http.path = path(2049)), "/http/path"),
            (http(|http| http.body = text(16384)), "-"),
            (http(|http| http.body = text(16385)), "/http/body"),
            (script(64), "-"),
            (script(65), "/script/command"),
            (script(0), "/script/command"),
            (output(65536), "-"),
            (output(65537), "/output_bytes"),
            (ttl(|probe| probe.id = text(255)), "-"),
            (ttl(|probe| probe.id = text(256)), "/id"),
            (ttl(|probe| probe.id = "a b".into()), "/id"),
        ];
        for (probe, expected) in cases {
            assert_eq!(pointer(&probe), expected);
        }
    }
}
