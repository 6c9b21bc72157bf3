//! The nouns that all others share.
