//! Watches the stream in bounded memory.
