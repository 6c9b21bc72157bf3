//! Reads this host; judges nothing.
