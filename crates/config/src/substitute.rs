//! `${env:NAME}` and `${env:NAME:-default}` in scalars.
//!
//! Put in after the text has become a tree, so that a value can't add to the
//! structure. `$${` stands for `${`.

use portolan_model::Problem;

use crate::suggest::did_you_mean;

/// Longest scalar after the environment was put in, in bytes.
pub const SCALAR_BYTES_MAX: usize = 1 << 20;

/// The text with the environment put in; `None` if there is nothing to put in.
pub(crate) fn substitute(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, Problem> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((reference, tail)) = after.split_once('}') else {
            return Err(Problem::new("", "`${` is not closed by `}`").with_help(LITERAL));
        };
        out.push_str(&resolve(reference, variable)?);
        rest = tail;
        if out.len() > SCALAR_BYTES_MAX {
            let message =
                format!("the text with the environment put in is over {SCALAR_BYTES_MAX} bytes");
            return Err(Problem::new("", message));
        }
    }
    out.push_str(rest);
    Ok(Some(out))
}

const LITERAL: &str = "write `$${` where `${` itself is meant";

fn resolve(reference: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let Some((kind, rest)) = reference.split_once(':') else {
        let help = format!("write `${{env:{reference}}}`, or `$${{` where `${{` itself is meant");
        return Err(Problem::new(
            "",
            format!("`${{{reference}}}` does not say where it comes from"),
        )
        .with_help(help));
    };
    if kind != "env" {
        let help = did_you_mean(kind, ["env"]).unwrap_or_else(|| LITERAL.to_owned());
        return Err(
            Problem::new("", format!("`${{{kind}:` is unknown; there is `${{env:`"))
                .with_help(help),
        );
    }
    let (name, default) = match rest.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (rest, None),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(Problem::new(
            "",
            format!("`{name}` is not the name of an environment variable"),
        ));
    }
    match (variable(name).filter(|value| !value.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Problem::new(
            "",
            format!("the environment variable `{name}` is not set"),
        )
        .with_help(format!("set it, or give a default: `${{env:{name}:-...}}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &str) -> Result<Option<String>, Problem> {
        let variable = |name: &str| match name {
            "PORT" => Some("8080".to_owned()),
            "EMPTY" => Some(String::new()),
            "LONG" => Some("x".repeat(SCALAR_BYTES_MAX)),
            "NESTED" => Some("${env:PORT}".to_owned()),
            _ => None,
        };
        substitute(text, &variable)
    }

    #[test]
    fn variables_are_put_in_once() {
        for (text, expected) in [
            ("a:${env:PORT}", "a:8080"),
            ("${env:PORT}${env:PORT}", "80808080"),
            ("${env:NONE:-x y}", "x y"),
            ("${env:EMPTY:-d}", "d"),
            ("${env:NONE:-}", ""),
            ("$${env:PORT}", "${env:PORT}"),
            ("${env:NESTED}", "${env:PORT}"),
            ("$1 $$ ${env:PORT} $", "$1 $$ 8080 $"),
        ] {
            assert_eq!(put(text).unwrap().as_deref(), Some(expected), "{text}");
        }
        assert_eq!(put("plain $").unwrap(), None);
    }

    #[test]
    fn what_can_not_be_put_in_is_told() {
        for (text, part) in [
            ("${env:NONE}", "is not set"),
            ("${env:EMPTY}", "is not set"),
            ("${PORT}", "does not say"),
            ("${file:x}", "unknown"),
            ("${env:}", "not the name"),
            ("${env:A B}", "not the name"),
            ("${env:PORT", "not closed"),
            ("${env:LONG}x${env:PORT}", "over"),
        ] {
            let problem = put(text).unwrap_err();
            assert!(problem.message.contains(part), "{text}: {problem:?}");
        }
        assert!(put("${env:LONG}").is_ok());
    }
}
