//! `processes.*` and `unit.*`, and the rows of the busiest processes.

use std::time::Duration;

use toban_model::Sample;

use super::Collector;
use crate::processes::Table;
use crate::{Error, Root};

/// What a pass over all processes may take of a second: of the processor, and on the clock.
const SHARE_CPU: Duration = Duration::from_millis(20);
const SHARE_CLOCK: Duration = Duration::from_millis(100);

/// Looks at all processes.
pub(super) struct Processes {
    table: Table,
}

impl Default for Processes {
    fn default() -> Processes {
        Processes { table: Table::new(SHARE_CPU, SHARE_CLOCK) }
    }
}

impl Collector for Processes {
    fn id(&self) -> &'static str {
        "processes"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        self.table.sample(root, out)
    }
}
