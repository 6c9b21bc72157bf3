//! libFuzzer's way in: it calls this with the inputs that it makes up, and sees by the coverage which of them were new.
//! `TOBAN_FUZZ_TARGET` names the target. `cargo xtask fuzz` builds and starts it.

#![no_main]

use std::env;
use std::sync::LazyLock;

use toban_fuzz::Target;
use toban_fuzz::targets::ALL;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let wanted = env::var("TOBAN_FUZZ_TARGET").expect("TOBAN_FUZZ_TARGET names a target");
    ALL.iter().find(|target| target.id == wanted).expect("the target is in the list")
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.run)(input));
