//! The kernel's words of the last hours, by kind, and the reports of the OOM killer put together from their lines.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use toban_model::event::KernelWord;
use toban_model::{KernelSaid, OomReport, Time};

/// Words kept one by one of each kind; a disk that fails says thousands.
const WORDS_MAX: usize = 256;
const REPORTS_MAX: usize = 16;
/// The lines of one report come within this time.
const REPORT_LASTS: Duration = Duration::from_secs(10);
/// Names in the task table of one report.
const NAMES_MAX: usize = 1024;
const LARGEST_TOLD: usize = 8;
/// What the kernel counts resident memory in, on all machines but a few.
const PAGE_BYTES: u64 = 4096;

/// The task table of a report, by name: how many, and their memory together.
type Tasks = BTreeMap<String, (u32, u64)>;

/// What the kernel said.
#[derive(Debug, Default)]
pub(crate) struct Words {
    kinds: BTreeMap<&'static str, VecDeque<(Time, KernelWord)>>,
    reports: VecDeque<OomReport>,
    open: Option<(OomReport, Tasks)>,
}

impl Words {
    pub(crate) fn take(&mut self, at: Time, word: &KernelWord) {
        self.report(at, word);
        // The lines of a report are told as the report.
        let Some(id) =
            word.id().filter(|_| !matches!(word, KernelWord::OomTask { .. } | KernelWord::OomLimit { .. }))
        else {
            return;
        };
        let kept = self.kinds.entry(id).or_default();
        // A log's past comes in pieces, the newest first.
        kept.insert(kept.partition_point(|(known, _)| *known <= at), (at, word.clone()));
        if kept.len() > WORDS_MAX {
            kept.pop_front();
        }
    }

    fn report(&mut self, at: Time, word: &KernelWord) {
        if let KernelWord::OomInvoked { comm } = word {
            let report = OomReport { at, asked_by: comm.clone(), ..OomReport::default() };
            self.open = Some((report, BTreeMap::new()));
            return;
        }
        let Some((report, table)) =
            self.open.as_mut().filter(|(report, _)| at.since(report.at) <= REPORT_LASTS)
        else {
            return;
        };
        match word {
            KernelWord::OomLimit { limit_kb, .. } => {
                report.limit_bytes.get_or_insert(limit_kb.saturating_mul(1024));
            }
            KernelWord::OomTask { comm, rss_pages, .. }
                if table.len() < NAMES_MAX || table.contains_key(comm) =>
            {
                let (count, bytes) = table.entry(comm.clone()).or_default();
                *count += 1;
                *bytes += rss_pages.saturating_mul(PAGE_BYTES);
            }
            KernelWord::OomConstraint { memcg, .. } => report.memcg.clone_from(memcg),
            KernelWord::OomKilled { comm, .. } => {
                report.victim.clone_from(comm);
                let Some((mut report, table)) = self.open.take() else { return };
                report.largest =
                    table.into_iter().map(|(name, (count, bytes))| (name, count, bytes)).collect();
                report.largest.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
                report.largest.truncate(LARGEST_TOLD);
                self.reports.insert(self.reports.partition_point(|known| known.at <= report.at), report);
                if self.reports.len() > REPORTS_MAX {
                    self.reports.pop_front();
                }
            }
            _ => {}
        }
    }

    pub(crate) fn said(&self, from: Time, at: Time) -> Vec<KernelSaid> {
        let mut said: Vec<KernelSaid> = self
            .kinds
            .values()
            .filter_map(|kept| {
                let inside = || kept.iter().filter(|(said, _)| *said >= from && *said <= at);
                let (first, _) = inside().next()?;
                let (last, word) = inside().next_back()?;
                Some(KernelSaid {
                    word: word.clone(),
                    first: *first,
                    last: *last,
                    count: u32::try_from(inside().count()).unwrap_or(u32::MAX),
                })
            })
            .collect();
        said.sort_by_key(|said| std::cmp::Reverse(said.last));
        said
    }

    pub(crate) fn reports(&self, from: Time, at: Time) -> Vec<OomReport> {
        self.reports.iter().filter(|report| report.at >= from && report.at <= at).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time::from_secs(1_700_000_000 + second)
    }

    #[test]
    fn a_report_is_put_together() {
        let mut words = Words::default();
        let task = |comm: &str, rss_pages| KernelWord::OomTask { pid: 1, comm: comm.into(), rss_pages };
        words.take(at(0), &task("stray", 99));
        words.take(at(1), &KernelWord::OomInvoked { comm: "cron".into() });
        words.take(at(1), &KernelWord::OomLimit { usage_kb: 640, limit_kb: 640 });
        for _ in 0..3 {
            words.take(at(1), &task("apache2", 1000));
        }
        words.take(at(1), &task("mariadbd", 2000));
        words.take(
            at(1),
            &KernelWord::OomConstraint { memcg: Some("/web".into()), task: "apache2".into(), pid: 7 },
        );
        let killed = KernelWord::OomKilled {
            pid: 7,
            comm: "apache2".into(),
            anon_rss_kb: None,
            total_vm_kb: None,
            cgroup: true,
        };
        words.take(at(2), &killed);
        // The next report was suppressed; its kill belongs to none.
        words.take(at(3), &killed);
        let reports = words.reports(at(0), at(9));
        assert_eq!(reports.len(), 1);
        assert_eq!(
            reports[0],
            OomReport {
                at: at(1),
                asked_by: "cron".into(),
                memcg: Some("/web".into()),
                limit_bytes: Some(640 * 1024),
                victim: "apache2".into(),
                largest: vec![("apache2".into(), 3, 3000 * 4096), ("mariadbd".into(), 1, 2000 * 4096)],
            }
        );
        let said = words.said(at(0), at(9));
        let kinds: Vec<(&str, u32)> = said.iter().map(|s| (s.word.id().unwrap(), s.count)).collect();
        assert_eq!(kinds, [("oom-killed", 2), ("oom-constraint", 1), ("oom-invoked", 1)]);
        assert_eq!(words.said(at(4), at(9)), []);
    }

    #[test]
    fn many_words_take_little_room() {
        let mut words = Words::default();
        for second in 0..10_000 {
            words.take(at(second), &KernelWord::IoError { device: "sda".into() });
        }
        assert_eq!(words.said(at(0), at(10_000))[0].count as usize, WORDS_MAX);
    }
}
