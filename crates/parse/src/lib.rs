//! Turns lines into events at memory speed.
