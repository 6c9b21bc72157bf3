//! Looks through the directories of a full file system for what takes its bytes and its inodes, those first in which
//! servers keep what grows, within a fixed time.

use std::collections::VecDeque;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use toban_model::{FileUse, Place, Time};

use super::space::{closed_file, place};
use crate::Root;

/// So much of a look goes into it.
const SEARCH_FOR: Duration = Duration::from_millis(2000);
/// Directories that are remembered; beyond them sums are of those.
const DIRECTORIES_MAX: usize = 65_536;
/// Of the files found, the largest.
const FILES_MAX: usize = 8;
/// A directory is named while one below it holds less than this part of it.
const MOST: f64 = 0.6;
/// Files whose owner is asked for.
const OWNERS_ASKED: usize = 64;
const DAY: Duration = Duration::from_secs(86_400);
/// What grows on a server grows below these, wherever their file system begins.
const USUAL_PLACES: &[&str] = &["/var", "/tmp", "/home", "/root", "/srv", "/opt", "/data", "/mnt", "/run"];

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) files: Vec<FileUse>,
    pub(super) bytes_in: Option<Place>,
    pub(super) inodes_in: Option<Place>,
}

#[derive(Default)]
struct Sum {
    entries: u64,
    bytes: u64,
    of_today: u64,
}

struct Directory {
    path: PathBuf,
    parent: usize,
    sum: Sum,
}

/// Searches a file system. Without `sizes` only entries are counted, which asks nothing of each file.
pub(super) fn search(root: &Root, mount: &Path, device: u64, sizes: bool, now: Time) -> Found {
    let until = Instant::now() + SEARCH_FOR;
    let mut all = vec![Directory { path: mount.to_owned(), parent: 0, sum: Sum::default() }];
    let (mut first, mut later) = (VecDeque::from([0]), VecDeque::new());
    let mut files: Vec<(u64, PathBuf, Metadata)> = Vec::new();
    let mut complete = true;
    while let Some(at) = first.pop_front().or_else(|| later.pop_front()) {
        let path = all[at].path.clone();
        let Ok(entries) = std::fs::read_dir(root.at(&path)) else { continue };
        for (n, entry) in entries.flatten().enumerate() {
            if n % 64 == 0 && Instant::now() > until {
                complete = false;
                break;
            }
            let Ok(kind) = entry.file_type() else { continue };
            all[at].sum.entries += 1;
            if kind.is_dir() {
                // What is mounted below is another file system.
                let same = entry.metadata().is_ok_and(|meta| meta.dev() == device);
                if same && all.len() < DIRECTORIES_MAX {
                    let path = path.join(entry.file_name());
                    let usual = USUAL_PLACES.iter().any(|place| path.starts_with(place));
                    let queue = if usual || !mount.as_os_str().eq("/") { &mut first } else { &mut later };
                    queue.push_back(all.len());
                    all.push(Directory { path, parent: at, sum: Sum::default() });
                }
            } else if sizes && kind.is_file() {
                let Ok(meta) = entry.metadata() else { continue };
                let bytes = meta.blocks().saturating_mul(512);
                let sum = &mut all[at].sum;
                sum.bytes += bytes;
                if now.since(Time::from_secs(meta.mtime())) < DAY {
                    sum.of_today += bytes;
                }
                let least = files.last().map_or(0, |file| file.0);
                if files.len() < FILES_MAX || bytes > least {
                    files.push((bytes, path.join(entry.file_name()), meta));
                    files.sort_by_key(|file| std::cmp::Reverse(file.0));
                    files.truncate(FILES_MAX);
                }
            }
        }
        if !complete {
            break;
        }
    }
    // A directory always stands after the one that it is in.
    for at in (1..all.len()).rev() {
        let Directory { parent, sum: Sum { entries, bytes, of_today }, .. } = all[at];
        let above = &mut all[parent].sum;
        above.entries += entries;
        above.bytes += bytes;
        above.of_today += of_today;
    }
    let told = |at: Option<usize>, share: f64| {
        let directory = &all[at?];
        let Sum { entries, bytes, of_today } = directory.sum;
        let user = user_of(root, &directory.path);
        Some(Place {
            entries,
            bytes,
            bytes_of_today: of_today,
            share,
            user,
            complete,
            ..place(&directory.path)
        })
    };
    let deepest = |of: fn(&Sum) -> u64| {
        let whole = of(&all[0].sum);
        let at = deepest(&all, of);
        told((whole > 0).then_some(at), of(&all[at].sum) as f64 / whole.max(1) as f64)
    };
    Found {
        bytes_in: if sizes { deepest(|sum| sum.bytes) } else { None },
        inodes_in: deepest(|sum| sum.entries),
        files: files.iter().map(|(_, path, meta)| closed_file(&root.at(path), path, meta)).collect(),
    }
}

/// Down from the top as long as one directory holds most of what is there.
fn deepest(all: &[Directory], of: fn(&Sum) -> u64) -> usize {
    let mut at = 0;
    loop {
        let here = of(&all[at].sum) as f64;
        let below = (1..all.len()).filter(|child| all[*child].parent == at);
        match below.max_by_key(|child| of(&all[*child].sum)) {
            Some(child) if of(&all[child].sum) as f64 >= MOST * here && here > 0.0 => at = child,
            _ => return at,
        }
    }
}

/// Whom most of a few files of a directory belong to, by `/etc/passwd`.
fn user_of(root: &Root, directory: &Path) -> Option<String> {
    let entries = std::fs::read_dir(root.at(directory)).ok()?;
    let uids: Vec<u32> =
        entries.flatten().take(OWNERS_ASKED).filter_map(|entry| Some(entry.metadata().ok()?.uid())).collect();
    let count = |uid: u32| uids.iter().filter(|other| **other == uid).count();
    let most = uids.iter().copied().max_by_key(|uid| count(*uid))?;
    if count(most) * 2 <= uids.len() {
        return None;
    }
    let passwd = root.read_config("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut words = line.split(':');
        let (name, uid) = (words.next()?, words.nth(1)?);
        (uid.parse() == Ok(most)).then(|| name.to_owned())
    })
}
