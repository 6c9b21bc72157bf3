//! The accept queues of this host's TCP listeners: how many wait in each, and how many may.

use std::collections::BTreeMap;

use toban_model::ListenQueue;

use crate::sockets::{self, Filter, Source, States};
use crate::{Error, Root};

/// The queues by port; of several listeners at one port the fullest. Without sock_diag(7) their limits are not known, and
/// there are none to tell of.
///
/// # Errors
///
/// The sockets could not be read at all.
pub fn queues(root: &Root) -> Result<Vec<ListenQueue>, Error> {
    let filter = Filter { states: States::LISTEN, local_ports: Vec::new(), with_info: false };
    let sockets = sockets::tcp(root, &filter)?;
    if sockets.source == Source::Proc {
        return Ok(Vec::new());
    }
    let mut by_port: BTreeMap<u16, ListenQueue> = BTreeMap::new();
    for socket in sockets.list {
        let connection = socket.connection;
        let queue = ListenQueue {
            port: connection.local.port(),
            service: None,
            len: connection.recv_queue,
            limit: connection.send_queue,
            full_since: None,
        };
        let fullness = |queue: &ListenQueue| f64::from(queue.len) / f64::from(queue.limit.max(1));
        let known = by_port.entry(queue.port).or_insert_with(|| queue.clone());
        if fullness(&queue) > fullness(known) {
            *known = queue;
        }
    }
    Ok(by_port.into_values().collect())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_waits_at_a_listener_of_this_host() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let waiting: Vec<_> = (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        let queues = queues(&Root::host()).unwrap();
        if queues.is_empty() {
            // No sock_diag here: nothing is told rather than something wrong.
            return;
        }
        let own = queues.iter().find(|queue| queue.port == port).unwrap();
        assert_eq!(own.len, 3);
        assert!(own.limit >= 3, "{own:?}");
        drop(waiting);
    }
}
