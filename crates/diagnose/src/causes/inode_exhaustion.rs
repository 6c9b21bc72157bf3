//! `inode-exhaustion`: a file system has room and can take no more files.
//!
//! Needs: no free inode while bytes are free. Where the files are is known by counting; a directory is named when it
//! holds most of them.

use toban_model::{Culprit, CulpritKind, Text, Verdict, Where};

use super::{Candidate, Cause, Judged, Needs, disk_full::SAID};
use crate::holdings::{self, bytes, quoted, shown};
use crate::picture::Picture;
use crate::tell::evidence;

pub(super) const CAUSE: Cause = Cause {
    id: "inode-exhaustion",
    about: Text::fixed(
        "a file system has room, and no inode left for another file",
        "容量は空いていますが、inode を使い切っています",
    ),
    rules_out: &["disk-full"],
    needs: Needs::Nothing,
    judge,
};

/// A directory with this part of what was counted is where they are.
const MOST: f64 = 0.5;

fn judge(picture: &Picture<'_>) -> Judged {
    let full = holdings::exhausted(picture, "inodes");
    let Some((filesystem, resource, seen)) = full.first() else {
        let counted = picture.situation.holdings.filesystems.iter().filter(|f| f.inodes > 0);
        return match counted.min_by_key(|f| f.inodes_free) {
            Some(filesystem) => {
                let (free, mount) = (filesystem.inodes_free, shown(&filesystem.mount));
                Judged::Not(Text::new(
                    format!("{free} inodes are free on {mount}"),
                    format!("{mount} には {free} 個の inode が空いています"),
                ))
            }
            None => Judged::Unknown,
        };
    };
    let mount = shown(&filesystem.mount);
    let place =
        filesystem.inodes_in.as_ref().filter(|place| place.share >= MOST && place.path != filesystem.mount);
    let since = holdings::since(picture, SAID, *seen);
    let (limit, free) = (resource.limit.unwrap_or(0.0), bytes(filesystem.free_bytes as f64));
    let (mut culprits, mut told, mut advice) = (Vec::new(), Vec::new(), Vec::new());
    let (in_en, in_ja) = match place {
        Some(place) => {
            let (path, entries) = (shown(&place.path), place.entries);
            let owner = place.user.iter().map(|user| ("user".to_owned(), user.clone()));
            culprits.push(Culprit {
                kind: CulpritKind::File,
                value: place.path.clone(),
                share: (place.share * 100.0).round() / 100.0,
                r#where: Where::from_iter(owner),
                process: None,
            });
            (
                format!("{entries} files are in {path}."),
                format!("{path} に {entries} 個のファイルがあります。"),
            )
        }
        None => {
            ("Where the files are is not clear.".to_owned(), "ファイルがどこにあるかは不明です。".to_owned())
        }
    };
    if let Some(place) = filesystem.inodes_in.as_ref() {
        let (path, entries, percent) = (shown(&place.path), place.entries, place.share * 100.0);
        let (cut_en, cut_ja) = if place.complete {
            ("", "")
        } else {
            (" that could be counted in the time", "(時間内に数えられた範囲)")
        };
        told.push(evidence(
            "inodes-in",
            Text::fixed("where the files are", "ファイルの場所"),
            Text::new(
                format!("{path}: {entries}, {percent:.0} % of all{cut_en}"),
                format!("{path}: {entries} 個、全体の {percent:.0} %{cut_ja}"),
            ),
            entries as f64,
            None,
            "search",
        ));
        let at = quoted(&place.path);
        advice.push(Text::new(
            format!("see how old they are: ls -ltr {at} | head; what is older than a week: find {at} -xdev -type f -mtime +7 | wc -l"),
            format!("古いファイルを確認してください: ls -ltr {at} | head。1 週間より古いもの: find {at} -xdev -type f -mtime +7 | wc -l"),
        ));
        advice.push(Text::new(
            format!("when they are not needed any more: find {at} -xdev -type f -mtime +7 -delete; then let a timer or cron do that every day"),
            format!("不要と確認できたら削除してください: find {at} -xdev -type f -mtime +7 -delete。以後は timer か cron で毎日実行してください"),
        ));
    } else {
        let at = quoted(&filesystem.mount);
        advice.push(Text::new(
            format!("look where the files are: du --inodes -x {at} | sort -n | tail -n 20"),
            format!("ファイルの場所を確認してください: du --inodes -x {at} | sort -n | tail -n 20"),
        ));
    }
    Judged::Is(Candidate {
        verdict: Verdict::Incident,
        confidence: if culprits.is_empty() { 0.9 } else { 0.97 },
        culprits,
        evidence: told,
        summary: Text::new(
            format!(
                "{mount} can take no more files: all {limit:.0} inodes are used, although {free} are free.\n{in_en}"
            ),
            format!(
                "{mount} に新しいファイルを作れません。容量は {free} 空いていますが、inode {limit:.0} 個を使い切っています。\n{in_ja}"
            ),
        ),
        advice,
        since: Some(since),
        resource: Some((*resource).clone()),
        effects: holdings::effects(picture, SAID, since),
        ..Candidate::default()
    })
}

#[cfg(test)]
mod tests {
    use toban_model::{Filesystem, Place, ResourceUse, Situation, Time};

    use crate::diagnose;

    #[test]
    fn inodes_are_not_bytes() {
        let at = Time::from_secs(1_700_000_000);
        let place = Place {
            path: "/var/lib/php/sessions".into(),
            entries: 900_000,
            share: 0.92,
            user: Some("www-data".into()),
            complete: true,
            ..Place::default()
        };
        let mut situation = Situation { at, ..Situation::default() };
        situation.holdings.filesystems.push(Filesystem {
            mount: "/var".into(),
            size_bytes: 100_000_000_000,
            used_bytes: 25_000_000_000,
            free_bytes: 75_000_000_000,
            inodes: 1_000_000,
            inodes_in: Some(place),
            inodes_full_since: Some(at),
            ..Filesystem::default()
        });
        let resource = |since| ResourceUse {
            name: "inodes:/var".into(),
            used: 1e6,
            limit: Some(1e6),
            usual: None,
            exhausted_since: since,
            limit_from: None,
        };
        situation.resources.push(resource(Some(at)));
        let found = diagnose(&situation).findings;
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(
            (found[0].cause.as_str(), found[0].culprits[0].value.as_str()),
            ("inode-exhaustion", "/var/lib/php/sessions")
        );
        assert!(found[0].summary.en.contains("75.0 GB are free"), "{}", found[0].summary.en);
        assert_eq!(found[0].ruled_out[0].cause, "disk-full");
        // Files that lie everywhere are nobody's.
        situation.holdings.filesystems[0].inodes_in.as_mut().unwrap().share = 0.3;
        assert_eq!(diagnose(&situation).findings[0].culprits, []);
        // It has always been so.
        situation.resources[0] = resource(None);
        assert_eq!(diagnose(&situation).findings, []);
    }
}
