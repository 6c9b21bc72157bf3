//! `alb`: access logs of AWS's load balancers, of the Application Load Balancer and of the classic one.
//! See <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html> and
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html>.
//!
//! The client's address stands in front of everything that a stranger writes.

use toban_model::event::{Event, Request};
use toban_model::{Text, Time};

use super::{Sample, Unit, Way};
use crate::http::{present, status, take_url_line};
use crate::scan::{Scan, address_with_port, decimal_micros, number};
use crate::stamp::{Dates, iso};
use crate::window::unescaped_quote;

pub(crate) const UNIT: Unit = Unit {
    id: "alb",
    about: Text::fixed(
        "Access logs of AWS load balancers, application and classic",
        "AWS のロードバランサー(ALB と従来の ELB)のアクセスログです",
    ),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(|line, dates| read(line, dates).map(Event::Request)),
};

fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<Request<'a>> {
    let mut scan = Scan::new(line);
    // The classic one has no type in front.
    let kind = match line.first()? {
        b'0'..=b'9' => None,
        _ => Some(scan.until(b" ")?),
    };
    if kind.is_some_and(|kind| !kind.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())) {
        return None;
    }
    let stamp = zulu(&mut scan, dates)?;
    scan.literal(b" ")?;
    let _balancer = scan.until(b" ")?;
    let mut request = Request::BLANK;
    request.peer = Some(address_with_port(scan.until(b" ")?)?);
    request.client = request.peer;
    let _target = scan.until(b" ")?;
    let mut held = Some(0u64);
    for _ in 0..3 {
        held = match scan.until(b" ")? {
            b"-1" | b"-" => None,
            seconds => {
                let micros = decimal_micros(seconds)?;
                held.and_then(|held| held.checked_add(micros))
            }
        };
    }
    request.status = status(scan.until(b" ")?)?;
    let _status_of_target = status(scan.until(b" ")?)?;
    let _received = number(scan.until(b" ")?)?;
    request.bytes = Some(number(scan.until(b" ")?)?);
    take_url_line(&mut request, quoted(&mut scan)?);
    scan.literal(b" ")?;
    request.agent = present(quoted(&mut scan)?);
    // The classic one's stamp is of the receipt. The other has that too, behind much else.
    let received =
        if kind.is_some() { received(scan, dates).filter(|time| *time <= stamp) } else { Some(stamp) };
    request.duration_us = match received {
        // A connection, not a request; or nobody answered.
        Some(received) if kind.is_some() && (held.is_none() || matches!(kind, Some(b"ws" | b"wss"))) => {
            u64::try_from(stamp.as_micros() - received.as_micros()).ok()
        }
        _ => held,
    };
    let reckoned = stamp.as_micros().saturating_sub_unsigned(request.duration_us.unwrap_or(0));
    request.time = received.unwrap_or(Time::from_micros(reckoned));
    Some(request)
}

/// `request_creation_time`, if the line goes on as it should.
fn received(mut scan: Scan<'_>, dates: &mut Dates) -> Option<Time> {
    scan.literal(b" ")?;
    for _ in ["cipher", "protocol", "target group"] {
        scan.until(b" ")?;
    }
    for _ in ["trace", "domain", "certificate"] {
        quoted(&mut scan)?;
        scan.literal(b" ")?;
    }
    let _priority = scan.until(b" ")?;
    zulu(&mut scan, dates)
}

/// A stamp in UTC that says so.
fn zulu(scan: &mut Scan<'_>, dates: &mut Dates) -> Option<Time> {
    let before = scan.rest;
    let time = iso(scan, dates)?;
    before[..before.len() - scan.rest.len()].ends_with(b"Z").then_some(time)
}

fn quoted<'a>(scan: &mut Scan<'a>) -> Option<&'a [u8]> {
    scan.literal(b"\"")?;
    let text = scan.take(unescaped_quote(scan.rest)?)?;
    scan.literal(b"\"")?;
    Some(text)
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: r#"http 2026-11-22T01:23:44.186641Z app/web/50dc6c495c0c9188 192.0.2.10:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 "GET http://www.example.jp:80/a?b=c HTTP/1.1" "curl/7.46.0" - - arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/web/73e2d6bc24d8a067 "Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2026-11-22T01:23:44.185000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-""#,
        event: "time=2026-11-22T01:23:44.185Z peer=192.0.2.10 method=GET path=/a protocol=HTTP/1.1 status=200 bytes=366 duration_us=1000 agent=curl/7.46.0 host=www.example.jp:80",
    },
    // Nobody answered in time.
    Sample {
        format: "",
        line: r#"h2 2026-11-22T01:24:44.186641Z app/web/50dc6c495c0c9188 [2001:db8::7]:2817 10.0.0.1:443 0.000 -1 -1 504 - 34 366 "POST https://www.example.jp:443/login HTTP/2.0" "Mozilla/5.0 (X11; Linux x86_64)" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/web/73e2d6bc24d8a067 "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.jp" "arn:aws:acm:us-east-2:123456789012:certificate/1" 1 2026-11-22T01:23:44.186641Z "waf,forward" "-" "-" "10.0.0.1:443" "-" "-" "-""#,
        event: r#"time=2026-11-22T01:23:44.186641Z peer=2001:db8::7 method=POST path=/login protocol=HTTP/2.0 status=504 bytes=366 duration_us=60000000 agent="Mozilla/5.0 (X11; Linux x86_64)" host=www.example.jp:443"#,
    },
    // What came was no request.
    Sample {
        format: "",
        line: r#"http 2026-11-22T01:23:44.186641Z app/web/50dc6c495c0c9188 198.51.100.11:2817 - -1 -1 -1 400 - 0 272 "- http://web-1234.us-east-2.elb.amazonaws.com:80- -" "-" - - - "-" "-" "-" - 2026-11-22T01:23:44.180000Z "-" "-" "-" "-" "-" "-" "-""#,
        event: "time=2026-11-22T01:23:44.18Z peer=198.51.100.11 status=400 bytes=272 duration_us=6641",
    },
    // A WebSocket, when it was closed.
    Sample {
        format: "",
        line: r#"wss 2026-11-22T01:24:44.000000Z app/web/50dc6c495c0c9188 192.0.2.10:44244 10.0.0.171:8010 0.000 0.001 0.000 101 101 218 786 "GET https://www.example.jp:443/live HTTP/1.1" "-" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/web/73e2d6bc24d8a067 "Root=1-58337364-23a8c76965a2ef7629b185e3" "-" "-" 1 2026-11-22T01:23:44.000000Z "forward" "-" "-""#,
        event: "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/live protocol=HTTP/1.1 status=101 bytes=786 duration_us=60000000 host=www.example.jp:443",
    },
    // The classic one: HTTP, then TCP.
    Sample {
        format: "",
        line: r#"2026-11-22T01:23:44.945958Z my-loadbalancer 192.0.2.10:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 "GET http://www.example.jp:80/ HTTP/1.1" "curl/7.38.0" - -"#,
        event: "time=2026-11-22T01:23:44.945958Z peer=192.0.2.10 method=GET path=/ protocol=HTTP/1.1 status=200 bytes=29 duration_us=1178 agent=curl/7.38.0 host=www.example.jp:80",
    },
    Sample {
        format: "",
        line: r#"2026-11-22T01:23:44.945958Z my-loadbalancer 192.0.2.10:2817 10.0.0.1:80 0.001069 0.000028 0.000041 - - 82 305 "- - - " "-" - -"#,
        event: "time=2026-11-22T01:23:44.945958Z peer=192.0.2.10 bytes=305 duration_us=1138",
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn a_forged_line_in_a_header_names_nobody() {
        let forged = super::SAMPLES[0].line.replace("192.0.2.10", "203.0.113.9");
        for forged in [forged.replace('"', r#"\""#), forged.replace('"', r"\x22"), forged.clone()] {
            let line = format!(
                r#"http 2026-11-22T01:23:44.000000Z app/web/5 192.0.2.10:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 "GET http://x/ HTTP/1.1" "{forged}" - -"#
            );
            let mut format =
                crate::Format::from_name_or_string("alb", &super::super::tests::clock()).unwrap();
            assert_eq!(format.request(line.as_bytes()).unwrap().peer, Some([192, 0, 2, 10].into()), "{line}");
        }
    }

    #[test]
    fn lines_that_do_not_fit() {
        let whole = super::SAMPLES[4].line;
        for line in [
            "",
            "http",
            "tls 2.0 2026-11-22T01:23:44 net/my/c6e77e28c25b2234 g3d4b5e8bb8464cd 192.0.2.10:51341 172.100.100.185:443 5 2 98 246 -",
            &whole.replace("945958Z", "945958+09:00"),
            &whole.replace("192.0.2.10:2817", "crawler.example.com:2817"),
            &whole.replace("192.0.2.10:2817", "192.0.2.10"),
            &whole.replace(" 200 200 ", " 2000 200 "),
            &whole.replace("\"curl", "curl"),
            &whole[..whole.len() - 6],
        ] {
            check("alb", line.as_bytes(), "none");
        }
    }
}
