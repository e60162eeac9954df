//! Scenarios: what a user does with tcpshift on a plain host, each with one verdict. They are tried inside virtual machines
//! of other kernels, and on the kernel of whoever works on tcpshift.
//!
//! The table is data: a kind is a body and the datapaths and families it is tried with, each of which is a row with a name
//! of its own. A body panics with the reason when something is not as it should be. Rows of one [`Session`] have a world and an
//! agent in common as long as they are right, since an emulated machine takes seconds to load the programs of each agent;
//! each leaves the agent without objects, and one that is wrong leaves the next one a fresh world. What a kernel
//! refuses is refused when the agent starts or a route is applied, so no body waits for a datapath that the agent has
//! already said it cannot have. Numbers are small enough for an emulated machine; all waiting goes by
//! `TCPSHIFT_PATIENCE` (see [`crate::until`]), and time is judged only where a promise names it.

mod bytes;
mod case;
mod change;
mod location;
mod machine;
mod shown;
mod walk;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::Value;

use crate::world::World;

use self::case::Case;

/// Programs of this workspace that scenarios start. They are looked for beside the one that runs.
pub const PROGRAMS: [&str; 4] = ["scenarios", "tcpshift-agent", "tcp-echo", "tcp-ask"];

/// Programs of the system that scenarios start, found by `PATH`, none of them busybox's: its `sh` and `nsenter` start its own
/// `setpriv` and `ip` instead of those in `PATH`, which have no `--pdeathsig` and no `nodad`.
pub const TOOLS: [&str; 7] = ["ip", "setpriv", "bpftool", "sh", "sleep", "unshare", "nsenter"];

/// Modules of the kernel that have to be there, with those they depend on, or built in.
pub const MODULES: [&str; 4] = ["inet_diag", "tcp_diag", "veth", "8021q"];

/// The most bytes of a message, whose middle is left out, and of the log lines behind it.
const MESSAGE: usize = 1_500;
const LOG: usize = 500;

/// How connections reach their endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The agent carries them.
    Proxy,
    /// The kernel hands them to the endpoint's socket.
    Lookup,
    /// The kernel points clients at the endpoint.
    Connect,
}

impl Way {
    /// As `status` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Lookup => "lookup",
            Self::Connect => "connect",
        }
    }

    fn session(self) -> Session {
        if self == Self::Proxy { Session::Carried } else { Session::Steered }
    }
}

/// The family of clients and endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// All datapaths.
const ALL: &[Way] = &[Way::Proxy, Way::Lookup, Way::Connect];

/// Several rows of one body.
struct Kind {
    name: &'static str,
    what: &'static str,
    body: Body,
}

/// Rows that have an agent in common, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Session {
    /// Nothing: each has a world of its own.
    Alone,
    /// An agent that carries, and whose connections the kernel has to assign.
    Assigned,
    /// An agent that carries.
    Carried,
    /// An agent that steers clients of the world's control group.
    Steered,
}

/// With what a body is tried.
enum Body {
    /// As it is.
    Once(Session, fn(&Case<'_>) -> Verdict),
    /// By some datapaths, over IPv4.
    By(&'static [Way], fn(&Case<'_>) -> Verdict),
    /// By some datapaths, over each family.
    Over(&'static [Way], fn(&Case<'_>) -> Verdict),
}

/// The table.
const KINDS: &[Kind] = &[
    Kind {
        name: "doctor",
        what: "doctor finds that all programs load and work",
        body: Body::Once(Session::Alone, machine::doctor),
    },
    Kind {
        name: "doctor short",
        what: "doctor says it in at most 60 lines and 10 s, whatever it is",
        body: Body::Once(Session::Alone, machine::short),
    },
    Kind {
        name: "auto",
        what: "an agent without options has its first connection answered within 10 s of its start",
        body: Body::Once(Session::Alone, machine::auto),
    },
    Kind {
        name: "assign",
        what: "with --assign kernel, the kernel decides for every connection that the agent carries",
        body: Body::Once(Session::Assigned, machine::assign),
    },
    Kind {
        name: "map",
        what: "bpftool shows the weights and slots of the plan, before and after edits",
        body: Body::Once(Session::Assigned, shown::map),
    },
    Kind {
        name: "unload",
        what: "unload removes what an agent leaves that ended by kill -9",
        body: Body::Once(Session::Assigned, machine::unload),
    },
    Kind {
        name: "walk",
        what: "all to v1, a fifth to v2, all to v2, then deleted and refused",
        body: Body::Over(ALL, walk::walk),
    },
    Kind {
        name: "bytes",
        what: "random streams both ways with half-close arrive whole, and steered ones are counted to the byte",
        body: Body::Over(ALL, bytes::bytes),
    },
    Kind {
        name: "edits",
        what: "live connections do not feel edits, and each new one is answered",
        body: Body::By(ALL, change::edits),
    },
    Kind {
        name: "neighbour",
        what: "clients of another namespace, at the other end of a veth and in a VLAN on it",
        body: Body::By(&[Way::Proxy, Way::Lookup], location::neighbour),
    },
    Kind {
        name: "everywhere",
        what: "endpoints that listen at [::] for both families: IPv4 clients are handed over, IPv6 clients carried",
        body: Body::Once(Session::Steered, location::everywhere),
    },
    Kind {
        name: "refused",
        what: "the share of a version that cannot be reached is refused at once, the rest is served",
        body: Body::By(&[Way::Lookup, Way::Connect], location::refused),
    },
    Kind {
        name: "kill",
        what: "kill -9 in the midst of edits: steered clients do not feel it, the next agent has all that was acknowledged",
        body: Body::By(&[Way::Proxy, Way::Connect], change::kill),
    },
    Kind {
        name: "takeover",
        what: "another agent takes over: live connections go on, no new one is refused",
        body: Body::By(&[Way::Proxy, Way::Lookup], change::takeover),
    },
    Kind {
        name: "sigterm",
        what: "after SIGTERM nothing is pinned or attached, and the port is closed",
        body: Body::By(&[Way::Proxy, Way::Lookup], change::sigterm),
    },
];

/// A row of the table.
pub struct Scenario {
    /// As `walk lookup v6`.
    pub name: String,
    /// What is tried, in a line.
    pub what: &'static str,
    /// With which other rows it has its agent in common.
    pub session: Session,
    kind: &'static Kind,
    way: Way,
    family: Family,
}

/// What a scenario comes to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether everything was as it should be.
    pub right: bool,
    /// What was measured; or the reason, in at most 2,000 bytes.
    pub said: String,
    /// What `doctor -o json` printed, untouched.
    pub doctor: Option<Value>,
}

impl Verdict {
    fn right(said: impl Into<String>) -> Self {
        Self { right: true, said: said.into(), doctor: None }
    }

    fn wrong(said: impl Into<String>) -> Self {
        Self { right: false, said: said.into(), doctor: None }
    }
}

/// All rows, in the order in which they are tried.
pub fn all() -> Vec<Scenario> {
    let mut rows = Vec::new();
    for kind in KINDS {
        let mut push = |name: String, session, way, family| {
            rows.push(Scenario { name, what: kind.what, session, kind, way, family });
        };
        match kind.body {
            Body::Once(session, _) => push(kind.name.to_owned(), session, Way::Proxy, Family::V4),
            Body::By(ways, _) => {
                for way in ways {
                    push(format!("{} {}", kind.name, way.name()), way.session(), *way, Family::V4);
                }
            }
            Body::Over(ways, _) => {
                for way in ways {
                    push(format!("{} {} v4", kind.name, way.name()), way.session(), *way, Family::V4);
                    push(format!("{} {} v6", kind.name, way.name()), way.session(), *way, Family::V6);
                }
            }
        }
    }
    rows.sort_by_key(|row| row.session);
    rows
}

/// Tries rows of one session, and tells what each comes to as soon as it is known.
pub fn attempt(rows: &[Scenario], mut tell: impl FnMut(&Scenario, &Verdict) + Send) {
    let mut left = rows;
    while !left.is_empty() {
        // The namespaces of a world are those of its thread, and end with it.
        let tried = std::thread::scope(|scope| scope.spawn(|| in_one_world(left, &mut tell)).join());
        left = &left[tried.unwrap_or(1)..];
    }
}

/// Tries rows until one is wrong, and says how many that were, which is one at least.
fn in_one_world(rows: &[Scenario], tell: &mut impl FnMut(&Scenario, &Verdict)) -> usize {
    let mut tried = 0;
    let done = caught(|| {
        let world = World::new();
        let mut case = Case::new(&world);
        for row in rows {
            (case.way, case.family) = (row.way, row.family);
            case.session = row.session;
            let found = caught(|| row.run(&case)).unwrap_or_else(|why| {
                let log = logs(&world.path(""));
                // An agent that ended at start has its log in the message.
                let last = log.lines().last().unwrap_or_default();
                let log = if why.contains(last) { "" } else { &log };
                Verdict::wrong(bounded(&why, MESSAGE) + log)
            });
            tried += 1;
            tell(row, &found);
            if !found.right || row.session == Session::Alone {
                return;
            }
        }
    });
    if let (Err(why), 0) = (done, tried) {
        tell(&rows[0], &Verdict::wrong(bounded(&why, MESSAGE)));
    }
    tried.max(1)
}

impl Scenario {
    fn run(&self, case: &Case<'_>) -> Verdict {
        match self.kind.body {
            Body::Once(_, body) | Body::By(_, body) | Body::Over(_, body) => body(case),
        }
    }
}

/// What a function panics with, if it does.
fn caught<T>(function: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".to_owned())
    })
}

/// A text, or its beginning and its end where it is longer than so many bytes.
fn bounded(text: &str, most: usize) -> String {
    let text = text.trim();
    if text.len() <= most {
        return text.to_owned();
    }
    let (mut begin, mut end) = (most / 3, text.len() - most * 2 / 3);
    while !text.is_char_boundary(begin) {
        begin -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    format!("{} […] {}", &text[..begin], &text[end..])
}

/// The last lines on standard error of every process that has its files in a folder, or in a folder in it.
pub fn logs(folder: &Path) -> String {
    let mut found = BTreeMap::new();
    collect(folder, 1, &mut found);
    let each = LOG / found.len().max(1);
    let mut text = String::new();
    for (name, log) in found {
        let from = (log.len().saturating_sub(each)..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or_default();
        text = format!("{text}\n{name}: {}", &log[from..]);
    }
    text
}

fn collect(folder: &Path, deep: u32, found: &mut BTreeMap<String, String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && deep > 0 {
            collect(&path, deep - 1, found);
        } else if let Some(name) = name.strip_suffix(".stderr") {
            let log = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).trim().to_owned();
            if !log.is_empty() {
                found.insert(name.to_owned(), log);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_one_line_says_what_is_tried() {
        let rows = all();
        let mut names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        assert!(names.contains(&"walk lookup v6") && names.contains(&"kill proxy") && names.contains(&"doctor"));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(rows.iter().all(|row| !row.what.contains('\n') && row.name.len() <= 20));
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        let text = format!("first {}é last", "é".repeat(5_000));
        let short = bounded(&text, 100);
        assert!(short.len() < 120 && short.starts_with("first ") && short.ends_with(" last"), "{short}");
        assert_eq!(bounded(" all \n", 100), "all");
    }
}
