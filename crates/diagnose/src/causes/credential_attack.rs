//! `credential-attack`: one client or a few try passwords, at sshd, a mail or FTP server, or a web form.
//!
//! Needs: more failures than anybody makes by mistake, and more than are usual here. Grave when the service has no room
//! left by it, or when one of them got in.

use toban_model::Text;

use super::{Cause, Needs};
use crate::attempts::{self, Words};

pub(super) const CAUSE: Cause = Cause {
    id: "credential-attack",
    about: Text::fixed("somebody tries passwords", "パスワードの総当たり攻撃を受けています"),
    rules_out: &["distributed-credential-attack", "syn-flood"],
    needs: Needs::Nothing,
    judge: |picture| attempts::judge(picture, &WORDS),
};

const WORDS: Words = Words {
    cause: "credential-attack",
    what: Text::fixed("tries passwords at", "パスワードを試しています"),
    offences: Text::fixed("failed logins", "ログイン失敗"),
    confidence: 0.9,
};
