//! After a warm-up a sample asks for no memory: it is taken also when the host has none.

use std::time::Duration;

use toban_collect::{Root, Sampler};
use toban_model::Time;

#[test]
fn a_sample_asks_for_no_memory() {
    let mut sampler = Sampler::new(Root::host());
    let mut sample = Sampler::empty();
    // Long enough that what comes in turn (texts, user, cgroup of each process) came.
    const WARM_UP: i64 = 80;
    const MEASURED: i64 = 40;
    let mut asked = Vec::new();
    for second in 0..WARM_UP + MEASURED {
        let info = allocation_counter::measure(|| sampler.sample(Time::from_secs(second), &mut sample));
        asked.push(info.count_total);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(sample.readings.len() > 50 && !sample.processes.busiest.is_empty());
    assert_eq!(sampler.failures(), []);
    let asked = &asked[WARM_UP as usize..];
    // Other tests on this host may begin a unit or an interface in between, which is given its name once.
    let quiet = asked.iter().filter(|count| **count == 0).count();
    assert!(quiet * 10 >= asked.len() * 9, "{asked:?}");
}
