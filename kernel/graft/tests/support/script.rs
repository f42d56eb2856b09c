//! Runs an example in the notation of the spec's chapter 16: commands, errnos after `→`, and tables after `⇒`.

use std::collections::BTreeMap;

use graft::flags::PropagationType;

use super::{Outcome, Task, new_world};

/// Runs an example and compares every table and every errno that it states.
///
/// Lines: commands with `;` between them; `⇒` and the table expected; an indented line that a command printed; a remark in
/// parentheses. `B:` before a command runs it in that task.
pub fn run(example: &str) {
    let first = new_world();
    let mut tasks = BTreeMap::from([("A".to_string(), first.clone())]);
    let mut printed = Vec::new();
    for line in example.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(table) = line.trim().strip_prefix("⇒") {
            assert_eq!(first.tables(), table.trim(), "the table in\n{example}");
        } else if line.starts_with("  ") {
            assert_eq!(printed.remove(0), line.trim(), "the output in\n{example}");
        } else if !line.starts_with('(') {
            for step in line.split(';').map(str::trim) {
                run_step(&mut tasks, step, &mut printed, example);
            }
        }
    }
    assert!(printed.is_empty(), "output not stated: {printed:?} in\n{example}");
}

fn run_step(tasks: &mut BTreeMap<String, Task>, step: &str, printed: &mut Vec<String>, example: &str) {
    let (command, expected) = match step.split_once('→') {
        Some((command, expected)) => (command.trim(), expected.trim()),
        None => (step, "OK"),
    };
    if let Some(name) = command.strip_suffix(" = unshare") {
        let task = tasks["A"].unshare();
        tasks.insert(name.to_string(), task);
        return;
    }
    if let Some(name) = command.strip_suffix(" exit") {
        tasks.remove(name).expect("the task runs").exit();
        return;
    }
    let (name, command) = command.split_once(": ").unwrap_or(("A", command));
    let outcome = run_command(&tasks[name], command, printed);
    let errno = outcome.as_ref().map_or_else(|failure| failure.errno, |()| "OK");
    assert_eq!(errno, expected, "{step}: {outcome:?} in\n{example}");
}

/// Paths are below `/x`, but for absolute ones and those that start at the working directory.
fn absolute(path: &str) -> String {
    if path.starts_with('/') || path == "." || path.starts_with("./") { path.to_string() } else { format!("/x/{path}") }
}

fn run_command(task: &Task, command: &str, printed: &mut Vec<String>) -> Outcome {
    let words: Vec<&str> = command.split_whitespace().collect();
    let path = |index: usize| absolute(words[index]);
    match words[..] {
        ["mkdir", "-p", ref paths @ ..] => each(paths, |path| task.mkdir_all(path)),
        ["mkdir", ref paths @ ..] => each(paths, |path| task.mkdir(path)),
        ["touch", ref paths @ ..] => each(paths, |path| task.touch(path)),
        ["rmdir", _] => task.rmdir(&path(1)),
        ["mv", _, _] => task.rename(&path(1), &path(2)),
        ["cd", _] => task.chdir(&path(1)),
        ["tmpfs", name, _] => task.mount_tmpfs(name, &path(2)).map(drop),
        ["bind", _, _] => task.bind(&path(1), &path(2)).map(drop),
        ["rbind", _, _] => task.rbind(&path(1), &path(2)).map(drop),
        ["move", _, _] => task.move_mount(&path(1), &path(2)),
        ["beneath", _, _] => task.move_beneath(&path(1), &path(2)),
        ["set-group", _, _] => task.set_group(&path(1), &path(2)),
        ["umount", "-l", _] => task.umount_lazily(&path(2)),
        ["umount", _] => task.umount(&path(1)),
        ["open_tree", "-r", _, file] => task.open_tree(&path(2), true, file).map(drop),
        ["open_tree", _, file] => task.open_tree(&path(1), false, file).map(drop),
        ["attach", file, _] => task.attach(file, &path(2)),
        ["closefd", file] => {
            task.close_tree(file);
            Ok(())
        }
        ["hold", _] => task.hold(&path(1)),
        ["release"] => {
            task.release();
            Ok(())
        }
        ["ls", shown] => {
            printed.push(format!("ls {shown} {:?}", task.list(&path(1))).replace('"', "'"));
            Ok(())
        }
        ["fdtree", file, ref names @ ..] => {
            printed.extend(names.iter().map(|name| list_in_tree(task, file, name)));
            Ok(())
        }
        [change, _] => change_type(task, change, &path(1)),
        _ => panic!("no such command: {command}"),
    }
}

fn each(paths: &[&str], act: impl Fn(&str) -> Outcome) -> Outcome {
    paths.iter().try_for_each(|path| act(&absolute(path)))
}

fn change_type(task: &Task, command: &str, path: &str) -> Outcome {
    let (recursive, name) = match command.strip_prefix("make-").expect("a type change") {
        "rshared" => (true, "shared"),
        "rslave" => (true, "slave"),
        "rprivate" => (true, "private"),
        "runbindable" => (true, "unbindable"),
        name => (false, name),
    };
    let to = match name {
        "shared" => PropagationType::Shared,
        "slave" => PropagationType::Slave,
        "private" => PropagationType::Private,
        "unbindable" => PropagationType::Unbindable,
        _ => panic!("no such type: {command}"),
    };
    task.make(path, to, recursive)
}

/// One line of `fdtree`: whether a name in a detached tree is on another device than the tree's root, and what is in it.
fn list_in_tree(task: &Task, file: &str, name: &str) -> String {
    let world = task.world.read();
    let root = world.tree_place(file);
    let device = |place: &super::Place| *world.forest.superblock(place.mount).unwrap();
    let vfs = world.forest.vfs();
    let place = match name {
        "." => root.clone(),
        name => {
            let dentry = vfs.lookup(root.dentry, name).expect("the name is there");
            world.forest.top_of_stack(&super::Place::new(root.mount, dentry))
        }
    };
    let same = if device(&place) == device(&root) { "same" } else { "other" };
    let names: Vec<&str> = vfs.names(place.dentry).collect();
    format!("fd {file}/{name} dev={same} {names:?}").replace('"', "'")
}
