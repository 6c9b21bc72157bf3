//! What there is only so much of on a host, and who has it: file systems, open files, ports, tracked connections,
//! a database's connections, links.
//!
//! One look gives numbers as they stand; what follows from several looks (growth, since when) is filled in by the
//! watch, and stands under "over several looks" here.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{ProcessId, Time};

/// Everything finite, as it was found last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Holdings {
    /// When; zero when nobody looked.
    pub at: Time,
    /// The file systems of this host's own disks and memory that can be written.
    pub filesystems: Vec<Filesystem>,
    /// Open files of the whole machine.
    pub handles: Option<Handles>,
    /// Processes that are near their own limit of open files, and the greatest holders while the machine is.
    pub handle_holders: Vec<HandleHolder>,
    /// The table of tracked connections.
    pub tracked: Option<Tracked>,
    /// Ephemeral ports.
    pub ports: Option<Ports>,
    /// Databases with the connections that they have.
    pub databases: Vec<Database>,
    /// Network links whose speed is known, and others that lose packets.
    pub links: Vec<Link>,
    /// Who sent and received most while a link was busy, the greatest first.
    pub talkers: Vec<Talker>,
}

/// A process as people know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Which.
    pub process: ProcessId,
    /// Its name, at most 15 bytes; its own text.
    pub comm: String,
    /// The unit or container that it belongs to.
    pub unit: Option<String>,
}

/// One mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mount: String,
    /// `ext4`, `xfs`, `tmpfs`.
    pub kind: String,
    /// What is used and what an ordinary user can still use, in bytes: df(1)'s 100 %.
    pub size_bytes: u64,
    /// Used of that.
    pub used_bytes: u64,
    /// What an ordinary user can still use.
    pub free_bytes: u64,
    /// Inodes; 0 where they are made as needed.
    pub inodes: u64,
    /// Inodes that an ordinary user can still use.
    pub inodes_free: u64,
    /// Files that matter while it is full or fills: open for writing, deleted but open, or just large; the largest
    /// first.
    pub files: Vec<FileUse>,
    /// Where its bytes are: the deepest directory that holds most of them, if it was searched.
    pub bytes_in: Option<Place>,
    /// Where its inodes are, likewise.
    pub inodes_in: Option<Place>,
    /// Over several looks: since when no ordinary user can write a byte.
    pub full_since: Option<Time>,
    /// Over several looks: since when no ordinary user can make a file.
    pub inodes_full_since: Option<Time>,
    /// Over several looks: how fast its used bytes grow, a second; 0 when they do not.
    pub growth_bytes_s: f64,
    /// Over several looks: for how many seconds without a pause.
    pub growing_s: f64,
    /// Over several looks: how much it grew since it was looked at first, in bytes.
    pub grown_bytes: u64,
}

/// A file that takes room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileUse {
    /// Its path; a stranger may have chosen it.
    pub path: String,
    /// Device and inode: what it is, whatever its name.
    pub id: (u64, u64),
    /// What it takes on the disk, in bytes.
    pub bytes: u64,
    /// Its name is gone, and its room comes back when the last process closes it.
    pub deleted: bool,
    /// It is written from front to end: opened for appending, or its writer stands at its end. A database's files
    /// are written in between.
    pub appended: bool,
    /// When it was made, where the file system knows.
    pub born: Option<Time>,
    /// When it was written last.
    pub modified: Time,
    /// Which process has it open for writing (or at all, if it is deleted).
    pub writer: Option<Owner>,
    /// The writer's number for it.
    pub fd: Option<u32>,
    /// Over several looks: how much it grew since it was seen first, in bytes.
    pub grown_bytes: u64,
}

/// A directory and what is below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Its path.
    pub path: String,
    /// Files and directories that were counted below it.
    pub entries: u64,
    /// What they take, in bytes; 0 where only entries were counted.
    pub bytes: u64,
    /// What of that was written within the last day.
    pub bytes_of_today: u64,
    /// Of all that was counted on the file system, this part lies here, 0 to 1.
    pub share: f64,
    /// Whom most of a few of its files belong to.
    pub user: Option<String>,
    /// Whether everything could be counted in the time that there was.
    pub complete: bool,
}

/// Open files of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handles {
    /// How many.
    pub used: u64,
    /// `fs.file-max`.
    pub limit: u64,
}

/// A process with many open files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandleHolder {
    /// Which.
    pub owner: Owner,
    /// How many it has.
    pub used: u64,
    /// Its RLIMIT_NOFILE, the soft one: see getrlimit(2).
    pub limit: u64,
    /// What most of them are: `socket`, `pipe`, `anon_inode`, or one path.
    pub mostly: Option<(String, u64)>,
    /// Over several looks: since when it has been at its limit.
    pub full_since: Option<Time>,
    /// Over several looks: how many more than when it was seen first near its limit.
    pub grown: u64,
}

/// The table of tracked connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tracked {
    /// Entries.
    pub used: u64,
    /// `nf_conntrack_max`.
    pub limit: u64,
    /// Connections that found no place since boot, over all processors.
    pub drops: u64,
    /// Who began most of the connections, the greatest first, if the table is nearly full and can be read.
    pub sources: Vec<(IpAddr, u64)>,
    /// Entries that were read for that.
    pub read: u64,
    /// Of those, how many are of UDP or of TCP connections that were never answered.
    pub unanswered: u64,
    /// Over several looks: since when it has been full.
    pub full_since: Option<Time>,
    /// Over several looks: connections dropped a second.
    pub drops_per_s: f64,
}

/// Ephemeral ports: each connection to one and the same place takes one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ports {
    /// How many there are: `ip_local_port_range` without the reserved.
    pub limit: u32,
    /// Where most connections go to, the greatest first; empty while few are open.
    pub destinations: Vec<Destination>,
}

/// Connections from one own address to one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// The own address.
    pub from: IpAddr,
    /// The place.
    pub to: SocketAddr,
    /// Ports that are taken.
    pub used: u32,
    /// Of those in TIME-WAIT: closed by this host within the last minute.
    pub time_wait: u32,
    /// Of those open.
    pub established: u32,
    /// Who opens them, with how many of the open ones: TIME-WAIT belongs to nobody.
    pub owners: Vec<(Owner, u32)>,
    /// Over several looks: since when none has been left.
    pub full_since: Option<Time>,
}

/// A database with its connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// `mariadb`, `mysql`, `postgresql`.
    pub name: String,
    /// Its first process.
    pub owner: Owner,
    /// Connections that it has.
    pub used: u64,
    /// `max_connections`; `None` if what was found cannot be what counts.
    pub limit: Option<u64>,
    /// Where that stands.
    pub limit_from: String,
    /// Who has them, the greatest first: a local program or another host's address.
    pub clients: Vec<DatabaseClient>,
    /// Over several looks: since when it has had no free one.
    pub full_since: Option<Time>,
}

/// Who has a database's connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseClient {
    /// One of its processes, of a local program.
    pub owner: Option<Owner>,
    /// The address, of another host.
    pub address: Option<IpAddr>,
    /// How many.
    pub used: u64,
}

/// A network link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its speed in bytes a second, of real devices that tell it.
    pub speed_bytes_s: Option<f64>,
    /// Bytes received since it was made.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Packets that were lost for want of room: FIFO overruns and missed ones. `rx_dropped` is not in it: it also
    /// counts what nobody listens to.
    pub overruns: u64,
    /// Over several looks: bytes received a second.
    pub received_bytes_s: f64,
    /// Over several looks: bytes sent a second.
    pub sent_bytes_s: f64,
    /// Over several looks: packets lost for want of room, as a part of those received, 0 to 1.
    pub lost_share: f64,
    /// Over several looks: since when it has been at its speed.
    pub full_since: Option<Time>,
    /// Over several looks: since when it has been losing packets.
    pub losing_since: Option<Time>,
}

/// Whom much is sent to or received from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Talker {
    /// The other end.
    pub peer: IpAddr,
    /// The own port if it is a service's, else the other end's.
    pub port: u16,
    /// The process at this end.
    pub owner: Option<Owner>,
    /// Bytes a second to it.
    pub sent_bytes_s: f64,
    /// Bytes a second from it.
    pub received_bytes_s: f64,
}
