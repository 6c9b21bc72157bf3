//! The list of detectors: each turns a closed window into symptoms of one kind.

mod errors;
mod exhausted;
mod fall;
mod oom_kill;
mod vitals;

use toban_model::{Situation, Symptom, Text};

/// A filled-in form: what is seen, in words, and how.
#[derive(Debug)]
pub struct Detector {
    /// Its id, kebab-case, its file's name.
    pub id: &'static str,
    /// What it sees.
    pub about: Text,
    detect: fn(&Situation) -> Vec<Symptom>,
}

/// All detectors.
pub static ALL: &[Detector] =
    &[exhausted::DETECTOR, oom_kill::DETECTOR, fall::DETECTOR, errors::DETECTOR, vitals::DETECTOR];

/// The symptoms of a situation, oldest first.
pub fn symptoms(situation: &Situation) -> Vec<Symptom> {
    let mut all: Vec<Symptom> = ALL.iter().flat_map(|d| (d.detect)(situation)).collect();
    all.sort_by_key(|s| s.since);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_folder() {
        let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/detectors"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "mod.rs")
            .map(|name| name.trim_end_matches(".rs").replace('_', "-"))
            .collect();
        files.sort();
        let mut ids: Vec<&str> = ALL.iter().map(|d| d.id).collect();
        ids.sort_unstable();
        assert_eq!(files, ids);
        for detector in ALL {
            assert!(!detector.about.en.is_empty() && !detector.about.ja.is_empty(), "{}", detector.id);
            assert_ne!(detector.about.en, detector.about.ja, "{}", detector.id);
        }
    }
}
