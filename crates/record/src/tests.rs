//! The record through kill, damage and a full disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use toban_model::{Action, ActionId, ActionState, Actor, Ban, Plan, Prefix, Text};

use super::frames::tests::SmallDisk;
use super::*;

fn plan() -> Plan {
    Plan {
        cause: "open-proxy-abuse".into(),
        reason: Text::new("300 of 300 workers", "300 個中 300 個"),
        steps: vec![Action::Ban {
            prefixes: vec!["198.51.100.0/24".parse().unwrap()],
            ports: vec![80, 443],
            for_s: 3600,
        }],
        predicted: BTreeMap::from([("apache.workers".to_owned(), 29.0)]),
        ..Plan::default()
    }
}

fn finding(cause: &str) -> Finding {
    Finding {
        cause: cause.into(),
        verdict: toban_model::Verdict::Incident,
        confidence: 0.97,
        since: t(10),
        summary: Text::new("a", "b"),
        resource: None,
        culprits: vec![],
        evidence: vec![],
        effects: vec![],
        ruled_out: vec![],
        remedies: vec![],
        advice: Vec::new(),
    }
}

fn ban(prefix: &str, ports: &[u16], until: i64) -> Ban {
    Ban {
        prefix: prefix.parse().unwrap(),
        ports: ports.to_vec(),
        since: t(1),
        until: t(until),
        action: ActionId(1),
        reason: "held 271 workers".into(),
    }
}

fn t(second: i64) -> Time {
    Time::from_secs(1_608_800_000 + second)
}

#[test]
fn an_incident_lives_through_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let record = Record::open(dir.path()).unwrap();
    assert_eq!(record.open_incident_now().unwrap(), None);
    let mut incident = record.open_incident(t(0), t(5), &[finding("http-flood")]).unwrap();
    incident.cause = "open-proxy-abuse".into();
    incident.findings = vec![finding("open-proxy-abuse")];
    record.update_incident(&incident).unwrap();
    drop(record);

    let record = Record::open(dir.path()).unwrap();
    assert_eq!(record.open_incident_now().unwrap(), Some(incident.clone()));
    record.end_incident(incident.id, t(60)).unwrap();
    record.end_incident(incident.id, t(90)).unwrap();
    assert_eq!(record.open_incident_now().unwrap(), None);
    let next = record.open_incident(t(100), t(100), &[]).unwrap();
    let list = record.incidents(10).unwrap();
    assert_eq!(
        list.iter().map(|i| (i.id, i.ended)).collect::<Vec<_>>(),
        [(next.id, None), (incident.id, Some(t(60)))]
    );
    assert_eq!(record.incidents(1).unwrap().len(), 1);
    assert!(matches!(record.incident(IncidentId(99)), Err(Error::NoIncident(IncidentId(99)))));
}

#[test]
fn an_action_is_written_before_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Book::open(dir.path()).unwrap();
    let cli = Book::open_to_read(dir.path()).unwrap().unwrap();
    let mut action = agent.intend_action(t(1), None, Actor::Agent, &plan()).unwrap();
    // The other opener sees it at once.
    assert_eq!(cli.actions_in_state(&[ActionState::Intended]).unwrap(), std::slice::from_ref(&action));
    action.state = ActionState::Worked;
    action.measured.insert("apache.workers".into(), 31.0);
    action.notes.push("ban: 1 prefix in the kernel".into());
    action.changed = t(4);
    agent.update_action(&action).unwrap();
    assert_eq!(cli.action(action.id).unwrap(), action);
    let second = Book::open(dir.path())
        .unwrap()
        .intend_action(t(9), Some(IncidentId(3)), Actor::Person, &plan())
        .unwrap();
    assert_eq!(agent.actions(10).unwrap(), [second.clone(), action.clone()]);
    assert_eq!(
        agent.actions_in_state(&[ActionState::Intended, ActionState::Worked, ActionState::Worked]).unwrap(),
        [action, second]
    );
    assert!(matches!(agent.action(ActionId(7)), Err(Error::NoAction(_))));
}

#[test]
fn a_ban_is_never_doubled() {
    let book = Book::in_memory().unwrap();
    let old = ban("198.51.100.0/24", &[80, 443], 100);
    let new = ban("198.51.100.0/24", &[80, 443], 200);
    let mail = ban("198.51.100.0/24", &[110], 50);
    let v6 = ban("2001:db8::/48", &[], 70);
    book.put_bans(&[old]).unwrap();
    book.put_bans(&[new.clone(), mail.clone(), v6.clone()]).unwrap();
    assert_eq!(book.all_bans().unwrap().len(), 3);
    assert_eq!(book.bans(t(60)).unwrap().len(), 2);
    assert_eq!(book.bans(t(199)).unwrap(), std::slice::from_ref(&new));
    book.remove_bans(&[mail.clone(), v6]).unwrap();
    book.remove_bans(&[mail]).unwrap();
    assert_eq!(book.bans_of(&[new.prefix]).unwrap(), std::slice::from_ref(&new));
    let other = Ban { action: ActionId(2), ..new.clone() };
    book.put_bans(std::slice::from_ref(&other)).unwrap();
    book.remove_bans(&[new]).unwrap();
    assert_eq!(book.all_bans().unwrap(), [other]);
}

#[test]
fn state_and_allowlist_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let record = Record::open(dir.path()).unwrap();
    record.put_state("log:/var/log/apache2/access.log", &[0, 1, 255]).unwrap();
    record.put_state("log:/var/log/apache2/access.log", &[7]).unwrap();
    let prefix: Prefix = "203.0.113.0/24".parse().unwrap();
    let book = Book::open(dir.path()).unwrap();
    assert!(book.allow(&prefix, t(1)).unwrap());
    assert!(!book.allow(&prefix, t(2)).unwrap());
    drop((record, book));
    let record = Record::open(dir.path()).unwrap();
    assert_eq!(record.state("log:/var/log/apache2/access.log").unwrap(), Some(vec![7]));
    assert_eq!(record.state("none").unwrap(), None);
    assert!(record.remove_state("log:/var/log/apache2/access.log").unwrap());
    let book = Book::open(dir.path()).unwrap();
    assert_eq!(book.allowed().unwrap(), [prefix]);
    assert!(book.disallow(&prefix).unwrap());
    assert!(!book.disallow(&prefix).unwrap());
}

#[test]
fn only_the_owner_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("lib/toban");
    let record = Record::open(&state).unwrap();
    record.put_state("k", b"v").unwrap();
    Book::open(&state).unwrap().allow(&"203.0.113.0/24".parse().unwrap(), t(1)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join(BOOK)), 0o700);
    for name in ["book/book.db", DATABASE, "record.db-wal", "record.db-shm"] {
        assert_eq!(mode(&state.join(name)), 0o600, "{name}");
    }
}

#[test]
fn samples_are_read_through_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let record = Record::open(dir.path()).unwrap();
    let mut frames = Frames::open(&record.frames_dir().unwrap(), Limits::default()).unwrap();
    frames.append(&toban_model::Sample { at: t(1), ..Default::default() }).unwrap();
    frames.flush().unwrap();
    assert_eq!(record.frames(t(0), t(2)).unwrap().count(), 1);
    assert_eq!(record.frames(t(2), t(3)).unwrap().count(), 0);
    assert_eq!(Record::in_memory().unwrap().frames(t(0), t(2)).unwrap().count(), 0);
}

#[test]
fn looking_leaves_no_traces() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Record::open_existing(&dir.path().join("none")).unwrap().is_none());
    assert!(!dir.path().join("none").exists());
}

#[test]
fn who_may_only_look_sees_what_is_written_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Book::open_to_read(dir.path()).unwrap().is_none());
    let book = Book::open(dir.path()).unwrap();
    let looking = Book::open_to_read(dir.path()).unwrap().unwrap();
    let first = ban("192.0.2.7/32", &[80], 9);
    let before = [book.version().unwrap(), looking.version().unwrap()];
    assert_eq!([book.version().unwrap(), looking.version().unwrap()], before);
    book.put_bans(std::slice::from_ref(&first)).unwrap();
    assert_eq!(looking.all_bans().unwrap(), std::slice::from_ref(&first));
    assert!(book.version().unwrap() != before[0] && looking.version().unwrap() != before[1]);
    assert!(matches!(looking.put_bans(&[first]), Err(Error::NoRights { .. })));
}

#[test]
fn a_damaged_database_is_set_aside() {
    for damage in [
        "not a database at all, but long enough to have a header of a hundred bytes if it were one, which it is not",
        "short",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DATABASE);
        fs::write(&path, damage).unwrap();
        assert!(matches!(Record::open_existing(dir.path()), Err(Error::Damaged { .. })), "{damage}");
        let record = Record::open(dir.path()).unwrap();
        let aside = record.set_aside().unwrap();
        assert_eq!(fs::read_to_string(aside).unwrap(), damage);
        assert!(aside.file_name().unwrap().to_str().unwrap().starts_with("record.db.damaged-"));
        record.put_state("k", b"v").unwrap();
        drop(record);
        assert_eq!(Record::open(dir.path()).unwrap().set_aside(), None);
    }
}

#[test]
fn damaged_pages_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let book = Book::open(dir.path()).unwrap();
    for second in 0..200 {
        book.intend_action(t(second), None, Actor::Agent, &plan()).unwrap();
    }
    drop(book);
    let path = dir.path().join("book/book.db");
    let mut bytes = fs::read(&path).unwrap();
    let page = 4096;
    for byte in &mut bytes[page * 4..page * 6] {
        *byte ^= 0x55;
    }
    fs::write(&path, &bytes).unwrap();
    let book = Book::open(dir.path()).unwrap();
    assert_eq!(fs::read(book.set_aside().unwrap()).unwrap(), bytes);
    assert_eq!(book.actions(10).unwrap(), []);
}

#[test]
fn a_newer_layout_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let record = Record::open(dir.path()).unwrap();
    record.database.lock().pragma_update(None, "user_version", 99).unwrap();
    drop(record);
    let error = Record::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::TooNew { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("newer toban"), "{error}");
}

#[test]
fn a_row_that_makes_no_sense_is_said_with_its_number() {
    let book = Book::in_memory().unwrap();
    let action = book.intend_action(t(1), None, Actor::Agent, &plan()).unwrap();
    book.database.lock().execute("UPDATE action SET state = 'dreamt' WHERE id = 1", []).unwrap();
    let error = book.action(action.id).unwrap_err().to_string();
    assert!(error.contains("state of row 1") && error.contains("dreamt"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_made_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Record::open(&file.join("state")).unwrap_err();
    assert!(error.to_string().starts_with(&file.join("state").display().to_string()), "{error}");
}

#[test]
fn no_room_is_a_clear_error_and_what_was_written_stays() {
    let record = Record::in_memory().unwrap();
    record.put_state("k", b"v").unwrap();
    record.database.lock().pragma_update(None, "max_page_count", 12).unwrap();
    assert!(matches!(record.put_state("big", &vec![0; 1 << 20]), Err(Error::DiskFull { .. })));
    assert_eq!(record.state("k").unwrap().as_deref(), Some(&b"v"[..]));

    let Some(mount) = SmallDisk::mount() else { return };
    let record = Record::open(&mount.0.path().join("state")).unwrap();
    record.put_state("k", b"v").unwrap();
    let error = record.put_state("big", &vec![1; 1 << 20]).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().ends_with("no space left on the disk"), "{error}");
    assert_eq!(record.state("k").unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let book = Book::open(dir.path()).unwrap();
                for second in 0..10 {
                    book.intend_action(t(second), None, Actor::Person, &plan()).unwrap();
                }
            });
        }
    });
    assert_eq!(Book::open(dir.path()).unwrap().actions(100).unwrap().len(), 40);
}
