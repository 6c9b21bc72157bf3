//! `distributed-credential-attack`: many try passwords a little each, so that none reaches any limit.
//!
//! Needs: a crowd from many networks that does hardly anything else, and far more failures than usual. Who fails once
//! and is let in belongs to no crowd.

use toban_model::Text;

use super::{Cause, Needs};
use crate::attempts::{self, Words};

pub(super) const CAUSE: Cause = Cause {
    id: "distributed-credential-attack",
    about: Text::fixed(
        "many addresses try passwords, a little each",
        "多数のアドレスから少しずつパスワードが試されています",
    ),
    rules_out: &["credential-attack", "flash-crowd"],
    needs: Needs::Nothing,
    judge: |picture| attempts::judge(picture, &WORDS),
};

const WORDS: Words = Words {
    cause: "distributed-credential-attack",
    what: Text::fixed("together try passwords at", "分担してパスワードを試しています"),
    offences: Text::fixed("failed logins", "ログイン失敗"),
    confidence: 0.86,
};
