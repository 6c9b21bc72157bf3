//! A column of numbers, packed: the same number once, a few as they are, many by pco.

use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec};

use super::rows::{SCALES, scaled};
use super::wire::{Bytes, block, unzigzag, varint, zigzag};

/// pco's, of 12: higher ones save a fiftieth and take twice as long.
const LEVEL: usize = 8;
/// pco says in some 20 bytes what a column is like; so few numbers are shorter.
const FEW: usize = 24;

const FORM_SAME: u8 = 0;
const FORM_FEW: u8 = 1;
const FORM_PCO: u8 = 2;
/// Stands where a scale's index would: the numbers are f64.
const FORM_F64: u8 = 3;

/// Appends whole numbers.
pub(super) fn integers(out: &mut Vec<u8>, numbers: &[i64]) {
    let first = numbers.first().copied().unwrap_or(0);
    if numbers.iter().all(|number| *number == first) {
        out.push(FORM_SAME);
        varint(out, zigzag(first));
    } else if numbers.len() <= FEW {
        out.push(FORM_FEW);
        let mut before = 0i64;
        for number in numbers {
            varint(out, zigzag(number.wrapping_sub(before)));
            before = *number;
        }
    } else {
        out.push(FORM_PCO);
        block(out, &compressed(numbers));
    }
}

/// Reads `count` whole numbers.
pub(super) fn read_integers(bytes: &mut Bytes<'_>, count: usize) -> Option<Vec<i64>> {
    match bytes.u8()? {
        FORM_SAME => Some(vec![unzigzag(bytes.varint()?); count]),
        FORM_FEW => {
            let mut before = 0i64;
            let mut next = || {
                before = before.wrapping_add(unzigzag(bytes.varint()?));
                Some(before)
            };
            (0..count).map(|_| next()).collect()
        }
        FORM_PCO => decompressed(bytes.block()?, count),
        _ => None,
    }
}

/// Appends numbers bit by bit as they are.
pub(super) fn floats(out: &mut Vec<u8>, numbers: &[f64]) {
    for (form, scale) in SCALES.into_iter().enumerate() {
        let whole = |number: &f64| {
            let scaled = scaled(*number, scale);
            ((scaled as f64 / scale).to_bits() == number.to_bits()).then_some(scaled)
        };
        if let Some(wholes) = numbers.iter().map(whole).collect::<Option<Vec<i64>>>() {
            out.push(form as u8);
            return integers(out, &wholes);
        }
    }
    out.push(FORM_F64);
    block(out, &compressed(numbers));
}

/// Reads `count` numbers.
pub(super) fn read_floats(bytes: &mut Bytes<'_>, count: usize) -> Option<Vec<f64>> {
    match bytes.u8()? {
        FORM_F64 => decompressed(bytes.block()?, count),
        form => {
            let scale = *SCALES.get(usize::from(form))?;
            Some(read_integers(bytes, count)?.into_iter().map(|whole| whole as f64 / scale).collect())
        }
    }
}

/// Appends which of `count` samples a series is in.
pub(super) fn presence(out: &mut Vec<u8>, at: &[u32], count: usize) {
    let runs: Vec<&[u32]> =
        if at.len() == count { Vec::new() } else { at.chunk_by(|a, b| a + 1 == *b).collect() };
    varint(out, runs.len() as u64);
    let mut next = 0;
    for run in runs {
        varint(out, (run[0] - next).into());
        varint(out, run.len() as u64);
        next = run[0] + run.len() as u32;
    }
}

/// Reads in which of `count` samples a series is.
pub(super) fn read_presence(bytes: &mut Bytes<'_>, count: usize) -> Option<Vec<u32>> {
    let runs = bytes.count()?;
    let whole = u32::try_from(count).ok()?;
    if runs == 0 {
        return Some((0..whole).collect());
    }
    let (mut at, mut next) = (Vec::new(), 0u32);
    for _ in 0..runs {
        let begin = next.checked_add(bytes.small()?)?;
        next = begin.checked_add(bytes.small()?).filter(|end| *end <= whole)?;
        at.extend(begin..next);
    }
    Some(at)
}

fn compressed<T: Number>(numbers: &[T]) -> Vec<u8> {
    let config = ChunkConfig::default().with_compression_level(LEVEL).with_delta_spec(DeltaSpec::Auto);
    let pack = || {
        let file = FileCompressor::default();
        let mut chunk = file.chunk_compressor(numbers, &config)?;
        let mut out = file.write_header(Vec::new())?;
        out = chunk.write_meta(out)?;
        chunk.write_page(0, out)
    };
    pack().expect("pco takes any numbers up to a page of its own, and a Vec takes any bytes")
}

fn decompressed<T: Number + Default>(bytes: &[u8], count: usize) -> Option<Vec<T>> {
    let (file, rest) = FileDecompressor::new(bytes).ok()?;
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest).ok()?;
    let mut numbers = vec![T::default(); count];
    let progress = chunk.page_decompressor(rest, count).ok()?.read(&mut numbers).ok()?;
    (progress.n_processed == count && progress.finished).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_numbers_come_back() {
        let mut draw = fastrand::Rng::with_seed(7);
        for count in [0, 1, 2, FEW, FEW + 1, 600] {
            let columns: [Vec<i64>; 4] = [
                vec![i64::MIN; count],
                (0..count).map(|_| draw.i64(..)).collect(),
                (0..count as i64).map(|at| at * 1_000_003 - 7).collect(),
                (0..count).map(|at| if at % 2 == 0 { i64::MIN } else { i64::MAX }).collect(),
            ];
            for column in columns {
                let mut out = Vec::new();
                integers(&mut out, &column);
                assert_eq!(read_integers(&mut Bytes(&out), count), Some(column.clone()));
                let bits: Vec<f64> = column.iter().map(|bits| f64::from_bits(*bits as u64)).collect();
                let wholes: Vec<f64> = column.iter().map(|number| (number >> 20) as f64).collect();
                let shares: Vec<f64> = column.iter().map(|number| (number >> 40) as f64 / 100.0).collect();
                for numbers in [bits, wholes, shares, vec![-0.0; count]] {
                    let mut out = Vec::new();
                    floats(&mut out, &numbers);
                    let read = read_floats(&mut Bytes(&out), count).unwrap();
                    let same = read.iter().zip(&numbers).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same && read.len() == count);
                }
            }
        }
    }

    #[test]
    fn where_a_series_is_comes_back() {
        for at in [vec![0], vec![0, 1, 2], vec![1, 2], vec![0, 2], vec![2]] {
            let mut out = Vec::new();
            presence(&mut out, &at, 3);
            assert_eq!(read_presence(&mut Bytes(&out), 3), Some(at));
        }
    }
}
