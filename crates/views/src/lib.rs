//! Shows what the record holds.
