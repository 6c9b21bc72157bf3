//! The words of `toban top`, and its keys as the help lists them.

use toban_model::{SocketCount, TcpState, Text};

crate::words::words! {
    LIVE: "live", "現在";
    PAUSED: "paused", "一時停止中";
    PAST: "past", "過去";
    VITALS: "Vitals", "バイタル";
    PROCESSES: "Processes", "プロセス";
    SOCKETS: "Sockets", "ソケット";
    INCIDENTS: "Incidents", "インシデント";
    NO_READING_YET: "waiting for the first reading", "最初の計測を待っています";
    NO_SOCKETS: "No TCP socket was seen.", "TCP ソケットは見つかりませんでした。";
    NO_PROCESS: "No process to show.", "表示するプロセスはありません。";
    NO_VITALS: "No vital was read.", "バイタルは読み取れませんでした。";
    USER: "USER", "ユーザー";
    MEMORY: "MEM", "メモリ";
    IO: "I/O /s", "I/O/秒";
    READ: "READ/s", "読込/秒";
    WRITTEN: "WRITE/s", "書込/秒";
    UNIT: "UNIT", "ユニット";
    WAITS_IN: "WAITS IN", "待機先";
    COMMAND: "COMMAND", "コマンド";
    TCP_STATE: "state", "状態";
    PORT: "port", "ポート";
    COUNT: "count", "件数";
    PEERS: "networks with the most peers", "接続元の多いネットワーク";
    OTHER_PORT: "other", "その他";
    GO_TO: "go to", "移動先の日時";
    GO_TO_FORMS: "2020-12-24 19:02, 19:02, -2h; Enter goes, Esc leaves",
        "2020-12-24 19:02、19:02、-2h の形式。Enter で移動、Esc で取り消し";
    FILTER: "filter", "絞り込み";
    FILTER_FORMS: "Enter keeps it, Esc clears it", "Enter で確定、Esc で解除";
    HINTS: "q quit  ? help  space pause  t/T sample  b go to  n now  / filter  Tab panel  <-/-> 1 s  [ ] 10 m",
        "q 終了  ? ヘルプ  space 一時停止  t/T 計測  b 移動  n 現在  / 絞り込み  Tab 切替  <-/-> 1 秒  [ ] 10 分";
    KEYS: "Keys", "キー操作";
    QUIT: "quit", "終了";
    PAUSE: "pause, and go on", "一時停止・再開";
    NEXT: "next reading, reading before", "次の計測・前の計測";
    SECOND: "a second back, forward; with Shift a minute", "1 秒前・1 秒後。Shift を押しながらで 1 分";
    MINUTES: "ten minutes back, forward", "10 分前・10 分後";
    JUMP: "go to a time", "日時を指定して移動";
    NOW: "back to now", "現在に戻る";
    SORT: "sort by CPU, memory, I/O, threads, open files", "CPU・メモリ・I/O・スレッド・オープンファイルの順に並べ替え";
    NARROW: "only processes with this text", "この文字列を含むプロセスだけを表示";
    FULL: "whole command lines, or names", "コマンドライン全体・コマンド名の切り替え";
    PANEL: "next panel, panel before", "次のパネル・前のパネル";
    SCROLL: "scroll", "スクロール";
    HELP: "this help; any key leaves it", "このヘルプ。任意のキーで閉じます";
    BY_CPU: "by CPU", "CPU 順";
    BY_MEMORY: "by memory", "メモリ順";
    BY_IO: "by I/O", "I/O 順";
    BY_THREADS: "by threads", "スレッド数順";
    BY_HANDLES: "by open files", "オープンファイル数順";
}

/// The keys, and what each does.
pub(super) static KEY_LIST: &[(&str, &Text)] = &[
    ("q", &QUIT),
    ("space", &PAUSE),
    ("t  T", &NEXT),
    ("<-  ->", &SECOND),
    ("[  ]", &MINUTES),
    ("b", &JUMP),
    ("n  End", &NOW),
    ("P M I N F", &SORT),
    ("/", &NARROW),
    ("c", &FULL),
    ("Tab  Shift+Tab", &PANEL),
    ("up down PgUp PgDn", &SCROLL),
    ("?", &HELP),
];

/// A socket's state as netstat(8) writes it.
pub(super) fn tcp_state(socket: &SocketCount) -> &'static str {
    match socket.state {
        TcpState::Established => "ESTABLISHED",
        TcpState::SynSent => "SYN_SENT",
        TcpState::SynRecv => "SYN_RECV",
        TcpState::FinWait1 => "FIN_WAIT1",
        TcpState::FinWait2 => "FIN_WAIT2",
        TcpState::TimeWait => "TIME_WAIT",
        TcpState::Close => "CLOSE",
        TcpState::CloseWait => "CLOSE_WAIT",
        TcpState::LastAck => "LAST_ACK",
        TcpState::Listen => "LISTEN",
        TcpState::Closing => "CLOSING",
    }
}
