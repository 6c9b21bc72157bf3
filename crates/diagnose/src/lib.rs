//! Names the cause in one closed window.
