//! The line between the two processes: messages of four bytes of length and JSON, over a socket pair.

use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A plan names at most some thousands of prefixes, and the usual peers beside it are 50,000 at most.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Writes one message.
pub(super) fn send(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).ok().filter(|length| *length as usize <= MESSAGE_BYTES_MAX);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a message is too long"))?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&json)
}

/// Messages as they come, in whatever pieces.
pub(super) struct Inbox<T> {
    bytes: Vec<u8>,
    of: PhantomData<T>,
}

impl<T: DeserializeOwned> Inbox<T> {
    pub(super) fn new() -> Inbox<T> {
        Inbox { bytes: Vec::new(), of: PhantomData }
    }

    /// Reads what is there, waiting as long as the stream is set to; `false` when the other side is gone.
    ///
    /// # Errors
    /// What was read is no message, or a read failed.
    pub(super) fn fill(&mut self, mut stream: &UnixStream) -> io::Result<bool> {
        let mut piece = [0; 64 << 10];
        match stream.read(&mut piece) {
            Ok(0) => Ok(false),
            Ok(read) => {
                self.bytes.extend_from_slice(&piece[..read]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> io::Result<Option<T>> {
        let Some(head) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
        }
        let Some(json) = self.bytes.get(4..4 + length) else { return Ok(None) };
        let message = serde_json::from_slice(json)?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_in_whatever_pieces() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut wire = Vec::new();
        for text in ["a", "", "ふたつ"] {
            let json = serde_json::to_vec(text).unwrap();
            wire.extend(u32::try_from(json.len()).unwrap().to_be_bytes());
            wire.extend(json);
        }
        let mut inbox = Inbox::<String>::new();
        let mut found = Vec::new();
        for byte in wire {
            (&near).write_all(&[byte]).unwrap();
            assert!(inbox.fill(&far).unwrap());
            found.extend(inbox.next().unwrap());
        }
        assert_eq!(found, ["a", "", "ふたつ"]);
        drop(near);
        assert!(!inbox.fill(&far).unwrap());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for wire in [&[0xff; 8][..], b"\0\0\0\x02{]", b"\0\0\0\0"] {
            let (near, far) = UnixStream::pair().unwrap();
            (&near).write_all(wire).unwrap();
            let mut inbox = Inbox::<String>::new();
            inbox.fill(&far).unwrap();
            assert!(inbox.next().is_err(), "{wire:?}");
        }
    }
}
