//! What looking at the live host costs. The bounds are wide: they catch a look that has become a burden, not a
//! slow machine.

#![expect(clippy::print_stdout, reason = "it says what was measured")]

use std::time::{Duration, Instant};

use toban_collect::sockets::{Filter, States, tcp};
use toban_collect::{Root, Sampler, discover, procfs};
use toban_model::Time;

fn measured(what: &str, rounds: u32, bound: Duration, mut run: impl FnMut()) {
    run();
    let begun = Instant::now();
    for _ in 0..rounds {
        run();
    }
    let each = begun.elapsed() / rounds;
    println!("measured: {what} takes {each:?}");
    assert!(each < bound, "{what} takes {each:?}");
}

#[test]
fn looking_is_cheap() {
    let root = Root::host();
    let processes = procfs::pids(&root).unwrap().len();
    let mut sampler = Sampler::new(root.clone());
    let mut sample = Sampler::empty();
    measured(&format!("one sample with {processes} processes"), 100, Duration::from_millis(100), || {
        sampler.sample(Time::ZERO, &mut sample);
    });
    println!("measured: {} readings a sample", sample.readings.len());
    measured("one discovery", 10, Duration::from_secs(2), || {
        discover(&root);
    });
    let filter =
        Filter { states: States::OPEN.and(States::LISTEN), local_ports: Vec::new(), with_info: true };
    measured("one dump of all TCP sockets", 100, Duration::from_millis(500), || {
        tcp(&root, &filter).unwrap();
    });
}
