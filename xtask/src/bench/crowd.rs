//! The processes that a benchmark watches or suffers from: each ends by itself at a moment that it is told when it begins,
//! and is ended by its number when the benchmark ends before.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::steps::show;

/// What a busy process does in each tenth of a second.
const BUSY_FOR: Duration = Duration::from_micros(500);
/// Connections of one process that holds sockets, each of two sockets: below the usual limit of open files.
pub(super) const CONNECTIONS: usize = 450;
/// What eats memory takes so much at once, and what writes to the disk has a file of so many blocks.
const BLOCK_BYTES: usize = 1 << 20;
const EATEN_BYTES: usize = 16 << 20;
const BLOCKS: u64 = 256;
/// The nice value of a session in which memory is eaten or a disk is written.
const STORM_NICE: &str = "-15";

/// What one of the processes does.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Works for half a per cent of a core.
    Busy,
    /// Holds connections to itself.
    Sockets,
    /// Turns in a loop, in a session of its own.
    Hog,
    /// Starts a program that ends at once, over and over.
    Fork,
    /// Has memory eaten until the kernel ends who ate it, over and over.
    Memory,
    /// Eats memory until the kernel ends it.
    Eat,
    /// Writes and forces it to the disk.
    Disk,
}

#[derive(Args)]
pub(super) struct Part {
    role: Role,
    /// Seconds since 1970
    #[arg(long)]
    begin: f64,
    #[arg(long)]
    end: f64,
    #[arg(long)]
    file: Option<PathBuf>,
}

/// A process that ends with the benchmark.
pub(super) struct Started(pub(super) Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn start(command: &mut Command) -> Result<Started> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(Started(child.with_context(|| format!("could not start {}", show(command)))?))
}

/// This program in that role, from one moment to another.
pub(super) fn part(role: Role, begin: f64, end: f64) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    let name = role.to_possible_value().context("a role has a name")?;
    command.args(["bench", "part", name.get_name()]);
    command.args(["--begin", &begin.to_string(), "--end", &end.to_string()]);
    Ok(command)
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Plays a part to its end.
pub(super) fn play(part: &Part) -> Result<()> {
    if matches!(part.role, Role::Hog | Role::Fork | Role::Memory | Role::Disk) {
        rustix::process::setsid()?;
    }
    if matches!(part.role, Role::Memory | Role::Disk) {
        // Among hundreds of hogs they would hardly come to their turn, and there would be no pressure.
        let _ = fs::write("/proc/self/autogroup", STORM_NICE);
    }
    sleep(Duration::from_secs_f64((part.begin - now()).max(0.0)));
    let lasts = || now() < part.end;
    match part.role {
        Role::Busy => {
            while lasts() {
                let begun = Instant::now();
                while begun.elapsed() < BUSY_FOR {
                    std::hint::spin_loop();
                }
                sleep(Duration::from_millis(100));
            }
        }
        Role::Sockets => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let mut held = Vec::new();
            for _ in 0..CONNECTIONS {
                held.push(TcpStream::connect(listener.local_addr()?)?);
                held.push(listener.accept()?.0);
            }
            sleep(Duration::from_secs_f64((part.end - now()).max(0.0)));
        }
        Role::Hog => {
            while lasts() {
                (0..1_000_000).for_each(|_| std::hint::spin_loop());
            }
        }
        Role::Fork => {
            while lasts() {
                let _ = start(&mut Command::new("true"))?.0.wait();
            }
        }
        Role::Memory => {
            while lasts() {
                let _ = start(&mut self::part(Role::Eat, part.begin, part.end)?)?.0.wait();
            }
        }
        Role::Eat => {
            fs::write("/proc/self/oom_score_adj", "1000")?;
            let mut eaten = Vec::new();
            while lasts() {
                eaten.push(vec![1u8; EATEN_BYTES]);
            }
        }
        Role::Disk => {
            let path = part.file.as_ref().context("it needs a file to write to")?;
            let mut file = File::create(path)?;
            let block = vec![0x5a; BLOCK_BYTES];
            for at in (0..BLOCKS).cycle().take_while(|_| lasts()) {
                file.seek(SeekFrom::Start(at * BLOCK_BYTES as u64))?;
                file.write_all(&block)?;
                file.sync_data()?;
            }
        }
    }
    Ok(())
}
