//! The accept queues of this host's TCP listeners: how many wait in each, and how many may.

use std::collections::BTreeMap;

use toban_model::ListenQueue;

use crate::sockets::{Sockets, Source};

/// The queues by port; of several listeners at one port the fullest. Without sock_diag(7) their limits are not known, and
/// there are none to tell of.
pub fn queues(listeners: &Sockets) -> Vec<ListenQueue> {
    if listeners.source == Source::Proc {
        return Vec::new();
    }
    let mut by_port: BTreeMap<u16, ListenQueue> = BTreeMap::new();
    for socket in &listeners.list {
        let connection = &socket.connection;
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
    by_port.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{Root, sockets};

    #[test]
    fn who_waits_at_a_listener_of_this_host() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let waiting: Vec<_> = (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        let queues = queues(&sockets::listeners(&Root::host()).unwrap());
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
