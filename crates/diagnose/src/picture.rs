//! The facts that all causes are judged by, computed once.

use toban_model::{ResourceUse, ServerView, Service, Situation, SymptomKind, Time, Traffic, Via, Waiting};

use crate::attribution::{Group, Spread, attribute};
use crate::backend::Backend;

/// Kills come every second or so while memory is short; so long after the last one it is over.
const KILLS_LAST: std::time::Duration = std::time::Duration::from_secs(30);

/// Whether a resource is a web server's own.
fn is_of_web(resource: &str) -> bool {
    resource.ends_with(".workers") || resource.ends_with(".accept-queue")
}

/// One situation with what its numbers add up to.
pub(crate) struct Picture<'a> {
    pub(crate) situation: &'a Situation,
    /// The web traffic that matters: of the fullest server, else the busiest.
    pub(crate) traffic: Option<&'a Traffic>,
    /// The server that it belongs to.
    pub(crate) service: Option<&'a Service>,
    /// Its live view.
    pub(crate) server: Option<&'a ServerView>,
    /// Who is behind its held workers.
    pub(crate) group: Option<Group>,
    /// What is behind them, when it comes from everywhere.
    pub(crate) spread: Option<Spread>,
    /// The full pool of children behind it.
    pub(crate) backend: Option<Backend<'a>>,
}

impl<'a> Picture<'a> {
    pub(crate) fn new(situation: &'a Situation) -> Picture<'a> {
        let fullness = |service: &str| {
            situation
                .servers
                .iter()
                .find(|v| v.service == service)
                .map_or(0.0, |v| f64::from(v.busy) / f64::from(v.limit.unwrap_or(u32::MAX).max(1)))
        };
        let traffic = situation.traffic.iter().max_by(|a, b| {
            (fullness(&a.service), a.requests.now + a.requests.usual)
                .partial_cmp(&(fullness(&b.service), b.requests.now + b.requests.usual))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let (mut group, spread) = traffic.map(|t| attribute(situation, t)).unwrap_or_default();
        let backend = Backend::of(situation, traffic);
        // While one upstream holds every child, whoever asks is slow: only who holds workers at this moment stands out.
        if backend.as_ref().is_some_and(|pool| pool.asks.is_some() && pool.is_stuck()) {
            group = group.filter(|group| group.source == "sock_diag");
        }
        Picture {
            situation,
            traffic,
            service: traffic.and_then(|t| situation.host.services.iter().find(|s| s.id == t.service)),
            server: traffic.and_then(|t| situation.servers.iter().find(|v| v.service == t.service)),
            group,
            spread,
            backend,
        }
    }

    /// Something is used up, killed, or falling together with errors.
    pub(crate) fn is_incident(&self) -> bool {
        let has = |kind| self.situation.symptoms.iter().any(|s| s.kind == kind);
        let killing =
            self.situation.kernel.oom.last().is_some_and(|k| self.situation.at.since(k.at) <= KILLS_LAST);
        self.situation.symptoms.iter().any(|s| s.kind == SymptomKind::Exhausted && is_of_web(&s.what))
            || (self.situation.symptoms.iter().any(|s| s.what == "memory") && !has(SymptomKind::OomKill))
            || killing
            || (has(SymptomKind::Fall) && has(SymptomKind::Errors))
            || self.logged_saturation()
    }

    /// Logs alone: the workers were held far beyond the usual, and requests failed or ended late for it.
    fn logged_saturation(&self) -> bool {
        self.server.is_none()
            && self
                .situation
                .symptoms
                .iter()
                .any(|s| matches!(s.kind, SymptomKind::Errors | SymptomKind::Fall))
            && self.workers().is_some_and(|w| w.usual.is_none_or(|u| w.used > (u[1] * 2.0).max(5.0)))
    }

    /// The resource that ran out: the workers if they did, else whatever did.
    pub(crate) fn exhausted(&self) -> Option<&'a ResourceUse> {
        let out = |r: &&ResourceUse| r.exhausted_since.is_some();
        self.workers()
            .filter(out)
            .or_else(|| self.situation.resources.iter().find(|r| r.name == "memory").filter(out))
            .or_else(|| self.situation.resources.iter().filter(|r| is_of_web(&r.name)).find(out))
            .or_else(|| self.workers())
    }

    pub(crate) fn workers(&self) -> Option<&'a ResourceUse> {
        let name = format!("{}.workers", self.traffic?.service);
        self.situation.resources.iter().find(|r| r.name == name)
    }

    pub(crate) fn workers_full(&self) -> bool {
        self.workers().is_some_and(|w| w.exhausted_since.is_some())
    }

    /// Since when.
    pub(crate) fn since(&self) -> Time {
        let shown = self.situation.symptoms.iter().filter(|s| s.kind != SymptomKind::High).map(|s| s.since);
        self.traffic.and_then(|t| t.onset).into_iter().chain(shown).min().unwrap_or(self.situation.at)
    }

    /// The part of the held workers that wait in this way.
    pub(crate) fn waiting_share(&self, waiting: Waiting) -> Option<f64> {
        let busy: Vec<_> = self.server?.workers.iter().filter(|w| w.waiting != Waiting::Idle).collect();
        (busy.len() >= 5)
            .then(|| busy.iter().filter(|w| w.waiting == waiting).count() as f64 / busy.len() as f64)
    }

    /// Memory that all workers would need if all were used as those in use are, or as all were when the kernel last
    /// killed for memory: right after a kill few are in use. In bytes.
    pub(crate) fn memory_if_full(&self) -> Option<f64> {
        let server = self.server?;
        let busy: Vec<f64> = server
            .workers
            .iter()
            .filter(|w| w.waiting != Waiting::Idle && w.rss_bytes > 0)
            .map(|w| w.rss_bytes as f64)
            .collect();
        let mean = busy.iter().sum::<f64>() / busy.len().max(1) as f64;
        let limit = f64::from(server.limit.unwrap_or(0));
        let now = (!busy.is_empty()).then_some(mean);
        let then = self.worker_bytes_at_kill().filter(|(count, _)| f64::from(*count) >= limit / 2.0);
        let each = now.into_iter().chain(then.map(|(_, each)| each)).reduce(f64::max);
        each.map(|each| each * limit)
    }

    /// How many processes of the server there were when the kernel last killed for memory, and what each had.
    fn worker_bytes_at_kill(&self) -> Option<(u32, f64)> {
        let name = self.service?.exe.file_name()?.to_str()?;
        let report = self.situation.kernel.reports.last()?;
        let (_, count, bytes) = report.largest.iter().find(|(comm, ..)| comm == name)?;
        (*count > 0).then(|| (*count, *bytes as f64 / f64::from(*count)))
    }

    /// The part of usual requests that came straight to this host.
    pub(crate) fn usual_direct_share(&self) -> Option<f64> {
        let usual = &self.traffic?.usual.holders;
        let all: f64 = usual.iter().map(|h| f64::from(h.requests)).sum();
        let direct: f64 =
            usual.iter().filter(|h| h.client.via == Via::Direct).map(|h| f64::from(h.requests)).sum();
        (all > 0.0 && !self.situation.balancers.is_empty()).then(|| direct / all)
    }

    /// Requests that end a second, now against usual; `None` when the usual is not known.
    pub(crate) fn throughput_ratio(&self) -> Option<f64> {
        let rate = self.traffic?.requests;
        (rate.usual > 0.0).then(|| rate.now / rate.usual)
    }

    /// Distinct clients a minute, now against usual.
    pub(crate) fn clients_ratio(&self) -> Option<f64> {
        let rate = self.traffic?.clients;
        (rate.usual > 0.0).then(|| rate.now / rate.usual)
    }
}
