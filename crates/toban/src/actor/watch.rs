//! The watch's side: orders go out and reports come in, each in a thread, since the acting part may be busy restarting a
//! service for many seconds and the look of the next second must not wait for that.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::Context as _;
use toban_collect::bell::Bell;

use super::line::{self, Inbox};
use super::{Order, Report};

/// The acting part, as far as the watch can reach it.
pub(crate) struct Hands {
    pub(crate) orders: Sender<Order>,
    pub(crate) reports: Receiver<Report>,
    reading: JoinHandle<()>,
}

impl Hands {
    /// Takes up the line that the acting part has put in place of the standard input.
    /// The bell is rung for each report.
    pub(crate) fn take(bell: Bell) -> anyhow::Result<Hands> {
        let line = std::io::stdin().as_fd().try_clone_to_owned().context("no line to the acting part")?;
        Hands::on(UnixStream::from(line), bell)
    }

    fn on(stream: UnixStream, bell: Bell) -> anyhow::Result<Hands> {
        let (orders, outgoing) = channel::<Order>();
        let (incoming, reports) = channel();
        let writing = stream.try_clone().context("no line to the acting part")?;
        std::thread::Builder::new().name("toban-orders".into()).spawn(move || {
            // What cannot be sent any more is told by the other thread.
            while outgoing.recv().is_ok_and(|order| line::send(&writing, &order).is_ok()) {}
        })?;
        let reading = std::thread::Builder::new().name("toban-reports".into()).spawn(move || {
            let mut inbox = Inbox::new();
            while matches!(inbox.fill(&stream), Ok(true)) {
                while let Ok(Some(report)) = inbox.next() {
                    drop(incoming.send(report));
                    bell.ring();
                }
            }
        })?;
        Ok(Hands { orders, reports, reading })
    }

    /// The line has ended: nothing can be done any more, and nothing that was done be looked at.
    pub(crate) fn are_gone(&self) -> bool {
        self.reading.is_finished()
    }
}
