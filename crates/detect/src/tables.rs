//! Tables whose keys strangers choose: nobody may know where in a table a key is put.
//!
//! All but the fuzzing engine: it tells inputs apart by the code that they lead through, and would see another input's
//! way wherever a table is filled in another order. It gets the same order every time.

/// What scatters the keys.
#[cfg(fuzzing)]
pub(crate) type Scatter = foldhash::fast::FixedState;
/// What scatters the keys.
#[cfg(not(fuzzing))]
pub(crate) type Scatter = foldhash::fast::RandomState;

pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, Scatter>;
pub(crate) type HashSet<T> = std::collections::HashSet<T, Scatter>;
