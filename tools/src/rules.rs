//! Holds the rules of `semantics.md` against the code and the tests that cite them.
//!
//! A rule is defined by its number in bold, `**R1**`, and cited by its bare number, `R1`, or as part of a range, `R1 to R4`
//! or `R1–R4`. Code must cite every rule but those of chapter E, which are worked examples, and X, which tells versions
//! apart; tests must cite every rule but X's. A citation of a rule that does not exist is a mistake.

use crate::workspace::Workspace;
use anyhow::{Context, Result};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What the check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many rules there are.
    pub rules: usize,
    /// Rules that no code cites.
    pub without_code: Vec<String>,
    /// Rules that no test cites.
    pub without_test: Vec<String>,
    /// Citations of rules that do not exist, each with its place.
    pub unknown: Vec<String>,
}

impl Findings {
    /// Whether nothing is missing and nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.without_code.is_empty() && self.without_test.is_empty() && self.unknown.is_empty()
    }
}

/// Whether a file's citations are those of code or of tests, and whether all that looks like a citation is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    is_test: bool,
    /// The kernel around graft names registers and devices too: there only lines that speak of rules count.
    only_where_rules_are_named: bool,
}

/// The folders whose files cite rules.
const SOURCES: [(&str, Kind); 5] = [
    ("kernel/graft/src", Kind { is_test: false, only_where_rules_are_named: false }),
    ("kernel/src", Kind { is_test: false, only_where_rules_are_named: true }),
    ("kernel/graft/tests", Kind { is_test: true, only_where_rules_are_named: false }),
    ("kernel/graft/examples", Kind { is_test: true, only_where_rules_are_named: false }),
    ("test-suites", Kind { is_test: true, only_where_rules_are_named: true }),
];

/// Reads the workspace and checks it.
pub fn check(workspace: &Workspace) -> Result<Findings> {
    let specification = workspace.source("kernel/graft/semantics.md");
    let text = std::fs::read_to_string(&specification).with_context(|| format!("cannot read the rules, {}", specification.display()))?;
    let mut citations = Citations::new(&text)?;
    for (folder, kind) in SOURCES {
        for file in rust_files(&workspace.source(folder))? {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let name = file.strip_prefix(workspace.root()).unwrap_or(&file).display().to_string();
            citations.read(&name, kind, &text);
        }
    }
    Ok(citations.findings())
}

/// All Rust files in a folder and below; none where the folder is not there.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The rules there are, and those that were cited.
struct Citations {
    rules: BTreeSet<Rule>,
    /// The highest number of each chapter, by its letter.
    chapters: BTreeMap<char, u32>,
    in_code: BTreeSet<Rule>,
    in_tests: BTreeSet<Rule>,
    unknown: Vec<String>,
    citation: Regex,
    range: Regex,
}

/// A rule: its chapter's letter and its number there.
type Rule = (char, u32);

impl Citations {
    fn new(specification: &str) -> Result<Self> {
        let definition = Regex::new(r"\*\*([A-Z])(\d{1,2})\*\*")?;
        let rules: BTreeSet<Rule> =
            definition.captures_iter(specification).filter_map(|found| Some((letter(&found[1])?, found[2].parse().ok()?))).collect();
        let mut chapters = BTreeMap::new();
        for &(chapter, number) in &rules {
            let highest: &mut u32 = chapters.entry(chapter).or_default();
            *highest = number.max(*highest);
        }
        Ok(Self {
            rules,
            chapters,
            in_code: BTreeSet::new(),
            in_tests: BTreeSet::new(),
            unknown: Vec::new(),
            citation: Regex::new(r"\b([A-Z])(\d{1,2})\b")?,
            range: Regex::new(r"\b([A-Z])(\d{1,2})(?: to |–|-)([A-Z])(\d{1,2})\b")?,
        })
    }

    /// Reads a file. What stands below `#[cfg(test)]` counts as a test.
    fn read(&mut self, name: &str, kind: Kind, text: &str) {
        let mut is_test = kind.is_test || name.ends_with("/tests.rs") || name.contains("/tests/");
        for (number, line) in (1..).zip(text.lines()) {
            is_test |= line.trim_start().starts_with("#[cfg(test)]");
            if kind.only_where_rules_are_named && !line.contains("rule") && !line.contains("Rule") && !line.contains("semantics") {
                continue;
            }
            for rule in self.cited_on(line) {
                if self.rules.contains(&rule) {
                    if is_test { &mut self.in_tests } else { &mut self.in_code }.insert(rule);
                } else {
                    self.unknown.push(format!("{name}:{number}: {}", name_of(rule)));
                }
            }
        }
    }

    /// The rules that a line cites. A letter that is no chapter's makes no citation.
    fn cited_on(&self, line: &str) -> BTreeSet<Rule> {
        let mut cited = BTreeSet::new();
        for found in self.range.captures_iter(line) {
            if let (Some(first), Some(last)) = (self.rule(&found[1], &found[2]), self.rule(&found[3], &found[4]))
                && first.0 == last.0
            {
                cited.extend((first.1..=last.1).map(|number| (first.0, number)));
            }
        }
        cited.extend(self.citation.captures_iter(line).filter_map(|found| self.rule(&found[1], &found[2])));
        cited
    }

    fn rule(&self, chapter: &str, number: &str) -> Option<Rule> {
        let chapter = letter(chapter).filter(|chapter| self.chapters.contains_key(chapter))?;
        Some((chapter, number.parse().ok()?))
    }

    fn findings(&self) -> Findings {
        let missing = |cited: &BTreeSet<Rule>, exempt: &[char]| {
            let rules = self.rules.difference(cited).filter(|rule| !exempt.contains(&rule.0));
            rules.copied().map(name_of).collect()
        };
        Findings {
            rules: self.rules.len(),
            without_code: missing(&self.in_code, &['E', 'X']),
            without_test: missing(&self.in_tests, &['X']),
            unknown: self.unknown.clone(),
        }
    }
}

fn letter(text: &str) -> Option<char> {
    text.chars().next()
}

/// The name of a rule as the specification writes it: examples have two digits.
fn name_of((chapter, number): Rule) -> String {
    if chapter == 'E' { format!("{chapter}{number:02}") } else { format!("{chapter}{number}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECIFICATION: &str = "- **R1** one\n- **R2** two\n- **R3** three\n- **X1** version\n**E01** example\nsee R9 in running text";
    const CODE: Kind = Kind { is_test: false, only_where_rules_are_named: false };
    const TEST: Kind = Kind { is_test: true, only_where_rules_are_named: false };

    fn findings(files: &[(&str, Kind, &str)]) -> Findings {
        let mut citations = Citations::new(SPECIFICATION).unwrap();
        for (name, kind, text) in files {
            citations.read(name, *kind, text);
        }
        citations.findings()
    }

    #[test]
    fn what_is_cited_on_both_sides_is_clean() {
        let found = findings(&[("a.rs", CODE, "// rules R1 to R3"), ("t.rs", TEST, "// R1, R2\n// R3 (E01)")]);
        assert!(found.is_clean(), "{found:?}");
        assert_eq!(found.rules, 5);
    }

    #[test]
    fn a_rule_without_code_or_test_is_named() {
        let found = findings(&[("a.rs", CODE, "/// R1–R2"), ("t.rs", TEST, "// E01 R1")]);
        assert_eq!(found.without_code, ["R3"]);
        assert_eq!(found.without_test, ["R2", "R3"]);
        assert!(!found.is_clean());
    }

    #[test]
    fn a_citation_of_nothing_is_named_with_its_place() {
        let found = findings(&[("a.rs", CODE, "// R1-R3\n// rule R7 and G5")]);
        assert_eq!(found.unknown, ["a.rs:2: R7"]);
    }

    #[test]
    fn unit_tests_inside_a_file_are_tests() {
        let found = findings(&[("a.rs", CODE, "// R1 R2 R3\n#[cfg(test)]\nmod tests { // R1 R2 R3 E01\n}")]);
        assert!(found.is_clean(), "{found:?}");
    }

    #[test]
    fn registers_in_the_kernel_are_no_citations() {
        let kernel = Kind { is_test: false, only_where_rules_are_named: true };
        let found = findings(&[("k.rs", kernel, "// saves R15 and R1\n// rule R2")]);
        assert_eq!(found.unknown, Vec::<String>::new());
        assert_eq!(found.without_code, ["R1", "R3"]);
    }

    #[test]
    fn longer_words_are_no_citations() {
        let found = findings(&[("a.rs", CODE, "XR1 R1x E820 R123")]);
        assert_eq!((found.unknown.len(), found.without_code.len()), (0, 3));
    }
}
