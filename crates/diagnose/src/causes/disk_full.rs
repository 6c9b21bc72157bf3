//! `disk-full`: a file system has no room left for ordinary users, or will have none within minutes.
//!
//! Needs: no free bytes (a disk that is nearly full and always was is none). Who did it is a file that was seen to
//! grow, one that is deleted and still open, or one that is written from front to end and takes much of the disk; a
//! database's file is large and old and open too, and is not named.

use std::time::Duration;

use toban_model::{Culprit, Evidence, FileUse, Filesystem, Text, Verdict};

use super::{Candidate, Cause, Judged, Needs};
use crate::holdings::{self, bytes, quoted, share, shown};
use crate::picture::Picture;
use crate::tell::evidence;

pub(super) const CAUSE: Cause = Cause {
    id: "disk-full",
    about: Text::fixed("a file system is full", "ファイルシステムに空き容量がありません"),
    rules_out: &["inode-exhaustion"],
    needs: Needs::Nothing,
    judge,
};

pub(super) const SAID: &[(&str, &str)] = &[("no-space", "No space left on device")];
/// A disk that will be full within so long, at a speed that has lasted, is worth a word.
const FULL_WITHIN_S: f64 = 1800.0;
/// Copies and backups burst: what fills a disk goes on.
const STEADY_S: f64 = 60.0;
/// Below this there is room enough for a job.
const FILLS_FROM: f64 = 0.85;
/// A file is named if it takes this part of what is used, or of what was seen to grow.
const MUCH: f64 = 0.2;
const GREW: f64 = 0.3;
/// A log that was not written for so long is not what fills.
const LATELY: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const NAMED_MAX: usize = 3;

fn judge(picture: &Picture<'_>) -> Judged {
    let full = holdings::exhausted(picture, "disk");
    if let Some((filesystem, resource, seen)) = full.first() {
        let culprits = blamed(picture, filesystem);
        let since = holdings::since(picture, SAID, *seen);
        return Judged::Is(Candidate {
            verdict: Verdict::Incident,
            confidence: if culprits.is_empty() { 0.9 } else { 0.97 },
            summary: summary(filesystem, &culprits),
            evidence: told(filesystem, &culprits),
            advice: advice(filesystem, &culprits),
            culprits: culprits.into_iter().map(|(_, culprit)| culprit).collect(),
            since: Some(since),
            resource: Some((*resource).clone()),
            effects: holdings::effects(picture, SAID, since),
            ..Candidate::default()
        });
    }
    let filesystems = &picture.situation.holdings.filesystems;
    let filling =
        filesystems.iter().filter_map(|filesystem| Some((full_in(picture, filesystem)?, filesystem)));
    if let Some((seconds, filesystem)) = filling.min_by(|a, b| a.0.total_cmp(&b.0)) {
        return Judged::Is(fills(picture, filesystem, seconds));
    }
    let fullest =
        filesystems.iter().filter(|filesystem| filesystem.size_bytes > 0).min_by_key(|f| f.free_bytes);
    match fullest {
        Some(Filesystem { mount, free_bytes, .. }) => {
            let free = bytes(*free_bytes as f64);
            Judged::Not(Text::new(
                format!("{free} are free on {mount}"),
                format!("{mount} には {free} の空きがあります"),
            ))
        }
        None => Judged::Unknown,
    }
}

/// In how many seconds it will be full, if it goes on as it did for a while.
fn full_in(picture: &Picture<'_>, filesystem: &Filesystem) -> Option<f64> {
    let Filesystem { used_bytes, size_bytes, free_bytes, growth_bytes_s, growing_s, .. } = *filesystem;
    let seconds = free_bytes as f64 / growth_bytes_s;
    let tight = growth_bytes_s > 0.0 && used_bytes as f64 >= FILLS_FROM * size_bytes as f64;
    // In two looks nothing lasts; but the file that grows may have a life of its own.
    let grower = grower(filesystem).and_then(|file| {
        let age = picture.situation.at.since(file.born?).as_secs_f64();
        let mean = file.bytes as f64 / age.max(1.0);
        (age >= STEADY_S && mean >= growth_bytes_s / 4.0).then_some(())
    });
    let lasts = growing_s >= STEADY_S || grower.is_some();
    (tight && lasts && seconds < FULL_WITHIN_S && filesystem.full_since.is_none()).then_some(seconds)
}

fn fills(picture: &Picture<'_>, filesystem: &Filesystem, seconds: f64) -> Candidate {
    let mount = shown(&filesystem.mount);
    let minutes = (seconds / 60.0).ceil().max(1.0);
    let rate = bytes(filesystem.growth_bytes_s);
    let free = bytes(filesystem.free_bytes as f64);
    let culprits = blamed(picture, filesystem);
    let (by_en, by_ja) = by(&culprits);
    Candidate {
        verdict: Verdict::Watch,
        confidence: 0.8,
        summary: Text::new(
            format!(
                "{mount} will be full in about {minutes:.0} min: {free} are free, and {rate} more are used every second.{by_en}"
            ),
            format!(
                "{mount} はあと約 {minutes:.0} 分で満杯になります。空きは {free} で、毎秒 {rate} ずつ増えています。{by_ja}"
            ),
        ),
        evidence: told(filesystem, &culprits),
        advice: advice(filesystem, &culprits),
        culprits: culprits.into_iter().map(|(_, culprit)| culprit).collect(),
        since: Some(picture.situation.at - Duration::from_secs_f64(filesystem.growing_s)),
        resource: holdings::resource(picture, &format!("disk:{}", filesystem.mount)).cloned(),
        ..Candidate::default()
    }
}

/// The file that most of what was seen to grow is in.
fn grower(filesystem: &Filesystem) -> Option<&FileUse> {
    let most = filesystem.files.iter().max_by_key(|file| file.grown_bytes)?;
    let all = filesystem.grown_bytes.max(most.grown_bytes) as f64;
    (most.grown_bytes > 0 && most.grown_bytes as f64 >= GREW * all).then_some(most)
}

/// The files that took the room, the greatest first.
fn blamed<'a>(picture: &Picture<'_>, filesystem: &'a Filesystem) -> Vec<(&'a FileUse, Culprit)> {
    let at = picture.situation.at;
    let used = filesystem.used_bytes.max(1) as f64;
    let mut named: Vec<(&FileUse, f64)> = Vec::new();
    // Seen to grow is better than any guess, if what grew is not just the last drop.
    let all =
        filesystem.files.iter().map(|file| file.grown_bytes).max().unwrap_or(0).max(filesystem.grown_bytes);
    if all as f64 >= 0.02 * used {
        let grew = |file: &&FileUse| file.grown_bytes as f64 >= GREW * all as f64;
        named.extend(filesystem.files.iter().filter(grew).map(|file| (file, share(file.bytes as f64, used))));
    }
    // Else what is being written or is only held; else what was made today.
    let open = |file: &FileUse| {
        file.deleted || file.writer.is_some() && file.appended && at.since(file.modified) <= LATELY
    };
    let new = |file: &FileUse| file.writer.is_none() && file.born.is_some_and(|born| at.since(born) <= DAY);
    let tiers: [&dyn Fn(&FileUse) -> bool; 2] = [&open, &new];
    for tier in tiers {
        if named.is_empty() {
            let large = filesystem.files.iter().filter(|file| file.bytes as f64 >= MUCH * used && tier(file));
            named.extend(large.map(|file| (file, share(file.bytes as f64, used))));
        }
    }
    named.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.path.cmp(&b.0.path)));
    // What is far behind the first is not why.
    let least = named.first().map_or(0.0, |first| first.1 / 3.0);
    named.retain(|(_, share)| *share >= least);
    named.truncate(NAMED_MAX);
    named.into_iter().map(|(file, share)| (file, holdings::file(file, share))).collect()
}

fn by(culprits: &[(&FileUse, Culprit)]) -> (String, String) {
    let Some((file, _)) = culprits.first() else { return (String::new(), String::new()) };
    let (path, size) = (shown(&file.path), bytes(file.bytes as f64));
    match &file.writer {
        Some(writer) => {
            let writer = holdings::owner(writer);
            if file.deleted {
                (
                    format!("\n{path} is deleted, and still takes {size}: {writer} has it open."),
                    format!("\n{path} は削除済みですが、{writer} が開いたままのため {size} を占めています。"),
                )
            } else {
                (
                    format!("\n{path} takes {size}; {writer} writes it."),
                    format!("\n{path} が {size} を占めています。書き込んでいるのは {writer} です。"),
                )
            }
        }
        None => (format!("\n{path} takes {size}."), format!("\n{path} が {size} を占めています。")),
    }
}

fn summary(filesystem: &Filesystem, culprits: &[(&FileUse, Culprit)]) -> Text {
    let (mount, size) = (shown(&filesystem.mount), bytes(filesystem.size_bytes as f64));
    let (by_en, by_ja) = by(culprits);
    if !culprits.is_empty() {
        return Text::new(
            format!("{mount} is full: nothing is left of {size}.{by_en}"),
            format!("{mount} が満杯です。{size} に空きがありません。{by_ja}"),
        );
    }
    Text::new(
        format!("{mount} is full: nothing is left of {size}. What filled it is not clear."),
        format!("{mount} が満杯です。{size} に空きがありません。何が埋めたのかは不明です。"),
    )
}

fn told(filesystem: &Filesystem, culprits: &[(&FileUse, Culprit)]) -> Vec<Evidence> {
    let mut all = Vec::new();
    if filesystem.growth_bytes_s > 0.0 {
        let (rate, seconds) = (bytes(filesystem.growth_bytes_s), filesystem.growing_s);
        all.push(evidence(
            "disk-growth",
            Text::fixed("growth", "増加量"),
            Text::new(
                format!("{rate} a second, for {seconds:.0} s"),
                format!("毎秒 {rate}({seconds:.0} 秒間)"),
            ),
            filesystem.growth_bytes_s.round(),
            None,
            "statvfs",
        ));
    }
    for (file, _) in culprits {
        let size = bytes(file.bytes as f64);
        let (grown_en, grown_ja) = if file.grown_bytes > 0 {
            let grown = bytes(file.grown_bytes as f64);
            (format!(", {grown} of it while it was watched"), format!("(監視中に {grown} 増加)"))
        } else {
            Default::default()
        };
        let (gone_en, gone_ja) =
            if file.deleted { (" (deleted, still open)", "(削除済み、使用中)") } else { ("", "") };
        let path = shown(&file.path);
        all.push(evidence(
            "file",
            Text::new(format!("{path}{gone_en}"), format!("{path}{gone_ja}")),
            Text::new(format!("{size}{grown_en}"), format!("{size}{grown_ja}")),
            file.bytes as f64,
            None,
            "procfs",
        ));
    }
    if culprits.is_empty() {
        let large: Vec<String> = filesystem
            .files
            .iter()
            .take(NAMED_MAX)
            .map(|file| format!("{} {}", shown(&file.path), bytes(file.bytes as f64)))
            .collect();
        if !large.is_empty() {
            let large = large.join(" · ");
            all.push(evidence(
                "largest-files",
                Text::fixed("largest files that were found", "見つかった大きなファイル"),
                Text::new(large.clone(), large),
                filesystem.files[0].bytes as f64,
                None,
                "search",
            ));
        }
    }
    if let Some(place) = &filesystem.bytes_in {
        let (path, size, percent) = (shown(&place.path), bytes(place.bytes as f64), place.share * 100.0);
        let (cut_en, cut_ja) = if place.complete {
            ("", "")
        } else {
            (" that could be counted in the time", "(時間内に数えられた範囲)")
        };
        all.push(evidence(
            "bytes-in",
            Text::fixed("where they are", "場所"),
            Text::new(
                format!("{path}: {size}, {percent:.0} % of all{cut_en}"),
                format!("{path}: {size}、全体の {percent:.0} %{cut_ja}"),
            ),
            place.bytes as f64,
            None,
            "search",
        ));
    }
    all
}

/// The exact commands, the quickest relief first. Nothing is deleted that a person has not looked at.
fn advice(filesystem: &Filesystem, culprits: &[(&FileUse, Culprit)]) -> Vec<Text> {
    let mut all = Vec::new();
    for (file, _) in culprits {
        let path = quoted(&file.path);
        match (&file.writer, file.fd) {
            (Some(writer), Some(fd)) if file.deleted => {
                let (pid, restart) = (writer.process.pid, holdings::restart(writer));
                let (en, ja) = (restart.en, restart.ja);
                all.push(Text::new(
                    format!("{path} is deleted and gives its room back when it is closed: {en} (or at once, its content is lost: : > /proc/{pid}/fd/{fd})"),
                    format!("{path} は削除済みで、閉じられると容量が戻ります: {ja}(内容を捨てて即時に空ける場合: : > /proc/{pid}/fd/{fd})"),
                ));
            }
            (Some(writer), _) if file.appended => {
                let writer = holdings::owner(writer);
                all.push(Text::new(
                    format!("look what {writer} writes there: tail -n 20 {path}"),
                    format!("{writer} が書き込んでいる内容を確認してください: tail -n 20 {path}"),
                ));
                all.push(Text::new(
                    format!("a log is emptied in place, not deleted, while it is open: truncate -s 0 {path}; then have it rotated by size in /etc/logrotate.d"),
                    format!("開いているログは削除せず、その場で空にしてください: truncate -s 0 {path}。その後、/etc/logrotate.d にサイズによるローテーションを設定してください"),
                ));
            }
            _ => all.push(Text::new(
                format!("see whether it is still needed, then move or delete it: ls -l {path}"),
                format!("必要なファイルか確認し、移動または削除してください: ls -l {path}"),
            )),
        }
    }
    if culprits.is_empty() {
        let at = filesystem.bytes_in.as_ref().map_or(filesystem.mount.as_str(), |place| &place.path);
        let (at, mount) = (quoted(at), quoted(&filesystem.mount));
        let command = format!("du -xah {at} | sort -h | tail -n 30");
        all.push(Text::new(
            format!("look what is large: {command}"),
            format!("大きなものを確認してください: {command}"),
        ));
        let command = format!("lsof +L1 {mount}");
        all.push(Text::new(
            format!("files that are deleted and still open: {command}"),
            format!("削除済みで開いたままのファイル: {command}"),
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use toban_model::{Owner, Place, ProcessId, ResourceUse, Situation, Time};

    use super::*;
    use crate::diagnose;

    const NOW: Time = Time::from_secs(1_700_000_000);
    const GB: u64 = 1_000_000_000;

    fn open(path: &str, gb: u64, comm: &str) -> FileUse {
        FileUse {
            path: path.into(),
            id: (1, gb),
            bytes: gb * GB,
            deleted: false,
            appended: true,
            born: Some(NOW - Duration::from_secs(90 * 86_400)),
            modified: NOW,
            writer: Some(Owner {
                process: ProcessId { pid: 42, start_ticks: 7 },
                comm: comm.into(),
                unit: Some(format!("{comm}.service")),
            }),
            fd: Some(3),
            grown_bytes: 0,
        }
    }

    fn database_file(gb: u64) -> FileUse {
        FileUse { appended: false, ..open("/var/lib/mysql/ibdata1", gb, "mariadbd") }
    }

    /// 100 GB of which so much is free.
    fn with(free: u64, files: Vec<FileUse>, change: impl FnOnce(&mut Filesystem)) -> Situation {
        let mut filesystem = Filesystem {
            mount: "/srv".into(),
            kind: "ext4".into(),
            size_bytes: 100 * GB,
            used_bytes: 100 * GB - free,
            free_bytes: free,
            files,
            full_since: (free == 0).then_some(NOW),
            ..Filesystem::default()
        };
        change(&mut filesystem);
        let mut situation = Situation { at: NOW, ..Situation::default() };
        situation.resources.push(ResourceUse {
            name: "disk:/srv".into(),
            used: filesystem.used_bytes as f64,
            limit: Some(100e9),
            usual: None,
            exhausted_since: filesystem.full_since,
            limit_from: None,
        });
        situation.holdings.filesystems.push(filesystem);
        situation
    }

    #[track_caller]
    fn check(situation: &Situation, verdict: Verdict, culprits: &[&str]) -> String {
        let diagnosis = diagnose(situation);
        let finding = &diagnosis.findings[0];
        assert_eq!((finding.cause.as_str(), finding.verdict), ("disk-full", verdict));
        let named: Vec<&str> = finding.culprits.iter().map(|culprit| culprit.value.as_str()).collect();
        assert_eq!(named, culprits);
        let text = format!("{}\n{:?}", finding.summary.en, finding.advice);
        assert!(
            !finding.summary.ja.is_ascii() && finding.advice.iter().all(|text| !text.ja.is_ascii()),
            "{text}"
        );
        text
    }

    #[test]
    fn a_log_that_takes_the_disk_is_named_and_the_database_is_not() {
        let files = vec![database_file(50), open("/srv/log/app.log", 40, "app")];
        let text = check(&with(0, files, |_| ()), Verdict::Incident, &["/srv/log/app.log"]);
        assert!(text.contains("truncate -s 0 /srv/log/app.log"), "{text}");
    }

    #[test]
    fn what_was_seen_to_grow_is_named_before_what_is_large() {
        let mut small = open("/srv/export/part 1.csv", 12, "export");
        small.grown_bytes = 9 * GB;
        let files = vec![database_file(50), open("/srv/log/app.log", 30, "app"), small];
        let situation = with(0, files, |filesystem| filesystem.grown_bytes = 10 * GB);
        let text = check(&situation, Verdict::Incident, &["/srv/export/part 1.csv"]);
        assert!(text.contains("'/srv/export/part 1.csv'"), "{text}");
    }

    #[test]
    fn a_deleted_file_is_told_with_the_unit_that_holds_it() {
        let file = FileUse { deleted: true, appended: false, ..open("/srv/tmp/export.tmp", 70, "app") };
        let text = check(&with(0, vec![file], |_| ()), Verdict::Incident, &["/srv/tmp/export.tmp"]);
        assert!(text.contains("systemctl restart app.service") && text.contains("/proc/42/fd/3"), "{text}");
    }

    #[test]
    fn old_large_files_that_nobody_appends_to_are_not_named() {
        let old = FileUse { writer: None, appended: false, ..open("/srv/archive.tar", 45, "") };
        let place = Place { path: "/srv".into(), bytes: 99 * GB, share: 1.0, ..Place::default() };
        let situation = with(0, vec![database_file(50), old.clone()], |f| f.bytes_in = Some(place));
        let text = check(&situation, Verdict::Incident, &[]);
        assert!(text.contains("not clear") && text.contains("du -xah /srv"), "{text}");
        // The same file made an hour ago did it.
        let new = FileUse { born: Some(NOW - Duration::from_secs(3600)), ..old };
        check(&with(0, vec![database_file(50), new], |_| ()), Verdict::Incident, &["/srv/archive.tar"]);
    }

    #[test]
    fn a_disk_that_fills_says_when_it_will_be_full_and_one_that_does_not_says_nothing() {
        let filling = |free: u64, rate: f64, seconds: f64| {
            let mut log = open("/srv/log/app.log", 20, "app");
            log.grown_bytes = 4 * GB;
            with(free, vec![log], |filesystem| {
                filesystem.growth_bytes_s = rate;
                filesystem.growing_s = seconds;
                filesystem.grown_bytes = 4 * GB;
            })
        };
        let text = check(&filling(6 * GB, 10e6, 120.0), Verdict::Watch, &["/srv/log/app.log"]);
        assert!(text.contains("full in about 10 min"), "{text}");
        // A burst, a slow growth, room enough, and no growth at all.
        for quiet in [
            filling(6 * GB, 100e6, 5.0),
            filling(6 * GB, 1e5, 600.0),
            filling(40 * GB, 100e6, 600.0),
            with(3 * GB, vec![database_file(50)], |_| ()),
        ] {
            assert_eq!(diagnose(&quiet).findings, []);
        }
    }
}
