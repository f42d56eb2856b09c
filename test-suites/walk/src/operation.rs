//! The steps of a walk, drawn from a seed or read from a script. A step's text is the script's line.

use std::fmt;
use std::str::FromStr;

/// Agents that a walk has at most.
pub(crate) const AGENTS: usize = 4;

/// Directories that each new tmpfs is given: enough that it can be anybody's root and most places exist on it.
pub(crate) const DIRECTORIES: [&str; 28] = [
    "s", "t", "u", "x", "y", "s/k", "s/s", "s/t", "s/s/k", "s/s/t", "t/s", "t/t", "t/s/k", "u/s", "u/t", "x/s", "x/t", "x/u", "x/s/k",
    "x/s/s", "x/s/t", "x/t/s", "x/t/t", "x/u/s", "x/u/t", "y/s", "x/s/s/k", "x/s/s/t",
];

/// Places that steps name: all exist on a tmpfs with [`DIRECTORIES`] mounted at the right places.
const PATHS: [&str; 21] = [
    "/x", "/x/s", "/x/t", "/x/u", "/x/s/k", "/x/s/s", "/x/s/t", "/x/t/s", "/x/t/t", "/x/t/s/k", "/x/s/s/k", "/x/u/s", "/x/u/t", "/x/s/s/t",
    "/y", "/y/s", ".", "s", "t", "..", "/",
];

/// What one agent does. The agent and its operands are words of the script's line; descriptors are named by their place in the
/// agent's list of open ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Who.
    pub agent: usize,
    /// What: the first word names the operation, operands follow.
    pub words: Vec<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.agent, self.words.join(" "))
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace().map(str::to_string);
        let agent = words.next().and_then(|word| word.parse().ok()).filter(|&agent| agent < AGENTS);
        let agent = agent.ok_or_else(|| format!("a step begins with an agent, 0 to {}: {line:?}", AGENTS - 1))?;
        Ok(Self { agent, words: words.collect() })
    }
}

/// Draws `count` steps from a seed. What is drawn depends on nothing but the seed, so that steps can be left out of a replay.
pub(crate) fn draw(seed: u64, count: usize) -> Vec<Step> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|number| draw_step(&mut random, number)).collect()
}

/// Steps at which the other agents appear: early, so that most of a walk has several namespaces, but not before there is something to copy.
const FORKS: [(usize, usize, usize); 3] = [(10, 0, 1), (30, 1, 2), (60, 2, 3)];

fn draw_step(random: &mut fastrand::Rng, number: usize) -> Step {
    if let Some(&(_, agent, child)) = FORKS.iter().find(|fork| fork.0 == number) {
        let how = ["mnt", "mnt", "user"][random.usize(..3)];
        return Step { agent, words: vec!["fork".into(), child.to_string(), how.into()] };
    }
    // Most steps go to the first two agents, so that their trees grow deep before others copy them.
    let agent = [0, 0, 0, 1, 1, 1, 2, 2, 3][random.usize(..9)];
    let mut path = || PATHS[random.usize(..PATHS.len())].to_string();
    let (first, second) = (path(), path());
    let word = |text: &str| text.to_string();
    let words = match random.usize(..100) {
        0..14 => vec![word("mount"), first, format!("t{number}")],
        14..21 => vec![word("bind"), first, second],
        21..28 => vec![word("rbind"), first, second],
        28..32 => vec![word("move"), first, second],
        32..34 => vec![word("beneath"), first, second],
        34..50 => {
            let kind = ["shared", "shared", "shared", "slave", "slave", "private", "unbindable"][random.usize(..7)];
            vec![word("type"), first, format!("{}{kind}", if random.u8(..5) < 2 { "r" } else { "" })]
        }
        50..64 => {
            let how = ["plain", "plain", "lazy", "lazy", "lazy", "expire", "nofollow"][random.usize(..7)];
            vec![word("umount"), first, word(how)]
        }
        64..66 => vec![word("mkdir"), first],
        66..69 => vec![word("rmdir"), first],
        69..70 => vec![word("rename"), first, second],
        70..72 => vec![word("pivot"), first, second],
        72..76 => vec![word("chdir"), first],
        76..77 => vec![word("chroot"), first],
        77..79 => vec![word("hold"), first],
        79..81 => vec![word("drop"), random.u8(..4).to_string()],
        81..84 => vec![word(if random.bool() { "open-tree" } else { "open-tree-rec" }), first],
        84..87 => vec![word("attach"), random.u8(..4).to_string(), first],
        87..89 => vec![word("set-group"), first, second],
        89..91 => vec![word("remount"), first, random.u8(..16).to_string()],
        91..94 => vec![word("bind-remount"), first, random.u8(..16).to_string()],
        94..96 => {
            let propagation = ["none", "none", "shared", "slave", "private", "unbindable"][random.usize(..6)];
            let recursive = if random.bool() { "rec" } else { "one" };
            vec![word("setattr"), first, random.u8(..16).to_string(), random.u8(..16).to_string(), word(propagation), word(recursive)]
        }
        96..98 => vec![word("fork"), random.usize(..AGENTS).to_string(), word(["mnt", "mnt", "user", "same"][random.usize(..4)])],
        98..99 => vec![word("setns"), random.usize(..AGENTS).to_string()],
        _ => vec![word("exit")],
    };
    Step { agent, words }
}
