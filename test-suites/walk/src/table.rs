//! A namespace's mountinfo with everything that may differ between two right kernels taken out: ids and device numbers become numbers in
//! order of appearance, lines stand by their place in the tree, and of the superblock's options only ro or rw stays.

use std::collections::HashMap;
use std::fmt::Write;

struct Line<'a> {
    id: &'a str,
    parent: &'a str,
    device: &'a str,
    root: &'a str,
    mountpoint: &'a str,
    options: &'a str,
    tags: Vec<&'a str>,
    kind: &'a str,
    source: &'a str,
    super_options: &'a str,
}

fn parse(line: &str) -> Option<Line<'_>> {
    let words: Vec<&str> = line.split(' ').collect();
    let dash = words.iter().position(|&word| word == "-")?;
    let [id, parent, device, root, mountpoint, options] = *words.get(..6)? else { return None };
    let [kind, source, super_options] = *words.get(dash + 1..)? else { return None };
    Some(Line { id, parent, device, root, mountpoint, options, tags: words.get(6..dash)?.to_vec(), kind, source, super_options })
}

/// Small numbers in order of appearance, shared by all tables of one step so that groups across namespaces can be compared.
#[derive(Default)]
pub(crate) struct Numbers(HashMap<String, usize>);

impl Numbers {
    fn of(&mut self, kind: char, name: &str) -> String {
        let next = self.0.keys().filter(|known| known.starts_with(kind)).count() + 1;
        let number = *self.0.entry(format!("{kind}{name}")).or_insert(next);
        format!("{kind}{number}")
    }
}

/// The table of one agent as normalised text; what cannot be parsed is shown as it is, so that it differs.
pub(crate) fn normalise(mountinfo: &str, numbers: &mut Numbers) -> String {
    let mut out = String::new();
    let mut lines = Vec::new();
    for line in mountinfo.lines() {
        match parse(line) {
            Some(parsed) => lines.push(parsed),
            None => {
                let _ = writeln!(out, "cannot be parsed: {line:?}");
            }
        }
    }
    // A mount whose parent is not listed (or is itself) begins a tree. Siblings stand by mountpoint, then by order in the file.
    let listed: Vec<&str> = lines.iter().map(|line| line.id).collect();
    let mut work: Vec<(usize, usize)> = Vec::new();
    let children = |of: Option<&str>| {
        let is_top = |line: &Line<'_>| line.parent == line.id || !listed.contains(&line.parent);
        let mut found: Vec<usize> = (0..lines.len())
            .filter(|&index| match of {
                Some(id) => lines[index].parent == id && lines[index].id != id,
                None => is_top(&lines[index]),
            })
            .collect();
        found.sort_by_key(|&index| lines[index].mountpoint);
        found
    };
    work.extend(children(None).into_iter().rev().map(|index| (index, 0)));
    while let Some((index, depth)) = work.pop() {
        write_line(&mut out, &lines[index], depth, numbers);
        work.extend(children(Some(lines[index].id)).into_iter().rev().map(|child| (child, depth + 1)));
    }
    out
}

fn write_line(out: &mut String, line: &Line<'_>, depth: usize, numbers: &mut Numbers) {
    let access = line.super_options.split(',').next().unwrap_or("");
    let device = numbers.of('d', line.device);
    let _ =
        write!(out, "  {:depth$}{} {device}:{} {} {access} {} {}", "", line.mountpoint, line.root, line.options, line.kind, line.source);
    for tag in &line.tags {
        match tag.split_once(':') {
            Some((name, group)) => {
                let group = numbers.of('g', group);
                let _ = write!(out, " {name}:{group}");
            }
            None => {
                let _ = write!(out, " {tag}");
            }
        }
    }
    out.push('\n');
}
