//! The kernel's words, each with one plain sentence on what it means: the answer to searching the web for it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Text, Time};

/// The kernel's messages that explain an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KernelWord {
    /// A report of the OOM killer begins. Reports are rate-limited, kills are not: count kills.
    OomInvoked {
        /// The task that asked for a page, which is neither the victim nor the cause.
        comm: String,
    },
    /// The summary line of such a report.
    OomConstraint {
        /// The memory cgroup whose limit was reached; `None` if the machine's memory was.
        memcg: Option<String>,
        /// The victim's name.
        task: String,
        /// The victim.
        pid: u32,
    },
    /// A process was killed for its memory.
    OomKilled {
        /// The victim.
        pid: u32,
        /// The victim's name.
        comm: String,
        /// Its anonymous memory, in KiB.
        anon_rss_kb: Option<u64>,
        /// Its address space, in KiB.
        total_vm_kb: Option<u64>,
        /// For the limit of a cgroup, not of the machine.
        cgroup: bool,
    },
    /// A listener's queue of half-open connections is full. Said once per listener.
    SynFlooding {
        /// The listener's port.
        port: u16,
    },
    /// The connection-tracking table is full and packets are dropped.
    ConntrackFull,
    /// The table of network neighbours is full.
    NeighbourTableFull,
    /// TCP is at its memory limit.
    TcpMemory,
    /// Too many sockets without a process.
    OrphanSockets,
    /// The system's limit of open files was reached.
    FileLimit,
    /// A task has slept uninterruptibly for long.
    HungTask {
        /// The task's name.
        comm: String,
        /// The task.
        pid: u32,
        /// For at least how long.
        seconds: u64,
    },
    /// A processor is stuck in the kernel.
    Lockup,
    /// A processor has not been heard of for long by the others.
    RcuStall,
    /// A block device failed to read or write.
    IoError {
        /// The device.
        device: String,
    },
    /// A filesystem found itself damaged.
    FilesystemError {
        /// The device.
        device: String,
    },
    /// A filesystem went read-only.
    ReadOnly,
    /// The hardware reported an error of its own.
    HardwareError,
    /// A network link went down.
    LinkDown {
        /// The interface.
        interface: String,
    },
    /// A network link came up.
    LinkUp {
        /// The interface.
        interface: String,
    },
    /// A process crashed.
    Segfault {
        /// The process's name.
        comm: String,
        /// The process.
        pid: u32,
    },
    /// One row of the task table in a report of the OOM killer.
    OomTask {
        /// The task.
        pid: u32,
        /// Its name.
        comm: String,
        /// Its resident memory, in pages.
        rss_pages: u64,
    },
    /// How much a memory cgroup used when its limit was reached.
    OomLimit {
        /// Used, in KiB.
        usage_kb: u64,
        /// The limit, in KiB.
        limit_kb: u64,
    },
    /// A peer took back receive window that it had promised.
    ShrunkWindow {
        /// The peer.
        peer: Option<IpAddr>,
    },
    /// A packet came from an address that cannot be where it came from.
    Martian {
        /// The interface that it came in by.
        interface: String,
    },
    /// Memory in one piece could not be had.
    PageAllocation {
        /// The task that asked.
        comm: String,
    },
    /// The processor lowered its clock because it was too hot.
    Thermal,
    /// A disk's link was reset.
    DiskLinkReset {
        /// The port: `ata1`.
        port: String,
    },
    /// A disk did not answer a command in time.
    DiskTimeout {
        /// The device: `nvme0`.
        device: String,
    },
    /// Memory corrected an error of one bit.
    MemoryCorrected,
    /// A network card stopped sending.
    TransmitTimeout {
        /// The interface.
        interface: String,
    },
    /// The kernel itself stumbled: an oops or a bug.
    KernelBug,
    /// A process was killed for a trap other than a segmentation fault.
    Trap {
        /// The process's name.
        comm: String,
        /// The process.
        pid: u32,
    },
    /// Anything else.
    Other,
}

/// What a word is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelTopic {
    /// Memory.
    Memory,
    /// Connections and packets.
    Network,
    /// A disk, or the file system on it.
    Disk,
    /// The processor, the memory chips, heat.
    Machine,
    /// A program, or the kernel as a program.
    Program,
}

impl KernelWord {
    /// Its name for ever, kebab-case; `None` of what is not known.
    pub fn id(&self) -> Option<&'static str> {
        Some(match self {
            KernelWord::OomInvoked { .. } => "oom-invoked",
            KernelWord::OomConstraint { .. } => "oom-constraint",
            KernelWord::OomKilled { .. } => "oom-killed",
            KernelWord::OomTask { .. } => "oom-task",
            KernelWord::OomLimit { .. } => "oom-limit",
            KernelWord::SynFlooding { .. } => "syn-flooding",
            KernelWord::ConntrackFull => "conntrack-full",
            KernelWord::NeighbourTableFull => "neighbour-table-full",
            KernelWord::TcpMemory => "tcp-memory",
            KernelWord::OrphanSockets => "orphan-sockets",
            KernelWord::FileLimit => "file-limit",
            KernelWord::HungTask { .. } => "hung-task",
            KernelWord::Lockup => "lockup",
            KernelWord::RcuStall => "rcu-stall",
            KernelWord::IoError { .. } => "io-error",
            KernelWord::FilesystemError { .. } => "filesystem-error",
            KernelWord::ReadOnly => "read-only",
            KernelWord::HardwareError => "hardware-error",
            KernelWord::LinkDown { .. } => "link-down",
            KernelWord::LinkUp { .. } => "link-up",
            KernelWord::Segfault { .. } => "segfault",
            KernelWord::ShrunkWindow { .. } => "shrunk-window",
            KernelWord::Martian { .. } => "martian",
            KernelWord::PageAllocation { .. } => "page-allocation",
            KernelWord::Thermal => "thermal",
            KernelWord::DiskLinkReset { .. } => "disk-link-reset",
            KernelWord::DiskTimeout { .. } => "disk-timeout",
            KernelWord::MemoryCorrected => "memory-corrected",
            KernelWord::TransmitTimeout { .. } => "transmit-timeout",
            KernelWord::KernelBug => "kernel-bug",
            KernelWord::Trap { .. } => "trap",
            KernelWord::Other => return None,
        })
    }

    /// What it is about; `None` of what is not known.
    pub fn topic(&self) -> Option<KernelTopic> {
        Some(match self {
            KernelWord::OomInvoked { .. }
            | KernelWord::OomConstraint { .. }
            | KernelWord::OomKilled { .. }
            | KernelWord::OomTask { .. }
            | KernelWord::OomLimit { .. }
            | KernelWord::PageAllocation { .. } => KernelTopic::Memory,
            KernelWord::SynFlooding { .. }
            | KernelWord::ConntrackFull
            | KernelWord::NeighbourTableFull
            | KernelWord::TcpMemory
            | KernelWord::OrphanSockets
            | KernelWord::LinkDown { .. }
            | KernelWord::LinkUp { .. }
            | KernelWord::ShrunkWindow { .. }
            | KernelWord::Martian { .. }
            | KernelWord::TransmitTimeout { .. } => KernelTopic::Network,
            KernelWord::IoError { .. }
            | KernelWord::FilesystemError { .. }
            | KernelWord::ReadOnly
            | KernelWord::DiskLinkReset { .. }
            | KernelWord::DiskTimeout { .. } => KernelTopic::Disk,
            KernelWord::HardwareError | KernelWord::Thermal | KernelWord::MemoryCorrected => {
                KernelTopic::Machine
            }
            KernelWord::FileLimit
            | KernelWord::HungTask { .. }
            | KernelWord::Lockup
            | KernelWord::RcuStall
            | KernelWord::Segfault { .. }
            | KernelWord::KernelBug
            | KernelWord::Trap { .. } => KernelTopic::Program,
            KernelWord::Other => return None,
        })
    }

    /// What it means, in a sentence; `None` of what is not known.
    pub fn meaning(&self) -> Option<Text> {
        Some(match self {
            KernelWord::OomInvoked { .. } => Text::fixed(
                "Memory ran out just as this program asked for more; the one that asks is not the one to blame.",
                "このプログラムがメモリを要求した時点で空きがありませんでした。要求した側が原因とは限りません。",
            ),
            KernelWord::OomConstraint { memcg: Some(_), .. } => Text::fixed(
                "A control group reached its own memory limit; the rest of the machine may have had plenty.",
                "cgroup が自身のメモリ上限に達しました。マシン全体のメモリには余裕があった可能性があります。",
            ),
            KernelWord::OomConstraint { memcg: None, .. } => {
                Text::fixed("The memory of the whole machine ran out.", "マシン全体のメモリが不足しました。")
            }
            KernelWord::OomKilled { cgroup: true, .. } => Text::fixed(
                "The kernel killed this process because its control group was out of memory: it was the largest, not necessarily the culprit.",
                "cgroup のメモリ不足により、カーネルがこのプロセスを強制終了しました。最も大きかっただけで、原因とは限りません。",
            ),
            KernelWord::OomKilled { cgroup: false, .. } => Text::fixed(
                "The kernel killed this process because the machine was out of memory: it was the largest, not necessarily the culprit.",
                "マシンのメモリ不足により、カーネルがこのプロセスを強制終了しました。最も大きかっただけで、原因とは限りません。",
            ),
            KernelWord::OomTask { .. } => Text::fixed(
                "One line of the list of processes that the kernel chose a victim from.",
                "カーネルが強制終了の対象を選んだプロセス一覧の 1 行です。",
            ),
            KernelWord::OomLimit { .. } => Text::fixed(
                "How much memory the control group used, and its limit.",
                "cgroup が使用していたメモリ量とその上限です。",
            ),
            KernelWord::SynFlooding { .. } => Text::fixed(
                "More connections were begun at this port than its queue holds: a SYN flood, or a server too slow to accept.",
                "このポートへの接続要求がキューの容量を超えました。SYN flood か、サーバの accept が追い付いていない状態です。",
            ),
            KernelWord::ConntrackFull => Text::fixed(
                "The firewall's table of connections is full, so packets of new connections are dropped.",
                "ファイアウォールの接続追跡テーブルが満杯のため、新しい接続のパケットが破棄されています。",
            ),
            KernelWord::NeighbourTableFull => Text::fixed(
                "The table of hardware addresses (ARP) is full; hosts of the local network become unreachable.",
                "近隣(ARP)テーブルが満杯で、同一ネットワーク内のホストと通信できなくなります。",
            ),
            KernelWord::TcpMemory => Text::fixed(
                "TCP has used all memory that it may have (net.ipv4.tcp_mem): usually many connections with unsent data.",
                "TCP が使えるメモリ(net.ipv4.tcp_mem)の上限に達しました。多くは、未送信データを抱えた接続が大量にある状態です。",
            ),
            KernelWord::OrphanSockets => Text::fixed(
                "Too many connections whose program is gone wait for their peer; the kernel resets some.",
                "プログラムが終了した後も相手を待つ接続が多すぎるため、カーネルが一部をリセットします。",
            ),
            KernelWord::FileLimit => Text::fixed(
                "All programs together have as many files open as the system allows (fs.file-max); opening fails everywhere.",
                "開いているファイルの総数がシステムの上限(fs.file-max)に達し、あらゆるプログラムでファイルを開けません。",
            ),
            KernelWord::HungTask { .. } => Text::fixed(
                "This process has waited for minutes inside the kernel, nearly always for a disk or network file system that does not answer.",
                "このプロセスはカーネル内で数分間待たされています。ほとんどの場合、応答しないディスクかネットワークファイルシステムが原因です。",
            ),
            KernelWord::Lockup => Text::fixed(
                "A processor ran in the kernel for long without a pause: a kernel bug, failing hardware, or a hypervisor that gave it no time.",
                "CPU がカーネル内で長時間占有されました。カーネルの不具合、ハードウェア障害、または仮想化基盤の過負荷が考えられます。",
            ),
            KernelWord::RcuStall => Text::fixed(
                "A processor did not report to the others for many seconds: it was stuck, or the hypervisor did not run it.",
                "CPU が何秒も応答しませんでした。停止していたか、仮想化基盤に実行されていなかった可能性があります。",
            ),
            KernelWord::IoError { .. } => Text::fixed(
                "The disk could not read or write this place: it is failing, or its cable or storage network is.",
                "ディスクの読み書きに失敗しました。ディスク、ケーブル、またはストレージネットワークの障害です。",
            ),
            KernelWord::FilesystemError { .. } => Text::fixed(
                "The file system found itself damaged; files may be lost until it is checked.",
                "ファイルシステムの破損が見つかりました。検査するまでファイルが失われるおそれがあります。",
            ),
            KernelWord::ReadOnly => Text::fixed(
                "After an error the file system was made read-only: nothing can be written there any more.",
                "エラーのためファイルシステムが読み取り専用になりました。以後、書き込みはできません。",
            ),
            KernelWord::HardwareError => Text::fixed(
                "The processor or the memory reported an error of the hardware that could not be corrected.",
                "CPU またはメモリが、訂正できないハードウェアエラーを報告しました。",
            ),
            KernelWord::LinkDown { .. } => Text::fixed(
                "The network interface lost its signal: cable, switch port, or the virtual switch.",
                "ネットワークインターフェースのリンクが切れました。ケーブル、スイッチのポート、仮想スイッチを確認してください。",
            ),
            KernelWord::LinkUp { .. } => Text::fixed(
                "The network interface has its signal (again).",
                "ネットワークインターフェースのリンクが確立しました。",
            ),
            KernelWord::Segfault { .. } => Text::fixed(
                "This program crashed by touching memory that is not its own: a bug in it or in a library, rarely bad memory.",
                "このプログラムは不正なメモリアクセスで異常終了しました。プログラムかライブラリの不具合で、まれにメモリの故障です。",
            ),
            KernelWord::ShrunkWindow { .. } => Text::fixed(
                "A client took back receive window that it had promised (once logged as “Treason uncloaked!”): a broken client, or one that holds connections open on purpose.",
                "クライアントが一度示した受信ウィンドウを縮小しました(以前の「Treason uncloaked!」)。不具合のあるクライアントか、意図的に接続を占有する攻撃です。",
            ),
            KernelWord::Martian { .. } => Text::fixed(
                "A packet came in whose source address cannot be on that side: a wrong route, or a forged sender.",
                "その方向からは届くはずのない送信元アドレスのパケットです。経路設定の誤りか、送信元の偽装です。",
            ),
            KernelWord::PageAllocation { .. } => Text::fixed(
                "Memory of this size in one piece could not be had: memory is short or fragmented.",
                "連続したメモリ領域を確保できませんでした。メモリ不足か断片化です。",
            ),
            KernelWord::Thermal => Text::fixed(
                "The processor is too hot and runs slower to cool down: fan, dust, or the room's cooling.",
                "CPU が高温のため、クロックを下げて動作しています。ファン、ほこり、空調を確認してください。",
            ),
            KernelWord::DiskLinkReset { .. } => Text::fixed(
                "The link to a disk was reset after an error: a failing disk, cable or power supply.",
                "エラーのためディスクとの接続がリセットされました。ディスク、ケーブル、電源の故障が疑われます。",
            ),
            KernelWord::DiskTimeout { .. } => Text::fixed(
                "A disk did not answer a command in time and is being reset.",
                "ディスクが時間内に応答せず、リセットされています。",
            ),
            KernelWord::MemoryCorrected => Text::fixed(
                "A memory module had an error that was corrected; many of them announce its failure.",
                "メモリモジュールのエラーが訂正されました。多発する場合は故障の前兆です。",
            ),
            KernelWord::TransmitTimeout { .. } => Text::fixed(
                "The network card has not sent anything for seconds and is being reset.",
                "ネットワークカードが数秒間送信できず、リセットされています。",
            ),
            KernelWord::KernelBug => Text::fixed(
                "The kernel itself made a mistake; the machine may be unstable until it is restarted.",
                "カーネル自体に異常が発生しました。再起動するまで動作が不安定になるおそれがあります。",
            ),
            KernelWord::Trap { .. } => Text::fixed(
                "This program was ended by a fault of its own, such as a division by zero or an invalid instruction.",
                "このプログラムは、ゼロ除算や不正命令など自身の異常により終了しました。",
            ),
            KernelWord::Other => return None,
        })
    }
}

/// What the kernel said, one line for each kind of word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSaid {
    /// The newest word of the kind.
    pub word: KernelWord,
    /// The first of them in the window.
    pub first: Time,
    /// The newest.
    pub last: Time,
    /// How many.
    pub count: u32,
}

/// A report of the OOM killer, read whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomReport {
    /// When it began.
    pub at: Time,
    /// Who asked for memory, which is neither the victim nor the cause.
    pub asked_by: String,
    /// The memory cgroup whose limit was reached; `None` for the whole machine.
    pub memcg: Option<String>,
    /// That limit, in bytes.
    pub limit_bytes: Option<u64>,
    /// Who was killed.
    pub victim: String,
    /// What was resident by name, the most first: name, processes, bytes in pages of 4 KiB; at most eight names.
    pub largest: Vec<(String, u32, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_sentence_in_both_languages() {
        let words = [
            KernelWord::ConntrackFull,
            KernelWord::OomConstraint { memcg: None, task: "a".into(), pid: 1 },
            KernelWord::Martian { interface: "eth0".into() },
            KernelWord::RcuStall,
        ];
        for word in words {
            let text = word.meaning().unwrap();
            assert!(text.en.ends_with('.') && text.ja.ends_with('。'), "{word:?}");
            assert!(word.id().is_some() && word.topic().is_some());
        }
        assert_eq!(KernelWord::Other.meaning(), None);
    }
}
