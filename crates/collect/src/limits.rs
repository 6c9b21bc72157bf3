//! Every limit of this crate, with its reason. What goes beyond one is cut and counted, never grown into.

/// Largest file of `/proc` or `/sys` that is read whole: 4 MiB holds `/proc/net/tcp` with 27,000 sockets.
pub const PROC_FILE_BYTES_MAX: usize = 4 << 20;

/// Largest configuration file: beyond 1 MiB it is not written by a person, and its directives are not ours.
pub const CONFIG_FILE_BYTES_MAX: usize = 1 << 20;

/// Most configuration files of one server: mass hosters have about one a site; above that only the tail is lost.
pub const CONFIG_FILES_MAX: usize = 2_000;

/// Deepest nesting of includes. Apache itself stops at 128; real trees have 3, and a loop ends here.
pub const INCLUDE_DEPTH_MAX: usize = 16;

/// Longest configuration line after continuation lines are joined, in bytes; Apache's own limit is 16 MiB.
pub const CONFIG_LINE_BYTES_MAX: usize = 64 << 10;

/// Most processes that are looked at: the default of kernel.pid_max on small machines.
pub const PROCESSES_MAX: usize = 32_768;

/// Most file descriptors looked at in one process: a proxy may have 100,000 and its sockets are what is wanted.
pub const FDS_PER_PROCESS_MAX: usize = 131_072;

/// Most TCP sockets returned by one question: 65,536 connections are 8 MB here, and far beyond what a server
/// with a process each can hold.
pub const CONNECTIONS_MAX: usize = 65_536;

/// Most unix sockets returned by one question.
pub const UNIX_SOCKETS_MAX: usize = 16_384;

/// Most entries of an accept queue that are listed; the queue's length itself is exact.
pub const QUEUE_LISTED_MAX: usize = 4_096;

/// Most workers of one server that are looked at: each costs three small reads.
pub const WORKERS_MAX: usize = 8_192;

/// Most file systems whose use is sampled: each costs one system call a second.
pub const MOUNTS_MAX: usize = 64;

/// How long a netlink dump may take, in seconds; it never waits for anything but the kernel.
pub const NETLINK_WAIT_S: u64 = 2;

/// Longest log line that is delivered; longer ones are cut here and counted. Apache's own request line limit is
/// 8 KiB, times the fields that repeat it; 64 KiB lines are attacks or binary rubbish.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// Most logs followed at once: one a site on a mass hoster, each a file descriptor.
pub const LOGS_MAX: usize = 1_000;

/// Bytes taken from one log before the next gets its turn, so that one flooded log does not starve the others.
pub const TAIL_TURN_BYTES: usize = 4 << 20;

/// How long a renamed log is still read, in seconds, after its last line: Apache's children go on writing to the
/// old file until a graceful restart is through.
pub const ROTATED_GRACE_S: u64 = 60;

/// Bytes at the start of a log, and before the place up to which it was read, that tell it from its successor in the
/// same inode (copytruncate).
pub const FINGERPRINT_BYTES: usize = 256;

/// Bytes of whole lines that a thread takes at once when a log's past is read; a longer line is passed over.
pub const HISTORY_CHUNK_BYTES: usize = 1 << 20;

/// Bytes of it that are read at once: they and what counts them stay in the nearest cache.
pub const HISTORY_READ_BYTES: usize = 128 << 10;

/// Most rotated files of one log that are looked at: a year of daily rotation.
pub const HISTORY_FILES_MAX: usize = 400;

/// Bytes at the start of a file in which its first line with a time is looked for; kernel traces and banners are
/// shorter.
pub const HISTORY_PROBE_BYTES: usize = 64 << 10;

/// Bytes at the start of two files that are compared to see whether they are the same log: some twenty lines with
/// their times.
pub const HISTORY_SAME_BYTES: usize = 4 << 10;

/// Bytes of whole lines that a format is found from.
pub const SAMPLE_BYTES: usize = 64 << 10;

/// Compressed bytes read at once.
pub const ARCHIVE_INPUT_BYTES: usize = 64 << 10;

/// Most memory that one archive may ask for to be inflated. What logrotate makes needs 9 MiB at most, `xz -9` 65 MiB.
pub const ARCHIVE_MEMORY_MAX: usize = 72 << 20;

/// Longest record of `/dev/kmsg`: PRINTK_MESSAGE_MAX and its dictionary stay below.
pub const KMSG_RECORD_BYTES_MAX: usize = 16 << 10;

/// Largest shared mapping taken for a scoreboard: 20,000 threads × 400 bytes.
pub const SCOREBOARD_BYTES_MAX: usize = 16 << 20;

/// Most (process, peer) pairs whose first sight is remembered.
pub const FIRST_SEEN_MAX: usize = 65_536;

/// Bytes read from the end of a syslog file to see whether it has kernel lines.
pub const SYSLOG_PROBE_BYTES: usize = 64 << 10;

/// Bytes read from the end of a log for what was said last of a server: some thousand lines.
pub const TAIL_LOOK_BYTES: usize = 256 << 10;

/// Most certificate files that are looked at: one a site on a mass hoster.
pub const CERTIFICATES_MAX: usize = 1_000;
/// Most processes that are looked at closely at once: each costs ten small reads.
pub const SUSPECTS_MAX: usize = 4;

/// Most processes that are put together into a crowd: 4,096 cost some 40 ms, once in many seconds.
pub const CROWD_MAX: usize = 4_096;
