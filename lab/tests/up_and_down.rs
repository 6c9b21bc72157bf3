//! A lab comes up, shows a stock web server, and leaves nothing behind. Needs root and the lab's packages.

use std::path::Path;
use std::time::Duration;

use toban_lab::{Lab, LabError, Params};

#[test]
fn a_lab_comes_up_shows_a_web_server_and_leaves_nothing() {
    let lab = match Lab::up("connect-flood", &Params::new(11).with("workers", 40)) {
        Err(LabError::Skip { because }) => return eprintln!("SKIPPED, because {because}"),
        lab => lab.unwrap(),
    };
    let (name, init) = (lab.name().to_owned(), lab.init_pid("web1").unwrap());
    let quiet = lab.quiet(Duration::from_secs(4)).unwrap();
    assert!(quiet.ok_share.is_some_and(|share| share > 0.9), "{quiet:?}");
    assert_eq!(lab.truth().unwrap().web.worker_limit, 40);

    let said =
        lab.exec("web1", &["sh", "-c", "hostname; service apache2 restart; pgrep -c apache2"]).unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.starts_with("web1\n") && !said.trim_end().ends_with("\n0"), "{said}");
    assert!(lab.exec("nowhere", &["true"]).is_err());

    let group = lab.exec("web1", &["cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]).unwrap();
    assert!(!group.status.success() || group.stdout == b"2147483648\n");
    drop(lab);
    assert!(!Path::new(&format!("/proc/{init}/root/etc/hostname")).exists());
    assert!(!toban_lab::list().iter().any(|other| other.name == name));
}
