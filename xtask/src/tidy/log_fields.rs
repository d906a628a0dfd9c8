//! Facts in structured logs have the names of one list.

use portolan_telemetry::LOG_FIELDS;

use crate::{finding::Finding, rust_text};

use super::Source;

const MACROS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// Words before a colon that are not fields.
const DIRECTIVES: [&str; 3] = ["target:", "parent:", "name:"];

pub(super) fn check(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let masked = &source.masked;
    for level in MACROS {
        let call = format!("tracing::{level}!(");
        for (at, _) in masked.match_indices(&call) {
            let open = at + call.len() - 1;
            let end = rust_text::closing(masked, open);
            let arguments = &masked[open + 1..end.saturating_sub(1)];
            for field in fields(arguments) {
                if LOG_FIELDS.iter().all(|known| known.name != field) {
                    let message = format!("`{field}` is not in telemetry's list of log fields");
                    let line = rust_text::line_of(masked, at);
                    findings.push(Finding::at(&source.file.path, line, message));
                }
            }
        }
    }
}

/// The names of the fields among a macro's arguments.
fn fields(arguments: &str) -> Vec<&str> {
    let parts = top_level(arguments).into_iter().map(str::trim);
    let named = parts.filter(|part| {
        let directive = DIRECTIVES.iter().any(|word| part.starts_with(word));
        !part.is_empty() && !part.starts_with('"') && !directive
    });
    named.map(name).collect()
}

/// `a = %x` is called `a`, `%x.b` is called `b`.
fn name(part: &str) -> &str {
    let (name, _) = part.split_once('=').unwrap_or((part, ""));
    let name = name.trim().trim_start_matches(['%', '?']);
    name.rsplit('.').next().unwrap_or(name)
}

fn top_level(arguments: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&arguments[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&arguments[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn fields_are_read_however_they_are_written() {
        let arguments =
            "target: \"x\", route = %f(a, b), %instance, self.service, lag_ms, \"   \", x";
        assert_eq!(
            fields(arguments),
            ["route", "instance", "service", "lag_ms", "x"]
        );
    }

    #[test]
    fn an_unlisted_field_is_found() {
        let bad = "tracing::warn!(sauce = 1, \"text\");";
        assert_eq!(found(bad, "a.rs", check).len(), 1);
        assert!(found("tracing::info!(source = %id, \"text\");", "a.rs", check).is_empty());
    }
}
