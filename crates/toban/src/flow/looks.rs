//! The looks of a second: servers, what there is only so much of, listeners, processes.

use std::time::Duration;

use toban_collect::bell::Bell;
use toban_collect::{Sampler, closer, crowd, listeners, outbound, servers, sockets};
use toban_detect::Watch;
use toban_model::{Reading, Time};

use super::Flow;

impl Flow {
    /// Waits until something is written to a log, or the bell is rung; true when it may have been the former.
    pub(crate) fn wait(&self, at_most: Duration, bell: &Bell) -> bool {
        self.tailer.wait_or(at_most, bell)
    }

    /// Looks at the host's vitals and servers.
    pub(crate) fn look(&mut self, now: Time) {
        self.look_at_servers(now);
        let mut sample = Sampler::empty();
        let root = &self.root;
        self.sampler.get_or_insert_with(|| Sampler::new(root.clone())).sample(now, &mut sample);
        sample.readings.extend(self.watch.server_readings());
        self.watch.sample(&sample, false);
        self.look_at_processes(now);
    }

    /// Looks at the servers alone; returns what they say of themselves.
    pub(crate) fn look_at_servers(&mut self, now: Time) -> Vec<Reading> {
        let services: Vec<_> = Watch::viewable(self.watch.host()).cloned().collect();
        for service in &services {
            let view = servers::view(&self.root, service, now, &mut self.views);
            self.watch.view(view);
        }
        self.holdings.follow(&self.root, now, &mut self.watch);
        let listening = sockets::listeners(&self.root);
        if let Some(inspector) = &mut self.inspector {
            let listening = listening.as_ref().map_or(&[][..], |sockets| &sockets.list);
            if let Some(host) = inspector.look(&self.root, &mut self.watch, listening, now) {
                self.host_found(host);
            }
        }
        if self.root.is_live() {
            if let Ok(listening) = &listening {
                self.watch.queues(now, listeners::queues(listening));
            }
            if self.watch.vital("tcp.syn_sent").is_some_and(|opening| opening >= outbound::OPENING_MIN) {
                self.watch.outbound(now, outbound::look(&self.root));
            }
        }
        self.watch.server_readings()
    }

    /// Looks at what the samples do not say of processes.
    pub(crate) fn look_at_processes(&mut self, now: Time) {
        if self.watch.wants_crowd(now) {
            self.watch.crowd(crowd::count(&self.root, now));
        }
        self.look_closer(now);
    }

    /// Looks closely at the processes that are worth it; whether there are such.
    pub(crate) fn look_closer(&mut self, now: Time) -> bool {
        let suspects = self.watch.suspects(now);
        if !suspects.is_empty() {
            self.watch.looked(&suspects, closer::look(&self.root, &suspects, now));
        }
        !suspects.is_empty()
    }
}
