//! `scanner`: somebody looks for weak spots: asks for many things that are not there or are known to be weak.
//!
//! Holding the workers would make it a flood, whatever it asks for; so it is told as what is out of the usual.

use toban_model::Text;

use super::{Cause, Needs};
use crate::attempts::{self, Words};

pub(super) const CAUSE: Cause = Cause {
    id: "scanner",
    about: Text::fixed("somebody looks for weak spots", "脆弱性の探索を受けています"),
    rules_out: &["credential-attack", "aggressive-crawler"],
    needs: Needs::Nothing,
    judge: |picture| attempts::judge(picture, &WORDS),
};

const WORDS: Words = Words {
    cause: "scanner",
    what: Text::fixed("looks for weak spots at", "脆弱性を探しています"),
    offences: Text::fixed("requests for what is not there or is known to be weak", "探索リクエスト"),
    confidence: 0.85,
};
