//! The seeds, and every input that once broke a promise, are fed to their targets as any other test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use toban_fuzz::targets::ALL;

/// What a seed's name begins with that was made of the formats' samples.
const MADE: &str = "sample-";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let file = |path: PathBuf| {
        let name = path.file_name().expect("it was listed").to_string_lossy().into_owned();
        (name, fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    entries.flatten().map(|entry| file(entry.path())).collect()
}

#[test]
fn no_kept_input_breaks_a_promise() {
    for target in ALL {
        for kept in ["seeds", "regressions"] {
            let folder = folder(kept).join(target.id);
            // A target that was never broken has nothing to remember.
            if kept == "regressions" && !folder.exists() {
                continue;
            }
            for (name, input) in files(&folder) {
                // The last line before a panic says what did it.
                println!("fuzz/{kept}/{}/{name}", target.id);
                (target.run)(&input);
            }
        }
        (target.run)(b"");
    }
}

#[test]
fn the_folders_are_the_list() {
    let ids: Vec<&str> = ALL.iter().map(|target| target.id).collect();
    for kept in ["seeds", "regressions"] {
        for entry in fs::read_dir(folder(kept)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            assert!(ids.iter().any(|id| name == *id), "fuzz/{kept}/{} is of no target", name.display());
        }
    }
    for id in ids {
        assert!(folder("src/targets").join(format!("{id}.rs")).exists(), "{id} is not named as its file");
    }
}

/// `cargo xtask fuzz --seeds` runs this one with `UPDATE_EXPECT=1`.
#[test]
fn the_seeds_are_those_of_the_samples() {
    let update = env::var_os("UPDATE_EXPECT").is_some();
    for target in ALL {
        let folder = folder("seeds").join(target.id);
        let made: BTreeMap<String, Vec<u8>> =
            (target.seeds)().into_iter().map(|(name, bytes)| (format!("{MADE}{name}"), bytes)).collect();
        if update {
            fs::create_dir_all(&folder).expect("the checkout can be written to");
            for name in files(&folder).into_keys().filter(|name| name.starts_with(MADE)) {
                fs::remove_file(folder.join(name)).expect("it was listed");
            }
            for (name, bytes) in &made {
                fs::write(folder.join(name), bytes).expect("the checkout can be written to");
            }
        }
        let mut kept = files(&folder);
        kept.retain(|name, _| name.starts_with(MADE));
        assert!(
            kept == made,
            "the seeds of {} are old; `cargo xtask fuzz --seeds` makes them anew",
            target.id
        );
    }
}
