//! Keeps everything.
