//! The user's own commands on an event, as the acting process runs them: beside its work, and only some at one time.

use std::sync::mpsc::{Receiver, Sender, channel};

use serde::{Deserialize, Serialize};
use toban_respond::hook;

use crate::config;

/// More at one time are left out, and that is said: a hook that takes long must not become a pile of itself.
const AT_ONCE: usize = 4;
/// What happened, in bytes.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// What a hook can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event {
    /// An incident began: what `toban why --json` says.
    Finding,
    /// Something was done, or taken back: what `toban actions --json` says.
    Action,
    /// An incident is over: what `toban incidents --json` says.
    Recovery,
}

impl Event {
    pub(crate) fn id(self) -> &'static str {
        match self {
            Event::Finding => "finding",
            Event::Action => "action",
            Event::Recovery => "recovery",
        }
    }

    /// The user's command for it; empty if there is none.
    pub(crate) fn command(self, hooks: &config::Hooks) -> &[String] {
        match self {
            Event::Finding => &hooks.finding,
            Event::Action => &hooks.action,
            Event::Recovery => &hooks.recovery,
        }
    }
}

/// Hooks at work.
pub(crate) struct Hooks {
    said: (Sender<String>, Receiver<String>),
    running: usize,
}

impl Hooks {
    pub(crate) fn new() -> Hooks {
        Hooks { said: channel(), running: 0 }
    }

    /// Starts the command for an event, in a thread that waits for it.
    pub(crate) fn start(
        &mut self,
        settings: &config::Hooks,
        event: Event,
        json: String,
    ) -> Result<(), String> {
        let words = event.command(settings).to_vec();
        let id = event.id();
        if words.is_empty() || json.len() > EVENT_BYTES_MAX {
            return Err(format!("there is no hook for this {id}"));
        }
        if self.running >= AT_ONCE {
            return Err(format!("{AT_ONCE} hooks are still running; the one for this {id} is left out"));
        }
        let (limit, said) = (settings.timeout, self.said.0.clone());
        let waits = move || {
            let words = match hook::run(&words, id, json.as_bytes(), limit) {
                Ok(said) if said.is_empty() => format!("hook for {id}: done"),
                Ok(said) => format!("hook for {id}: {said}"),
                Err(error) => format!("hook for {id}: {error}"),
            };
            drop(said.send(words));
        };
        std::thread::Builder::new()
            .name("toban-hook".into())
            .spawn(waits)
            .map_err(|error| error.to_string())?;
        self.running += 1;
        Ok(())
    }

    /// What those said that have ended since it was last asked.
    pub(crate) fn ended(&mut self) -> Vec<String> {
        let said: Vec<String> = self.said.1.try_iter().collect();
        self.running -= said.len();
        said
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn hooks_run_beside_each_other_and_not_in_any_number() {
        let sleeps = ["/bin/sh", "-c", "cat; sleep 0.5"].map(str::to_owned).to_vec();
        let settings = config::Hooks { action: sleeps, ..config::Hooks::default() };
        let mut hooks = Hooks::new();
        assert!(hooks.start(&settings, Event::Recovery, "{}".into()).unwrap_err().contains("no hook"));
        for n in 0..AT_ONCE {
            hooks.start(&settings, Event::Action, n.to_string()).unwrap();
        }
        assert!(hooks.start(&settings, Event::Action, "{}".into()).unwrap_err().contains("left out"));
        let (mut said, until) = (Vec::new(), Instant::now() + Duration::from_secs(30));
        while said.len() < AT_ONCE && Instant::now() < until {
            said.extend(hooks.ended());
            std::thread::sleep(Duration::from_millis(20));
        }
        said.sort();
        assert_eq!(
            said,
            ["hook for action: 0", "hook for action: 1", "hook for action: 2", "hook for action: 3"]
        );
        hooks.start(&settings, Event::Action, "again".into()).unwrap();
    }
}
