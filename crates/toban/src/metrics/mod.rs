//! Vitals and findings for Prometheus and its like: served to whoever fetches them ([`serve`]), sent to whoever takes
//! them ([`push`]). Both have threads of their own; the agent leaves what it knows and goes on.

mod push;
mod request;
mod serve;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use toban_diagnose::Diagnosis;
use toban_model::{Finding, Reading, Situation, Time, Verdict, Vital};
use toban_views::prometheus::Known;

use crate::config::Metrics;

pub(crate) use push::Pusher;

/// What is known at one moment.
struct Moment {
    at: Time,
    host: String,
    readings: Vec<Reading>,
    vitals: Vec<Vital>,
    verdict: Verdict,
    findings: Vec<Finding>,
}

impl Moment {
    fn known(&self) -> Known<'_> {
        Known {
            at: self.at,
            host: &self.host,
            version: env!("CARGO_PKG_VERSION"),
            readings: &self.readings,
            vitals: &self.vitals,
            verdict: self.verdict,
            findings: &self.findings,
        }
    }
}

/// The newest moment, for whoever asks.
type Newest = Arc<Mutex<Option<Arc<Moment>>>>;

/// What is offered as metrics.
pub(crate) struct Offered {
    newest: Newest,
    pusher: Option<Pusher>,
}

impl Offered {
    /// Begins to serve and to send what the configuration says; `None` if that is nothing.
    pub(crate) fn start(config: &Metrics) -> anyhow::Result<Option<Offered>> {
        let newest = Newest::default();
        if let Some(address) = config.listen {
            serve::start(address, &newest)?;
        }
        let pusher =
            config.push.as_ref().map(|url| Pusher::start(url.clone(), config.push_every)).transpose()?;
        Ok((config.listen.is_some() || pusher.is_some()).then_some(Offered { newest, pusher }))
    }

    /// Shows what was judged just now. Waits for nobody.
    pub(crate) fn show(&mut self, situation: &Situation, diagnosis: &Diagnosis, readings: Vec<Reading>) {
        let moment = Arc::new(Moment {
            at: situation.at,
            host: situation.host.name.clone(),
            readings,
            vitals: situation.vitals.clone(),
            verdict: diagnosis.verdict,
            findings: diagnosis.findings.clone(),
        });
        if let Some(pusher) = &mut self.pusher {
            pusher.put(&moment);
        }
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
    }

    /// What should be told of sending.
    pub(crate) fn troubles(&self) -> Vec<toban_model::Text> {
        self.pusher.as_ref().map(Pusher::troubles).unwrap_or_default()
    }
}

/// Where it can be fetched, for people.
pub(crate) fn place(address: SocketAddr) -> String {
    format!("http://{address}/metrics")
}
