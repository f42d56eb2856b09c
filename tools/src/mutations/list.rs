//! The list of mutations, in `test-suites/mutations`: a TOML file for each subject, an entry for each way to break the kernel, and the
//! packages whose tests are asked.

use crate::suites::{Suite, table::last_name};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// Where the list lies.
const FOLDER: &str = "test-suites/mutations";

/// One way to break the kernel on purpose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// What is wrong then, in a few words.
    pub name: String,
    /// The rules of `semantics.md` that it breaks; none where the behaviour is not graft's.
    #[serde(default)]
    pub rules: Vec<String>,
    /// The source file.
    pub file: String,
    /// What stands there, in exactly one place.
    pub old: String,
    /// What stands there instead.
    pub new: String,
    /// The tests that must fail then, without their modules.
    pub seen_by: Vec<String>,
    /// The name of the file that has it.
    #[serde(skip)]
    pub subject: String,
    /// The packages whose tests are asked.
    #[serde(skip)]
    pub packages: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// For all in it.
    packages: Vec<String>,
    mutation: Vec<Mutation>,
}

/// The whole list, file after file.
pub fn read(workspace: &Workspace) -> Result<Vec<Mutation>> {
    let folder = workspace.source(FOLDER);
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    let mut list = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let parsed: File = toml::from_str(&text).with_context(|| format!("{} is no list of mutations", file.display()))?;
        let subject = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let whole = |mutation| Mutation { subject: subject.clone(), packages: parsed.packages.clone(), ..mutation };
        list.extend(parsed.mutation.into_iter().map(whole));
    }
    Ok(list)
}

impl Mutation {
    /// Whether its name or its subject has this in it.
    pub fn matches(&self, filter: &str) -> bool {
        self.name.contains(filter) || self.subject.contains(filter)
    }

    /// The text of its file with the mutation in it.
    ///
    /// Fails if what it replaces does not stand there in exactly one place.
    pub fn applied_to(&self, text: &str) -> Result<String> {
        let places = text.matches(&self.old).count();
        anyhow::ensure!(places == 1, "{:?}: what it replaces is in {places} places of {}", self.name, self.file);
        anyhow::ensure!(self.old != self.new, "{:?} changes nothing", self.name);
        Ok(text.replacen(&self.old, &self.new, 1))
    }

    /// The text of its file below a root, with the mutation in it.
    pub fn read_applied(&self, root: &Path) -> Result<String> {
        let file = root.join(&self.file);
        let text = std::fs::read_to_string(&file).with_context(|| format!("{:?}: cannot read {}", self.name, file.display()))?;
        self.applied_to(&text)
    }
}

/// What is wrong with the list, without running anything: mutations that no longer apply, tests that are not there, names given twice.
pub fn complaints(workspace: &Workspace, list: &[Mutation], suites: &[Suite]) -> Vec<String> {
    let tests: BTreeSet<&str> = suites.iter().flat_map(|suite| &suite.tests).map(|test| last_name(test)).collect();
    let mut names = BTreeSet::new();
    let mut complaints = Vec::new();
    for mutation in list {
        if let Err(error) = mutation.read_applied(workspace.root()) {
            complaints.push(format!("{error:#}"));
        }
        if !names.insert(&mutation.name) {
            complaints.push(format!("{:?} is there twice", mutation.name));
        }
        if mutation.seen_by.is_empty() {
            complaints.push(format!("{:?} names no test", mutation.name));
        }
        let packages = mutation.packages.iter().filter(|package| suites.iter().all(|suite| suite.package != **package));
        complaints.extend(packages.map(|package| format!("{:?} asks {package}, which has no suites", mutation.name)));
        let missing = mutation.seen_by.iter().filter(|test| !tests.contains(test.as_str()));
        complaints.extend(missing.map(|test| format!("{:?} names {test}, which no suite has", mutation.name)));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutation(old: &str, new: &str) -> Mutation {
        let [name, file, old, new] = ["m", "f", old, new].map(str::to_owned);
        let (subject, packages) = (String::new(), Vec::new());
        Mutation { name, rules: Vec::new(), file, old, new, seen_by: vec!["t".to_owned()], subject, packages }
    }

    #[test]
    fn a_mutation_applies_to_one_place_or_not_at_all() {
        assert_eq!(mutation("b", "x").applied_to("a b c").unwrap(), "a x c");
        assert!(mutation("d", "x").applied_to("a b c").is_err());
        assert!(mutation("b", "x").applied_to("b b").is_err());
        assert!(mutation("b", "b").applied_to("a b c").is_err());
    }

    #[test]
    fn the_list_can_be_read() {
        let list = read(&Workspace::find().unwrap()).unwrap();
        assert!(list.len() >= 40, "{}", list.len());
    }
}
