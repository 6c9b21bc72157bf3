//! The promises that the crates make to each other: who depends on whom, and what each of them never does.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

const MODEL: &str = "toban-model";

/// Every crate and the others of them that it depends on, beside `toban-model`.
const ARROWS: &[(&str, &[&str])] = &[
    (MODEL, &[]),
    ("toban-collect", &[]),
    ("toban-parse", &[]),
    ("toban-detect", &[]),
    ("toban-diagnose", &[]),
    ("toban-respond", &[]),
    ("toban-record", &[]),
    ("toban-views", &["toban-record"]),
    (
        "toban",
        &[
            "toban-collect",
            "toban-parse",
            "toban-detect",
            "toban-diagnose",
            "toban-respond",
            "toban-record",
            "toban-views",
        ],
    ),
];

/// Packages that no user gets.
const AROUND: &[&str] = &["toban-fuzz", "toban-lab", "xtask"];

/// Crates that are functions of what they are given: no clock.
const CLOCKLESS: &[&str] = &["parse", "detect", "diagnose"];

fn metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap()
}

fn dependencies(package: &Package, kind: DependencyKind) -> BTreeSet<&str> {
    package.dependencies.iter().filter(|d| d.kind == kind).map(|d| d.name.as_str()).collect()
}

#[test]
fn the_workspace_is_the_nine_crates_and_what_is_around_them() {
    let metadata = metadata();
    let found: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let promised = ARROWS.iter().map(|(name, _)| *name).chain(AROUND.iter().copied()).collect();
    assert_eq!(found, promised);
    for package in &metadata.packages {
        let folder = package.manifest_path.parent().unwrap();
        let name = package.name.strip_prefix("toban-").unwrap_or(&package.name);
        assert_eq!(folder.file_name(), Some(name), "{folder} is not named as its package");
    }
}

#[test]
fn crates_depend_on_each_other_as_promised() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut found = BTreeMap::new();
    for package in metadata.packages.iter().filter(|package| !AROUND.contains(&package.name.as_str())) {
        // What builds a crate is part of it as well.
        let mut on = dependencies(package, DependencyKind::Normal);
        on.extend(dependencies(package, DependencyKind::Build));
        found.insert(package.name.to_string(), on.intersection(&ours).copied().collect::<BTreeSet<_>>());
    }
    let promised = ARROWS.iter().map(|(name, others)| {
        let model = (*name != MODEL).then_some(MODEL);
        (name.to_string(), others.iter().copied().chain(model).collect())
    });
    assert_eq!(found, promised.collect());
}

#[test]
fn tests_reach_only_the_lab_beyond_that() {
    // A stage that names another one in its tests is no longer a stage that can be understood alone.
    for package in &metadata().packages {
        let Some((_, others)) = ARROWS.iter().find(|(name, _)| *name == package.name.as_str()) else {
            continue;
        };
        for name in dependencies(package, DependencyKind::Development) {
            let arrow = name == MODEL || others.contains(&name) || name == "toban-lab";
            let ours = name == "toban" || name.starts_with("toban-");
            assert!(arrow || !ours, "the tests of {} use {name}", package.name);
        }
    }
}

#[test]
fn libraries_have_errors_of_their_own() {
    for package in metadata().packages.iter().filter(|package| package.name != "toban") {
        if ARROWS.iter().any(|(name, _)| *name == package.name.as_str()) {
            let normal = dependencies(package, DependencyKind::Normal);
            assert!(!normal.contains("anyhow"), "{}: anyhow is for the binary", package.name);
        }
    }
}

#[test]
fn every_crate_takes_the_workspace_lints_and_those_forbid_unsafe() {
    let metadata = metadata();
    let workspace = fs::read_to_string(metadata.workspace_root.join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for package in &metadata.packages {
        // `forbid` cannot be loosened in the code, and cargo refuses other lints beside the workspace's. So a crate
        // that needs unsafe code leaves this line, and stands here with its reason.
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", package.manifest_path);
    }
}

#[test]
fn judgement_reads_no_clock() {
    let root = metadata().workspace_root;
    for name in CLOCKLESS {
        let file = root.join("crates").join(name).join("clippy.toml");
        let lints = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        for clock in ["std::time::SystemTime::now", "std::time::Instant::now"] {
            assert!(lints.contains(clock), "{file} does not forbid {clock}");
        }
    }
}
