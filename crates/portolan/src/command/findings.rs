//! Findings for people: the line, a caret, and what to do.

use std::{error::Error, fmt, io};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, Severity as Level, SourceCode, SourceSpan, SpanContents,
};
use portolan_config::{Finding, Origin, Severity};

use super::wants_colours;

/// Longest excerpt of a file, in bytes: a configuration may be one long line.
const EXCERPT_BYTES_MAX: usize = 400;
const WIDTH: usize = 100;

/// Prints findings to standard error, with the lines of the file that they are about.
pub(crate) fn print_findings(findings: &[Finding], file: &str, text: &str) {
    eprint!(
        "{}",
        render(findings, file, text, wants_colours(&io::stderr()))
    );
}

/// Findings with the lines of the file that they are about.
pub(super) fn render(findings: &[Finding], file: &str, text: &str, colours: bool) -> String {
    let theme = if colours {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(WIDTH)
        .with_links(false);
    let mut out = String::new();
    for finding in findings {
        let shown = Shown {
            finding,
            excerpt: Excerpt::of(finding, file, text),
        };
        if handler.render_report(&mut out, &shown).is_err() {
            out.push_str(&finding.to_string());
        }
        out.push('\n');
    }
    out
}

/// A finding as miette sees one.
#[derive(Debug)]
struct Shown<'a> {
    finding: &'a Finding,
    excerpt: Option<Excerpt<'a>>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.excerpt.is_none() && self.finding.origin != Origin::Default {
            write!(f, "{}: ", self.finding.origin)?;
        }
        if let Some(object) = &self.finding.object {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.finding.message)
    }
}

impl Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<Level> {
        Some(match self.finding.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.finding.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        let excerpt = self.excerpt.as_ref()?;
        Some(excerpt)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (offset, length) = self.excerpt.as_ref()?.mark;
        Some(Box::new(std::iter::once(LabeledSpan::new(
            None, offset, length,
        ))))
    }
}

/// A few lines of a file, so that showing a finding costs the same in a large one.
#[derive(Debug)]
struct Excerpt<'a> {
    file: &'a str,
    text: &'a str,
    /// Lines of the file before these.
    lines: usize,
    /// Characters before these on the first line.
    columns: usize,
    /// Where the finding is in these, and its length, in bytes.
    mark: (usize, usize),
}

impl<'a> Excerpt<'a> {
    fn of(finding: &Finding, file: &'a str, text: &'a str) -> Option<Self> {
        let Origin::File { line, span, .. } = &finding.origin else {
            return None;
        };
        let before = text.get(..span.start)?;
        let within = text.get(span.clone())?;
        let own_start = before.rfind('\n').map_or(0, |at| at + 1);
        let own_end = text[span.start..]
            .find('\n')
            .map_or(text.len(), |at| span.start + at);
        let marked = within.split('\n').next().map_or(0, str::len);
        let above = text[..own_start].strip_suffix('\n');
        let start = above.map_or(own_start, |above| above.rfind('\n').map_or(0, |at| at + 1));
        let below = text.get(own_end + 1..).unwrap_or_default();
        let end = own_end + below.find('\n').map_or(below.len(), |at| at) + 1;
        let excerpt = Self {
            file,
            text: text.get(start..end.min(text.len()))?,
            lines: line.checked_sub(1 + usize::from(start < own_start))?,
            columns: 0,
            mark: (span.start - start, marked),
        };
        if excerpt.text.len() <= EXCERPT_BYTES_MAX {
            return Some(excerpt);
        }
        // One line only, and of that what stands around the finding.
        let half = EXCERPT_BYTES_MAX / 2;
        let cut = text
            .floor_char_boundary(span.start.saturating_sub(half))
            .max(own_start);
        let end = text
            .ceil_char_boundary((span.start + half).min(own_end))
            .min(own_end);
        Some(Self {
            text: text.get(cut..end)?,
            lines: line.checked_sub(1)?,
            columns: text.get(own_start..cut)?.chars().count(),
            mark: (span.start - cut, marked.min(end.saturating_sub(span.start))),
            ..excerpt
        })
    }
}

impl SourceCode for Excerpt<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.text.read_span(span, lines_before, lines_after)?;
        let columns = if found.line() == 0 { self.columns } else { 0 };
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.to_owned(),
            found.data(),
            *found.span(),
            found.line() + self.lines,
            found.column() + columns,
            found.line_count(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use portolan_config::{Outside, read};

    use super::*;

    fn shown(text: &str) -> String {
        let findings = match read("p.yaml", text, &Outside::default()) {
            Ok(plan) => plan.findings,
            Err(findings) => findings,
        };
        render(&findings, "p.yaml", text, false)
    }

    #[test]
    fn a_finding_has_its_line_a_caret_and_help() {
        let shown =
            shown("# routes\nroutes:\n  shop:\n    tagret: orders\n    match: {exact: /a}\n");
        for part in [
            "× route shop: unknown field `tagret`",
            "[p.yaml:4:5]",
            "4 │     tagret: orders\n   ·     ──────\n",
            "5 │     match",
            "help: did you mean `target`?",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn a_long_line_is_cut_around_the_finding() {
        let text = format!(
            "{{\"routes\": {{\"é{}\": {{}}, \"b\": {{\"colour\": 1}}{}}}}}",
            "x".repeat(5000),
            " ".repeat(5000)
        );
        let shown = shown(&text);
        assert!(shown.len() < 6 * EXCERPT_BYTES_MAX, "{}", shown.len());
    }

    #[test]
    fn every_place_of_a_file_can_be_shown() {
        for text in [
            "",
            "x",
            "\n",
            "a:\r\n  b",
            "é: [",
            "routes:\n  a:",
            "\u{feff}gard: 1",
            "a: |\n  x\n  y\n",
        ] {
            let told = shown(text);
            assert!(
                text.is_empty() || text == "\n" || !told.is_empty(),
                "{text:?}"
            );
        }
    }
}
