//! `php-mail`: the log of PHP's `mail()` (`mail.log` in php.ini): which script sent mail, when.
//!
//! The script's name is PHP's own word. Whom the mail is for and its headers follow, and are whatever the script wants.

use memchr::memmem;
use toban_model::event::Event;
use toban_model::{Text, Time};

use super::php_fpm::stamp;
use super::{Sample, Unit, Way};
use crate::scan::Scan;
use crate::service::NOTHING;
use crate::stamp::Dates;
use crate::syslog::Head;

pub(crate) const UNIT: Unit = Unit {
    id: "php-mail",
    about: Text::fixed("PHP's log of the mails that scripts send", "PHP の mail() の送信ログです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(read),
};

/// `[22-Nov-2026 01:36:32 UTC] mail() on [/var/www/html/a.php:2]: To: … -- Headers: …`. The text of the event is the
/// script.
fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
    let mut scan = Scan::new(line);
    let civil = stamp(&mut scan)?;
    scan.literal(b" ")?;
    // PHP names its own zone (date.timezone): UTC if nobody set it, else nearly always the host's.
    let time = match scan.until(b"]")? {
        b"UTC" => Time::from_secs(civil.utc_secs()?),
        _ => dates.local(&civil)?,
    };
    scan.literal(b" mail() on [")?;
    let script = &scan.rest[..memmem::find(scan.rest, b"]: To: ")?];
    let colon = memchr::memrchr(b':', script)?;
    if !script[colon + 1..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    // `/a.php(3) : eval()'d code`: whatever was evaluated stands in that file.
    let script = &script[..memmem::find(&script[..colon], b"(").unwrap_or(colon)];
    Some(NOTHING.by(b"php-mail", &Head { time: Some(time), tag: b"php-mail", pid: None, text: script }))
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "[22-Nov-2026 01:36:32 UTC] mail() on [/var/www/html/uploads/.cache.php:2]: To: a@example.net -- Headers: From: b@example.jp",
        event: r#"time=2026-11-22T01:36:32Z service=php-mail text=/var/www/html/uploads/.cache.php"#,
    },
    Sample {
        format: "",
        line: "[22-Nov-2026 10:36:32 Asia/Tokyo] mail() on [/srv/shop/contact.php:120]: To: shop@example.jp -- Headers: ",
        event: r#"time=2026-11-22T01:36:32Z service=php-mail text=/srv/shop/contact.php"#,
    },
    Sample {
        format: "",
        line: "[22-Nov-2026 01:36:33 UTC] mail() on [/var/www/x.php(7) : eval()'d code:1]: To: a@example.net -- Headers: X",
        event: r#"time=2026-11-22T01:36:33Z service=php-mail text=/var/www/x.php"#,
    },
    Sample {
        format: "",
        line: "[22-Nov-2026 01:36:34 UTC] mail() on [/var/www/x.php:1]: To: a]: To: [/etc/y.php:2]: To: b -- Headers: X -- Subject: c",
        event: r#"time=2026-11-22T01:36:34Z service=php-mail text=/var/www/x.php"#,
    },
    Sample {
        format: "",
        line: "[22-Nov-2026 01:36:35 UTC] mail() on [/usr/share/php/PHPMailer/PHPMailer.php:890]: To: a@example.net -- Headers: Date: x",
        event: r#"time=2026-11-22T01:36:35Z service=php-mail text=/usr/share/php/PHPMailer/PHPMailer.php"#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "[22-Nov-2026 01:36:32 UTC] PHP Warning:  x in /a.php on line 2",
            "[22-Nov-2026 01:36:32 UTC] mail() on [/a.php:x]: To: b",
            "[22-Nov-2026 10:23:44] NOTICE: fpm is running, pid 77",
            "mail() on [/a.php:2]: To: b",
        ] {
            check("php-mail", line.as_bytes(), "none");
        }
    }
}
