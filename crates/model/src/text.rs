//! Words for people, in both languages, side by side.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The languages that toban speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Japanese, 敬体.
    Ja,
}

impl Lang {
    /// From a locale such as `ja_JP.UTF-8`; anything that is not Japanese is English.
    pub fn from_locale(locale: &str) -> Lang {
        if locale == "ja" || locale.starts_with("ja_") || locale.starts_with("ja.") {
            Lang::Ja
        } else {
            Lang::En
        }
    }
}

/// The same sentence in each language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// English.
    pub en: Cow<'static, str>,
    /// Japanese.
    pub ja: Cow<'static, str>,
}

impl Text {
    /// Words known at compile time.
    pub const fn fixed(en: &'static str, ja: &'static str) -> Text {
        Text { en: Cow::Borrowed(en), ja: Cow::Borrowed(ja) }
    }

    /// Words that carry this host's numbers.
    pub fn new(en: impl Into<String>, ja: impl Into<String>) -> Text {
        Text { en: Cow::Owned(en.into()), ja: Cow::Owned(ja.into()) }
    }

    /// The words in one language.
    pub fn lang(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Ja => &self.ja,
        }
    }
}
