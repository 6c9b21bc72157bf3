//! `mail.queue` and, of Postfix, `mail.queue:deferred`…: how many mails wait, every ten seconds.

use std::path::Path;

use toban_model::Sample;

use super::{Collector, gauge};
use crate::{Error, Root};

/// Files that are counted of one mail server; beyond it the number stands for "more than".
const MAILS_MAX: usize = 200_000;

/// A mail server's folders: under each, which files are mails.
struct Spool {
    root: &'static str,
    folders: &'static [&'static str],
    is_mail: fn(&str) -> bool,
}

static SPOOLS: &[Spool] = &[
    Spool {
        root: "/var/spool/postfix",
        folders: &["maildrop", "incoming", "active", "deferred", "hold"],
        is_mail: |_| true,
    },
    // Exim and sendmail keep each mail in two files.
    Spool { root: "/var/spool/exim4", folders: &["input"], is_mail: |name| name.ends_with("-H") },
    Spool { root: "/var/spool/exim", folders: &["input"], is_mail: |name| name.ends_with("-H") },
    Spool {
        root: "/var/spool",
        folders: &["mqueue", "mqueue-client"],
        is_mail: |name| name.starts_with("qf"),
    },
];

/// Lists the folders of the mail servers that there are. A disk may hang: it runs aside.
#[derive(Default)]
pub(super) struct MailQueue;

impl Collector for MailQueue {
    fn id(&self) -> &'static str {
        "mail_queue"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let (mut all, mut there) = (0, false);
        for spool in SPOOLS {
            for folder in spool.folders {
                let path = root.at(format!("{}/{folder}", spool.root));
                if !path.is_dir() {
                    continue;
                }
                there = true;
                let mails = count(&path, spool.is_mail, 2, MAILS_MAX);
                all += mails;
                if spool.folders.len() > 2 {
                    out.readings.push(gauge(format!("mail.queue:{folder}"), mails as f64, ""));
                }
            }
        }
        if there {
            out.readings.push(gauge("mail.queue", all as f64, ""));
        }
        Ok(())
    }
}

/// Mails below a folder, whose names may be spread over folders of a letter.
fn count(folder: &Path, is_mail: fn(&str) -> bool, depth: u32, most: usize) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let mut mails = 0;
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            mails += count(&entry.path(), is_mail, depth - 1, most - mails);
        } else if kind.is_file() && entry.file_name().to_str().is_some_and(is_mail) {
            mails += 1;
        }
        if mails >= most {
            break;
        }
    }
    mails
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[&str], expected: &[(&str, f64)]) {
        let tree = tempfile::tempdir().unwrap();
        for file in files {
            let path = tree.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let mut sample = Sample::default();
        MailQueue.collect(&Root::new(tree.path()), &mut sample).unwrap();
        let got: Vec<(&str, f64)> = sample.readings.iter().map(|r| (&*r.name, r.value)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn mails_of_each_server() {
        check(&["etc/x"], &[]);
        check(
            &[
                "var/spool/postfix/deferred/A/A123",
                "var/spool/postfix/deferred/B/B123",
                "var/spool/postfix/active/C123",
                "var/spool/postfix/maildrop/D",
            ],
            &[
                ("mail.queue:maildrop", 1.0),
                ("mail.queue:active", 1.0),
                ("mail.queue:deferred", 2.0),
                ("mail.queue", 4.0),
            ],
        );
        check(&["var/spool/exim4/input/a/1x-H", "var/spool/exim4/input/a/1x-D"], &[("mail.queue", 1.0)]);
        check(&["var/spool/mqueue/qf1", "var/spool/mqueue/df1"], &[("mail.queue", 1.0)]);
    }
}
