//! The agent's processes and what each may do, for `toban status`.

use serde::Serialize;
use toban_model::Lang;

use crate::layout::{Style, Table, Tone};
use crate::words;

/// What a process of the agent is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and judges.
    Watch,
    /// Changes the host.
    Acting,
}

/// One process of the agent and what the kernel lets it do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// What it is for.
    pub role: Role,
    /// Its number.
    pub pid: u32,
    /// Its user's number; 0 is root.
    pub uid: u32,
    /// The capabilities in effect, as `cap_net_admin` (capabilities(7)).
    pub capabilities: Vec<String>,
    /// It can never gain a right again.
    pub no_new_privileges: bool,
    /// Some system calls are refused to it.
    pub calls_filtered: bool,
}

pub(crate) fn print(out: &mut String, agent: &[Process], lang: Lang, style: Style) {
    if agent.is_empty() {
        return;
    }
    out.push('\n');
    let mut table = Table::new(2, &[]);
    for process in agent {
        let role = match process.role {
            Role::Watch => &words::WATCHING,
            Role::Acting => &words::ACTING,
        };
        let mut held = match process.capabilities.as_slice() {
            [] => words::NO_CAPABILITY.lang(lang).to_owned(),
            some => some.join(" "),
        };
        for (is, word) in [
            (process.no_new_privileges, &words::NO_NEW_PRIVILEGES),
            (process.calls_filtered, &words::CALLS_FILTERED),
        ] {
            if is {
                held.push_str(" · ");
                held.push_str(word.lang(lang));
            }
        }
        let who = format!("pid {} · uid {}", process.pid, process.uid);
        table.row(Tone::Plain, [role.lang(lang).to_owned(), who, held]);
    }
    table.print(out, style);
}
