//! The scenarios: one file each, and this list. A scenario draws its parameters and answers with a plan.

mod bad_edit;
mod catalogue_reader;
mod connect_flood;
mod few_children;
mod filling_log;
mod mail_dictionary;
mod many_workers;
mod parts;
mod runaway_client;
mod shared_link;
mod slow_readers;
mod ssh_dictionary;
mod stack;
mod stolen_form;
mod table_lock;
mod xmlrpc_flood;

use crate::LabError;
use crate::params::{Draw, Params};
use crate::plan::Plan;

/// One incident that really happened, to be brought about again.
pub struct Scenario {
    /// Kebab-case, as on the command line.
    pub id: &'static str,
    /// One sentence.
    pub about: &'static str,
    draw: fn(&mut Draw) -> Result<Plan, LabError>,
}

/// All of them.
pub static ALL: &[Scenario] = &[
    connect_flood::SCENARIO,
    xmlrpc_flood::SCENARIO,
    filling_log::SCENARIO,
    bad_edit::SCENARIO,
    runaway_client::SCENARIO,
    shared_link::SCENARIO,
    table_lock::SCENARIO,
    catalogue_reader::SCENARIO,
    few_children::SCENARIO,
    many_workers::SCENARIO,
    slow_readers::SCENARIO,
    mail_dictionary::SCENARIO,
    ssh_dictionary::DICTIONARY,
    ssh_dictionary::CROWD,
    stolen_form::SCENARIO,
];

pub(crate) fn find(id: &str) -> Result<&'static Scenario, LabError> {
    ALL.iter().find(|scenario| scenario.id == id).ok_or_else(|| {
        let known = ALL.iter().map(|scenario| scenario.id).collect::<Vec<_>>().join(", ");
        LabError::Usage(format!("no scenario {id}; there are {known}"))
    })
}

/// Draws everything that `params` leave open.
pub(crate) fn plan(scenario: &Scenario, params: &Params) -> Result<Plan, LabError> {
    let mut draw = Draw::new(params);
    let mut plan = (scenario.draw)(&mut draw)?;
    plan.truth.scenario = scenario.id.to_owned();
    plan.truth.seed = params.seed;
    plan.truth.parameters = draw.finish()?;
    if let Some(crowd) = &plan.clients.crowd {
        plan.truth.clients.prefixes.extend(&crowd.prefixes);
        plan.truth.clients.addresses.extend(&crowd.addresses);
    }
    if plan.attack.sources.is_empty() {
        plan.truth.attackers.prefixes.clear();
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_kebab_case() {
        for (n, scenario) in ALL.iter().enumerate() {
            assert!(scenario.id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", scenario.id);
            assert!(!ALL[..n].iter().any(|other| other.id == scenario.id), "{}", scenario.id);
            assert!(!scenario.about.is_empty());
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_parties_never_overlap() {
        for scenario in ALL {
            for seed in 0..20 {
                let plan = plan(scenario, &Params::new(seed)).unwrap();
                assert_eq!(plan.truth, super::plan(scenario, &Params::new(seed)).unwrap().truth);
                let truth = &plan.truth;
                for prefix in &truth.attackers.prefixes {
                    assert!(!truth.clients.prefixes.contains(prefix));
                    assert!(!prefix.contains(&truth.admin) && !truth.lan.contains(&prefix.addr()));
                    assert!(truth.attackers.addresses.iter().any(|address| prefix.contains(address)));
                }
                assert_eq!(plan.attack.sources.len() as u64, truth.attackers.connections);
            }
        }
    }
}
