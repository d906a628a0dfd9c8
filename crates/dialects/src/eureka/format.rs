//! Which of the two formats is meant.

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON.
    Json,
    /// XML.
    Xml,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::Xml];

    /// The format of an answer: JSON for whoever names it, XML for everybody else, whatever
    /// else they name. Old clients name nothing and read XML.
    #[must_use]
    pub fn of_answer(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or_default().to_ascii_lowercase();
        if accept.contains("json") {
            Self::Json
        } else {
            Self::Xml
        }
    }

    /// The format of a body: as its type says, or as it looks like if the type says neither.
    #[must_use]
    pub fn of_body(content_type: Option<&str>, body: &[u8]) -> Self {
        let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
        if content_type.contains("json") {
            return Self::Json;
        }
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if content_type.contains("xml") || first == Some(&b'<') {
            Self::Xml
        } else {
            Self::Json
        }
    }

    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml",
        }
    }
}

/// Whether an `Accept-Encoding` takes gzip.
#[must_use]
pub fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let codings = accept_encoding.unwrap_or_default().split(',');
    codings.into_iter().any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.and_then(|weight| weight.trim().parse::<f32>().ok()) == Some(0.0)
        });
        is_gzip && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_xml_unless_json_is_named() {
        for (accept, format) in [
            (None, Format::Xml),
            (Some(""), Format::Xml),
            (Some("*/*"), Format::Xml),
            (Some("application/xml"), Format::Xml),
            (Some("application/json"), Format::Json),
            (Some("application/JSON, application/*+json"), Format::Json),
            (Some("text/html, application/json;q=0.1"), Format::Json),
        ] {
            assert_eq!(Format::of_answer(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn bodies_are_what_their_type_says_or_what_they_look_like() {
        let form = Some("application/x-www-form-urlencoded");
        for (content_type, body, format) in [
            (Some("application/json"), "<a/>", Format::Json),
            (Some("text/xml; charset=utf-8"), "{}", Format::Xml),
            (form, " \n<a/>", Format::Xml),
            (form, "{}", Format::Json),
            (None, "", Format::Json),
        ] {
            assert_eq!(
                Format::of_body(content_type, body.as_bytes()),
                format,
                "{content_type:?} {body}"
            );
        }
    }

    #[test]
    fn gzip_is_for_whoever_takes_it() {
        for accepted in ["gzip", "deflate, GZIP", "gzip;q=0.5"] {
            assert!(accepts_gzip(Some(accepted)), "{accepted}");
        }
        for refused in ["", "identity", "gzip;q=0", "gzip; q=0.0", "x-gzipped"] {
            assert!(!accepts_gzip(Some(refused)), "{refused}");
        }
        assert!(!accepts_gzip(None));
    }
}
