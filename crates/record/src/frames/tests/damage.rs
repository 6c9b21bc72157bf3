//! Files that were cut and flipped.

use super::*;
use crate::frames::{PAGE_SAMPLES, RUN_SAMPLES};

#[test]
fn rows_cut_at_every_byte_keep_every_whole_sample() {
    let dir = tempfile::tempdir().unwrap();
    let samples = written(dir.path(), 5, limits());
    let path = only(dir.path(), ROWS);
    let whole = fs::read(&path).unwrap();
    let mut found = 0;
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let (before, losses) = all(dir.path());
        assert!(same(&before, &samples[..before.len()]), "cut at {len}");
        assert!((found..=found + 1).contains(&before.len()), "cut at {len}");
        found = before.len();
        if len % 29 != 0 {
            continue;
        }

        // The next writer cuts the tail off, writes to a segment of its own, and nothing whole is lost.
        let mut writer = Frames::open(dir.path(), limits()).unwrap();
        writer.append(&sample(100)).unwrap();
        if len >= HEADER_BYTES {
            assert_eq!(writer.torn_bytes(), losses.torn_bytes, "cut at {len}");
        }
        drop(writer);
        let (after, losses) = all(dir.path());
        assert!(same(&after[..before.len()], &before));
        assert!(same(&after[before.len()..], &[sample(100)]));
        assert_eq!(losses, Losses::default(), "cut at {len}");
        fs::remove_dir_all(dir.path()).unwrap();
        fs::create_dir(dir.path()).unwrap();
    }
    assert_eq!(found, 5, "what is cut last is the end mark");
}

/// Whether each sample that was found is one that was written, in the same order.
fn are_of(read: &[Sample], samples: &[Sample]) -> bool {
    let mut left = samples.iter();
    read.iter().all(|read| left.any(|sample| told(sample) == told(read)))
}

#[test]
fn a_flipped_bit_in_rows_costs_at_most_the_rest_of_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let count = RUN_SAMPLES as i64 * 5 / 2;
    let samples = written(dir.path(), count, limits());
    let path = only(dir.path(), ROWS);
    let whole = fs::read(&path).unwrap();
    let mut draw = fastrand::Rng::with_seed(2);
    let heads = 0..HEADER_BYTES + 40;
    let bytes: Vec<usize> = heads.chain((0..200).map(|_| draw.usize(..whole.len()))).collect();
    for byte in bytes {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1 << draw.u8(0..8);
        fs::write(&path, &bytes).unwrap();
        let (read, losses) = all(dir.path());
        if byte < HEADER_BYTES {
            assert_eq!((read.len(), losses.unreadable_segments), (0, 1), "byte {byte}");
            continue;
        }
        assert_ne!(losses, Losses::default(), "byte {byte} was not noticed");
        assert!(are_of(&read, &samples), "byte {byte}");
        let lost: Vec<usize> =
            (0..samples.len()).filter(|&at| read.iter().all(|read| read.at != samples[at].at)).collect();
        let run = lost.first().map_or(0, |first| first / RUN_SAMPLES);
        assert!(
            lost.len() <= RUN_SAMPLES && lost.iter().all(|at| at / RUN_SAMPLES == run),
            "byte {byte}: {lost:?}"
        );
        // What cannot be read is counted, except for the one that the bit is in.
        assert!(losses.orphaned_samples as usize + 1 >= lost.len(), "byte {byte}: {losses:?}");
    }
    // What was lost is still said once the rows are columns.
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let before = all(dir.path());
    settle(dir.path());
    let after = all(dir.path());
    assert_ne!(before.1, Losses::default());
    assert_eq!(after.1, before.1);
    assert!(same(&after.0, &before.0));
}

#[test]
fn damage_in_columns_costs_its_column_in_its_page() {
    let dir = tempfile::tempdir().unwrap();
    let samples = written(dir.path(), 700, limits());
    settle(dir.path());
    let path = only(dir.path(), COLUMNS);
    let whole = fs::read(&path).unwrap();
    let mut draw = fastrand::Rng::with_seed(4);
    let mut noticed = 0;
    for round in 0..100 {
        let mut bytes = whole.clone();
        let byte = if round < 48 { round } else { draw.usize(..whole.len()) };
        bytes[byte] ^= 1 << draw.u8(0..8);
        fs::write(&path, &bytes).unwrap();
        let (read, losses) = all(dir.path());
        noticed += usize::from(losses != Losses::default());
        assert_eq!(
            read.len(),
            samples.len(),
            "byte {byte}: both directories and both times cannot be hit by one bit"
        );
        let mut damaged = Vec::new();
        for (at, (read, sample)) in read.iter().zip(&samples).enumerate() {
            assert_eq!((read.at, read.took_us), (sample.at, sample.took_us));
            if told(read) != told(sample) {
                damaged.push(at / PAGE_SAMPLES);
                let missing =
                    sample.readings.iter().filter(|reading| !read.readings.contains(reading)).count()
                        + usize::from(
                            read.processes.busiest.is_empty() && !sample.processes.busiest.is_empty(),
                        )
                        + usize::from(read.sockets.is_empty());
                assert_eq!(missing, 1, "byte {byte}, sample {at}");
                assert!(read.readings.iter().all(|reading| sample.readings.contains(reading)));
            }
        }
        damaged.dedup();
        assert!(damaged.len() <= 1, "byte {byte}: pages {damaged:?}");
        assert!(damaged.is_empty() || losses.damaged_pages == 1, "byte {byte}: {losses:?}");
    }
    assert!(noticed > 30, "{noticed}");
}

#[test]
fn columns_cut_anywhere_give_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let samples = written(dir.path(), 700, limits());
    settle(dir.path());
    let path = only(dir.path(), COLUMNS);
    let whole = fs::read(&path).unwrap();
    let mut draw = fastrand::Rng::with_seed(6);
    let mut found = 0;
    for _ in 0..60 {
        let len = draw.usize(..whole.len());
        fs::write(&path, &whole[..len]).unwrap();
        let (read, losses) = all(dir.path());
        found += read.len();
        // A cut through the second directory costs nothing.
        assert!(losses != Losses::default() || same(&read, &samples), "cut at {len}");
        let mut left = samples.iter();
        for read in &read {
            let sample = left.find(|sample| sample.at == read.at).expect("no sample is made up");
            assert!(read.readings.iter().all(|reading| sample.readings.contains(reading)));
            assert!(read.processes.busiest.is_empty() || told(read).processes == told(sample).processes);
        }
        let _ = crate::frames::vital(dir.path(), "load.1", at(0), at(700)).unwrap();
        let _ = crate::frames::moment(dir.path(), at(650)).unwrap();
        drop(Frames::open(dir.path(), limits()).unwrap());
    }
    assert!(found > 60 * samples.len() / 2, "{found}");
}
