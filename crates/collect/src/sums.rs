//! Vitals that are one number of the kernel's each, or the sum of several: a table says which.

use toban_model::{Reading, ReadingKind};

/// One vital of such a table.
pub(crate) struct Sum {
    name: &'static str,
    unit: &'static str,
    kind: ReadingKind,
    scale: f64,
    of: &'static [&'static str],
}

/// What grows, in events a second.
pub(crate) const fn events(name: &'static str, of: &'static [&'static str]) -> Sum {
    Sum { name, unit: "/s", kind: ReadingKind::Counter, scale: 1.0, of }
}

/// What there is, as a count.
pub(crate) const fn amount(name: &'static str, of: &'static [&'static str]) -> Sum {
    Sum { name, unit: "", kind: ReadingKind::Gauge, scale: 1.0, of }
}

/// What there is, in bytes; the kernel gives it in kB.
pub(crate) const fn kilobytes(name: &'static str, of: &'static [&'static str]) -> Sum {
    Sum { name, unit: "B", kind: ReadingKind::Gauge, scale: 1024.0, of }
}

/// Tells of a table's vitals from a file's names and numbers. A vital of which no name is found is absent.
pub(crate) fn tell<'a, const N: usize>(
    table: &'static [Sum; N],
    numbers: impl Iterator<Item = (&'a [u8], u64)>,
    out: &mut Vec<Reading>,
) {
    let mut sums = [None; N];
    for (name, number) in numbers {
        for (vital, sum) in table.iter().zip(&mut sums) {
            if vital.of.iter().any(|of| of.as_bytes() == name) {
                *sum = Some(sum.unwrap_or(0.0) + number as f64);
            }
        }
    }
    for (vital, sum) in table.iter().zip(sums) {
        if let Some(sum) = sum {
            let (name, unit) = (vital.name.into(), vital.unit.into());
            out.push(Reading { name, value: sum * vital.scale, unit, kind: vital.kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: [Sum; 3] = [
        events("memory.stalls", &["allocstall_dma", "allocstall_normal"]),
        kilobytes("memory.dirty", &["Dirty"]),
        amount("none", &["nothing"]),
    ];

    #[test]
    fn sums_of_what_is_there() {
        let numbers = [(&b"Dirty"[..], 2), (b"allocstall_dma", 1), (b"allocstall_normal", 4), (b"other", 9)];
        let mut out = Vec::new();
        tell(&TABLE, numbers.into_iter(), &mut out);
        let told: Vec<_> = out.iter().map(|reading| (reading.name.as_ref(), reading.value)).collect();
        assert_eq!(told, [("memory.stalls", 5.0), ("memory.dirty", 2048.0)]);
    }
}
