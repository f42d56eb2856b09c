//! What became of each mutation: kept in a file each, so that some can be run again, and shown in one table.

use super::list::Mutation;
use crate::suites::table::Case;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

/// Who saw a mutation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Whether the broken kernel can be built; if not, the mutation is no good.
    pub builds: bool,
    /// The guest tests that failed.
    pub failed: Vec<String>,
    /// How many did not run, since the kernel hung or panicked too often.
    pub not_run: usize,
    /// Graft's own tests that failed, if they were run.
    pub host_tests: Option<Vec<String>>,
}

impl Seen {
    /// The tests that should have seen the mutation and did not.
    pub fn unseen_by(&self, mutation: &Mutation) -> Vec<String> {
        mutation.seen_by.iter().filter(|test| !self.failed.contains(test)).cloned().collect()
    }

    /// A line for people.
    pub fn line(&self, mutation: &Mutation) -> String {
        let unseen = self.unseen_by(mutation);
        let word = if unseen.is_empty() { "seen  " } else { "UNSEEN" };
        let mut line = format!("{word} {}: {}", mutation.name, self.failed.join(" "));
        if !self.builds {
            line.push_str("it does not build");
        }
        if self.not_run > 0 {
            let _ = write!(line, " ({} did not run)", self.not_run);
        }
        if let Some(tests) = &self.host_tests {
            let _ = write!(line, "; on the host {}", tests.len());
        }
        if !unseen.is_empty() {
            let _ = write!(line, "; not by {}", unseen.join(" "));
        }
        line
    }
}

/// The file of a mutation's result.
fn file_of(workspace: &Workspace, mutation: &Mutation) -> Result<PathBuf> {
    let plain: String = mutation.name.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '-' }).collect();
    workspace.product(&format!("mutations/results/{plain}.json"))
}

/// Forgets the results of earlier runs.
pub(super) fn forget_all(workspace: &Workspace) -> Result<()> {
    let folder = workspace.folder("mutations/results")?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// Keeps a result.
pub(super) fn keep(workspace: &Workspace, mutation: &Mutation, result: &Seen) -> Result<()> {
    let file = file_of(workspace, mutation)?;
    std::fs::write(&file, serde_json::to_string(result)?).with_context(|| format!("cannot write {}", file.display()))
}

/// All mutations, each with its result if there is one.
pub(super) fn kept<'m>(workspace: &Workspace, list: &'m [Mutation]) -> Result<Vec<(&'m Mutation, Option<Seen>)>> {
    list.iter()
        .map(|mutation| {
            let file = file_of(workspace, mutation)?;
            if !file.is_file() {
                return Ok((mutation, None));
            }
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let result = serde_json::from_str(&text).with_context(|| format!("{} is no result", file.display()))?;
            Ok((mutation, Some(result)))
        })
        .collect()
}

/// The table, and which of the cases were never broken.
pub(super) fn markdown(results: &[(&Mutation, Option<Seen>)], cases: &[Case]) -> String {
    let mut text = "| what was broken | rules | guest tests that saw it | host tests |\n|---|---|---|---|\n".to_owned();
    let mut broken = BTreeSet::new();
    for (mutation, result) in results {
        let (tests, host) = match result {
            None => ("(not run)".to_owned(), String::new()),
            Some(result) => {
                broken.extend(&result.failed);
                let host = result.host_tests.as_ref().map_or(String::new(), |tests| tests.len().to_string());
                (result.failed.join(" "), host)
            }
        };
        let _ = writeln!(text, "| {} | {} | {tests} | {host} |", mutation.name, mutation.rules.join(" "));
    }
    let whole: Vec<&str> = cases.iter().map(|case| case.name.as_str()).filter(|name| !broken.contains(&(*name).to_owned())).collect();
    let _ = write!(text, "\n{} of {} cases were broken by some mutation.", cases.len() - whole.len(), cases.len());
    if !whole.is_empty() {
        let _ = write!(text, " Never broken: {}.", whole.join(" "));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutation(seen_by: &[&str]) -> Mutation {
        let [name, file, old, new] = ["binds are not recursive", "f", "a", "b"].map(str::to_owned);
        let (subject, packages) = (String::new(), Vec::new());
        let seen_by = seen_by.iter().map(|&test| test.to_owned()).collect();
        Mutation { name, rules: vec!["B3".to_owned()], file, old, new, seen_by, subject, packages }
    }

    #[test]
    fn a_mutation_is_seen_by_all_its_tests_or_not_seen() {
        let mutation = mutation(&["a", "b"]);
        let result = Seen { builds: true, failed: vec!["a".to_owned(), "c".to_owned()], ..Seen::default() };
        assert_eq!(result.unseen_by(&mutation), ["b"]);
        assert!(result.line(&mutation).starts_with("UNSEEN binds are not recursive: a c"));
        let result = Seen { failed: vec!["a".to_owned(), "b".to_owned()], ..result };
        assert!(result.line(&mutation).starts_with("seen "));
    }

    #[test]
    fn the_table_tells_the_cases_that_nothing_broke() {
        let mutation = mutation(&["a"]);
        let result = Seen { builds: true, failed: vec!["a".to_owned()], host_tests: Some(vec!["x".to_owned()]), ..Seen::default() };
        let case = |name: &str| Case { package: "mount".to_owned(), name: name.to_owned() };
        let text = markdown(&[(&mutation, Some(result))], &[case("a"), case("b")]);
        let expected = "| what was broken | rules | guest tests that saw it | host tests |\n|---|---|---|---|\n\
            | binds are not recursive | B3 | a | 1 |\n\n1 of 2 cases were broken by some mutation. Never broken: b.\n";
        assert_eq!(text, expected);
    }
}
