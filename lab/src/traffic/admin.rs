//! The administrator: looks at a page of the server itself now and then, past the balancer, with curl.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::Record;
use super::http::Connection;
use crate::now;
use crate::plan::AdminPlan;
use crate::stats::Outcome;

pub(crate) fn run(spec: &Path, out: &Path) -> anyhow::Result<()> {
    crate::roles::end_with_parent()?;
    let plan: AdminPlan = serde_json::from_slice(&std::fs::read(spec)?)?;
    let record = Record::create(out)?;
    let mut rng = fastrand::Rng::new();
    if plan.mistypes {
        let askpass = super::ssh::wrong_password(out)?;
        let (address, web, pause) = (plan.address, *plan.web.ip(), Duration::from_millis(plan.every_ms));
        thread::spawn(move || {
            thread::sleep(pause);
            super::ssh::try_login(address, web, "root", &askpass);
        });
    }
    loop {
        thread::sleep(Duration::from_millis(rng.u64(plan.every_ms / 2..=plan.every_ms * 3 / 2)));
        // A host without a web server is looked at through the login alone.
        let Some(path) = rng.choice(&plan.pages).cloned() else { continue };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            plan.host_header
        );
        let (at, began) = (now(), Instant::now());
        let deadline = began + Duration::from_millis(plan.patience_ms);
        let status = Connection::open(plan.address, plan.web, deadline)
            .and_then(|mut connection| connection.request(request.as_bytes(), deadline))
            .map_or(0, |answer| answer.status);
        record.push(&Outcome {
            at,
            ms: began.elapsed().as_millis() as u64,
            kind: "page".into(),
            status,
            ok: status == 200,
            client: plan.address.to_string(),
            path,
        });
    }
}
