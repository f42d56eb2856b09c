//! Mount tables as text, in the notation of the spec's examples (chapter 16).

use graft::memory_vfs::MemoryVfs;
use graft::views::MountRecord;
use graft::{Forest, MountId};

use super::{Task, World};

impl Task {
    /// What the task's namespace holds below `/x`, in the notation of chapter 16.
    pub fn table(&self) -> String {
        let mut world = self.world.0.borrow_mut();
        world.table(self.index)
    }

    /// The namespaces of all tasks: `[A] … [B] …` where there are several.
    pub fn tables(&self) -> String {
        let mut world = self.world.0.borrow_mut();
        let living: Vec<usize> = (0..world.tasks.len()).filter(|&index| !world.tasks[index].is_gone).collect();
        if let [only] = living[..] {
            let table = world.table(only);
            return if table.is_empty() { "(nothing)".to_string() } else { table };
        }
        let named = living.into_iter().map(|index| {
            let table = world.table(index);
            format!("[{}] {table}", world.tasks[index].name).trim_end().to_string()
        });
        named.collect::<Vec<_>>().join("; ")
    }

    /// The task's mountinfo, as it reads it.
    pub fn mountinfo(&self) -> String {
        self.view(graft::views::Table::Mountinfo)
    }

    pub fn view(&self, table: graft::views::Table) -> String {
        let world = self.world.read();
        let task = &world.tasks[self.index];
        let mut text = Vec::new();
        world.forest.write_table(table, task.namespace, &task.root, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

impl World {
    fn table(&mut self, index: usize) -> String {
        let mut entries = Vec::new();
        let root = self.forest.namespace_root(self.tasks[index].namespace).unwrap();
        self.list(index, root, String::new(), &mut entries);
        entries.join("; ")
    }

    /// Lists a mount and those on it: siblings by path, those on one path in order of attachment.
    fn list(&mut self, index: usize, mount: MountId, carets: String, entries: &mut Vec<String>) {
        let path = self.path_of(index, mount);
        // The setting itself is not shown.
        if let Some(shown) = path.strip_prefix("/x/") {
            let facts = self.facts(index, mount);
            entries.push(format!("{carets}{shown}={facts}"));
        }
        let mut children: Vec<(String, MountId)> =
            self.forest.children_of(mount).map(|child| (self.path_of(index, child), child)).collect();
        children.sort_by(|one, other| one.0.cmp(&other.0));
        for (child_path, child) in children {
            let carets = if child_path == path { format!("{carets}^") } else { String::new() };
            self.list(index, child, carets, entries);
        }
    }

    fn path_of(&self, index: usize, mount: MountId) -> String {
        let place = graft::Place::new(mount, *self.forest.root(mount).unwrap());
        let mut path = Vec::new();
        self.forest.append_path(&place, &self.tasks[index].root, &mut path).unwrap();
        String::from_utf8(path).unwrap()
    }

    fn facts(&mut self, index: usize, mount: MountId) -> String {
        let record = self.forest.record(mount, &self.tasks[index].root).unwrap();
        let mut facts = source_and_root(&self.forest, &record);
        let is_unbindable = record.is_unbindable;
        let from = record.propagate_from;
        let groups = [('S', self.forest.group(mount)), ('M', self.forest.master(mount))];
        for (letter, group) in groups {
            if let Some(group) = group {
                facts.push_str(&format!(" {letter}{}", self.label(group)));
            }
        }
        if let Some(number) = from {
            let labels = &self.labels;
            let labelled = labels.iter().position(|&group| self.forest.group_number(group) == Some(number));
            facts.push_str(&format!(" from{}", labelled.unwrap() + 1));
        }
        if is_unbindable {
            facts.push_str(" unbindable");
        }
        facts
    }

    /// Groups are numbered in order of appearance.
    fn label(&mut self, group: graft::GroupId) -> usize {
        let known = self.labels.iter().position(|&labelled| labelled == group);
        known.unwrap_or_else(|| {
            self.labels.push(group);
            self.labels.len() - 1
        }) + 1
    }
}

fn source_and_root(forest: &Forest<MemoryVfs>, record: &MountRecord<'_, MemoryVfs>) -> String {
    let mut text = record.source.map_or(b"none".to_vec(), |source| source.to_vec());
    let mut root = Vec::new();
    forest.write_root(record.root, &mut root).unwrap();
    if root != b"/" {
        text.push(b':');
        text.extend(root);
    }
    String::from_utf8(text).unwrap()
}
