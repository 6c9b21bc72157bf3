//! An event as one line of text, `key=value`: what samples, tests and `toban parse` compare.

use std::fmt::Write as _;

use toban_model::Time;
use toban_model::event::{Act, Event, Offence};

/// The event as one line of text. Absent fields are left out; times are UTC; bytes that are no text are escaped.
pub fn show(event: &Event<'_>) -> String {
    let mut line = Line(String::new());
    match event {
        Event::Request(request) => {
            line.time(Some(request.time));
            line.field("peer", request.peer);
            // Said once where it is said twice.
            if request.client != request.peer {
                line.field("client", request.client);
            }
            line.text("forwarded", request.forwarded);
            line.text("method", Some(request.method).filter(|text| !text.is_empty()));
            line.text("path", Some(request.path).filter(|text| !text.is_empty()));
            line.text("protocol", Some(request.protocol).filter(|text| !text.is_empty()));
            line.field("status", request.status);
            line.field("bytes", request.bytes);
            line.field("duration_us", request.duration_us);
            line.text("agent", request.agent);
            line.text("referer", request.referer);
            line.text("host", request.host);
            line.text("user", request.user);
            // The rest of the request line is known from its pieces.
            if request.method.is_empty() && !request.raw_request.is_empty() {
                line.text("raw", Some(request.raw_request));
            }
        }
        Event::Error(error) => {
            line.time(error.time);
            line.field("level", Some(format!("{:?}", error.level).to_lowercase()));
            line.field("pid", error.pid);
            line.field("peer", error.peer);
            line.field("code", error.code);
            line.text("module", error.module);
            line.field("offence", error.offence.map(Offence::id));
            line.text("account", error.account);
            line.text("text", Some(error.text));
        }
        Event::Kernel(kernel) => {
            line.time(kernel.time);
            line.field("boot_us", kernel.boot_us);
            line.field("word", Some(format!("{:?}", kernel.word)));
            line.text("text", Some(kernel.text));
        }
        Event::Service(said) => {
            line.time(said.time);
            line.text("service", Some(said.service));
            line.field("pid", said.pid);
            line.field("client", said.client);
            match said.act {
                Act::LoggedIn => line.field("act", Some("logged-in")),
                Act::Offence(offence) => line.field("offence", Some(offence.id())),
                Act::Other => {}
            }
            line.field("times", Some(said.times).filter(|times| *times != 1));
            line.text("account", said.account);
            line.text("text", Some(said.text));
        }
        Event::Silent => line.0.push_str("silent"),
    }
    line.0
}

struct Line(String);

impl Line {
    fn field(&mut self, key: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            let space = if self.0.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{space}{key}={value}");
        }
    }

    fn time(&mut self, time: Option<Time>) {
        self.field("time", time.and_then(|time| jiff::Timestamp::from_microsecond(time.as_micros()).ok()));
    }

    fn text(&mut self, key: &str, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        let plain = !value.is_empty() && value.iter().all(|b| b.is_ascii_graphic() && *b != b'"');
        let mut text = String::with_capacity(value.len());
        for chunk in value.utf8_chunks() {
            for letter in chunk.valid().chars() {
                if letter.is_control() { text.extend(letter.escape_default()) } else { text.push(letter) }
            }
            text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        }
        // The log's own escapes stay as they are: this is for reading, not for reading back.
        self.field(key, Some(if plain { text } else { format!("\"{text}\"") }));
    }
}
