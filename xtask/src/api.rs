//! The public API of the client library as a sorted list, so that a change of it is seen.
//!
//! Read off the source as rustfmt leaves it: items begin in the first column, and members of
//! types and of `impl` blocks in the fifth. Listed are the names that `lib.rs` hands out,
//! their fields, variants and methods, and the traits that they have.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    Failure,
    finding::Finding,
    rust_text,
    tree::{self, SourceFile},
};

/// The source that is read.
const SOURCE: &str = "crates/client/src/";
/// The list.
const LIST: &str = "crates/client/API.txt";
/// What public items begin with.
const ITEMS: [&str; 5] = ["struct", "enum", "type", "fn", "const"];

/// Writes the list.
pub(crate) fn write(root: &Path) -> Result<(), Failure> {
    let path = root.join(LIST);
    let list = list(&tree::rust_files(root)?);
    fs::write(&path, list).map_err(tree::at(&path))
}

/// Finds where the list differs from the source.
pub(crate) fn check(root: &Path, files: &[SourceFile]) -> Result<Vec<Finding>, Failure> {
    let path = root.join(LIST);
    let known = if path.exists() {
        tree::read(&path)?
    } else {
        String::new()
    };
    Ok(differences(&known, &list(files)))
}

fn differences(known: &str, found: &str) -> Vec<Finding> {
    let lines = |text: &'static str, of: &str, other: &str| -> Vec<Finding> {
        let other: BTreeSet<&str> = other.lines().collect();
        let only = of.lines().filter(|line| !other.contains(line));
        let told = only.map(|line| {
            let message = format!("{text} `{line}`: if that is meant, run `cargo xtask api`");
            Finding::of_file(LIST, message)
        });
        told.collect()
    };
    let mut findings = lines("the code has no more", known, found);
    findings.extend(lines("the code has, and the list has not,", found, known));
    findings
}

fn list(files: &[SourceFile]) -> String {
    let own = || files.iter().filter(|file| file.path.starts_with(SOURCE));
    let texts: Vec<(String, String)> = own()
        .filter(|file| !file.is_tests())
        .map(|file| {
            let text = rust_text::without_tests(&rust_text::mask(&file.text));
            (file.path.clone(), text)
        })
        .collect();
    let root = texts.iter().find(|(path, _)| path.ends_with("src/lib.rs"));
    let mut lines = BTreeSet::new();
    let names = root.map_or_else(BTreeSet::new, |(_, text)| exports(text, &mut lines));
    for (path, text) in &texts {
        if !path.ends_with("src/lib.rs") {
            items(text, &names, &mut lines);
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The names that are handed out. Those of other crates are listed with where they come from.
fn exports(text: &str, lines: &mut BTreeSet<String>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("pub use ") {
        let rest = &text[at + "pub use ".len()..];
        let end = rest.find(';').unwrap_or(rest.len());
        let words = compact(&rest[..end]);
        for path in leaves(&words) {
            let first = path.split("::").next().unwrap_or(&path);
            let module = format!("mod {first};");
            let is_own = text.lines().any(|line| line == module);
            if !is_own {
                lines.insert(format!("use {path}"));
            }
            names.insert(last_word(&path).to_owned());
        }
    }
    names
}

/// The paths that a `use` names, braces within braces included.
fn leaves(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else {
        return vec![tree.trim().to_owned()];
    };
    let (prefix, inner) = (&tree[..open], tree[open + 1..].trim_end_matches('}'));
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for character in inner.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if character == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    let whole = |part: &String| {
        // The last brace was taken off with the outer one.
        let missing = part.matches('{').count() > part.matches('}').count();
        format!("{prefix}{}{}", part.trim(), if missing { "}" } else { "" })
    };
    let named = parts.iter().filter(|part| !part.trim().is_empty());
    named.flat_map(|part| leaves(&whole(part))).collect()
}

/// Lists what a file says about these names.
fn items(text: &str, names: &BTreeSet<String>, lines: &mut BTreeSet<String>) {
    let rows: Vec<&str> = text.lines().collect();
    let mut derived = String::new();
    for (at, row) in rows.iter().enumerate() {
        if let Some(list) = row.strip_prefix("#[derive(") {
            list.trim_end_matches(")]").clone_into(&mut derived);
        }
        if !row.starts_with("pub ") && !row.starts_with("impl") {
            continue;
        }
        let head = statement(&rows, at);
        let body = body(&rows, at);
        if head.starts_with("impl") {
            implementation(&head, body, names, lines);
        } else if let Some(name) = item_name(&head).filter(|name| names.contains(*name)) {
            // What a tuple has is private.
            let shown = head.split('(').next().filter(|_| head.contains("struct "));
            let shown = shown.unwrap_or(&head);
            lines.insert(shown.trim_start_matches("pub ").to_owned());
            for one in derived.split(", ").filter(|one| !one.is_empty()) {
                lines.insert(format!("impl {one} for {name}"));
            }
            members(name, head.starts_with("pub enum"), body, lines);
        }
        derived.clear();
    }
}

/// Fields of a struct that are public, or everything of an enum.
fn members(name: &str, is_enum: bool, body: &[&str], lines: &mut BTreeSet<String>) {
    let mut variant = String::new();
    for row in body {
        let indent = row.len() - row.trim_start().len();
        let text = row.trim().trim_end_matches(['{', ',']).trim_end();
        let text = &text.replace("#[source] ", "").replace("#[from] ", "");
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic());
        match (indent, is_enum) {
            (4, true) if starts_well => {
                text.split(['(', ' '])
                    .next()
                    .unwrap_or(text)
                    .clone_into(&mut variant);
                lines.insert(format!("{name}::{text}"));
            }
            (8, true) if starts_well => {
                lines.insert(format!("{name}::{variant}.{text}"));
            }
            (4, false) => {
                if let Some(field) = text.strip_prefix("pub ") {
                    lines.insert(format!("{name}.{field}"));
                }
            }
            _ => {}
        }
    }
}

fn implementation(
    head: &str,
    body: &[&str],
    names: &BTreeSet<String>,
    lines: &mut BTreeSet<String>,
) {
    let bare = head.split(" where ").next().unwrap_or(head);
    let of = bare.rsplit(" for ").next().unwrap_or(bare);
    let own = skip_generics(of.trim_start_matches("impl")).trim();
    let name = own.split(['<', ' ']).next().unwrap_or(own);
    if !names.contains(name) {
        return;
    }
    if bare.contains(" for ") {
        lines.insert(head.to_owned());
        return;
    }
    for (at, row) in body.iter().enumerate() {
        if row.starts_with("    pub ") && !row.starts_with("    pub(") {
            let member = statement(body, at);
            let member = member.trim_start_matches("pub ");
            lines.insert(format!("{name}: {member}"));
        }
    }
}

/// What follows the generics that `impl` begins with.
fn skip_generics(text: &str) -> &str {
    if !text.starts_with('<') {
        return text;
    }
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return &text[at + 1..];
        }
    }
    text
}

/// The statement that begins in that row, up to its body, in one line.
fn statement(rows: &[&str], at: usize) -> String {
    let mut text = String::new();
    for row in rows.iter().skip(at) {
        text.push_str(row.trim());
        text.push(' ');
        if row.ends_with(['{', ';']) {
            break;
        }
    }
    let text = text.trim_end().trim_end_matches(['{', ';']);
    let value = text.find(" = ").filter(|_| text.contains("const "));
    compact(&text[..value.unwrap_or(text.len())])
}

/// The rows of the block that the statement in that row opens.
fn body<'a>(rows: &'a [&'a str], at: usize) -> &'a [&'a str] {
    let opens = rows
        .iter()
        .skip(at)
        .position(|row| row.ends_with(['{', ';']));
    let begin = at + opens.unwrap_or(0) + 1;
    let length = rows.iter().skip(begin).position(|row| *row == "}");
    let is_block = rows.get(begin - 1).is_some_and(|row| row.ends_with('{'));
    rows.get(begin..begin + length.filter(|_| is_block).unwrap_or(0))
        .unwrap_or_default()
}

fn item_name(head: &str) -> Option<&str> {
    let mut words = head.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.find(|word| ITEMS.contains(word))?;
    words.next()
}

fn last_word(path: &str) -> &str {
    path.rsplit([':', ' ']).next().unwrap_or(path)
}

/// In one line, with single blanks and none inside of brackets.
fn compact(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let line = line
        .replace("( ", "(")
        .replace(", )", ")")
        .replace(", }", "}");
    line.trim_end_matches(',').replace("(mut self", "(self")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile {
            path: format!("{SOURCE}{name}"),
            text: text.to_owned(),
        }
    }

    #[test]
    fn what_is_handed_out_is_listed_with_its_members_and_traits() {
        let root =
            "mod a;\npub use a::{\n    Cup,\n    deep::{Kind, Lid},\n};\npub use other::Tea;\n";
        let text = "\
/// A cup of \"pub fn\".
#[derive(Clone, Debug)]
pub struct Cup<B> {
    /// Its size.
    pub size: u8,
    body: B,
}

pub struct Lid(u8);

pub enum Kind {
    /// Hot.
    Hot(#[source] Tea),
    Cold {
        /// How.
        how: u8,
    },
}

struct Hidden {
    pub field: u8,
}

impl<B: Into<u8>> Cup<B> {
    pub const fn fill(
        &mut self,
        tea: u8,
    ) -> Option<u8> {
        None
    }

    pub(crate) fn wash(&self) {}
}

impl<B> Drop for Cup<B>
where
    B: Send,
{
    fn drop(&mut self) {}
}

#[cfg(test)]
mod tests {
    pub struct Kind;
}
";
        let listed = list(&[file("lib.rs", root), file("a.rs", text)]);
        let expected = [
            "Cup.size: u8",
            "Cup: const fn fill(&mut self, tea: u8) -> Option<u8>",
            "Kind::Cold",
            "Kind::Cold.how: u8",
            "Kind::Hot(Tea)",
            "enum Kind",
            "impl Clone for Cup",
            "impl Debug for Cup",
            "impl<B> Drop for Cup<B> where B: Send",
            "struct Cup<B>",
            "struct Lid",
            "use other::Tea",
        ];
        assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn both_sides_of_a_difference_are_told() {
        let findings = differences("a\nb\n", "b\nc\n");
        let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(
            told[0].contains("no more `a`") && told[1].contains("`c`"),
            "{told:?}"
        );
    }
}
