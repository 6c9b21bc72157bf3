//! `cloudfront`: standard logs of AWS CloudFront.
//! See <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html>.
//!
//! Between the columns stand tabs, and CloudFront writes a tab that a stranger sent as `%09`. The header may be missing,
//! where a file is read from its middle: then the columns are the usual ones.

use toban_model::Text;
use toban_model::event::{Event, Request};

use super::{Reader, Sample, Unit, Way};
use crate::columns::{Columns, Habits};
use crate::stamp::Dates;

pub(crate) const UNIT: Unit = Unit {
    id: "cloudfront",
    about: Text::fixed("Standard logs of AWS CloudFront", "AWS CloudFront の標準ログです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Record(|| Box::new(CloudFront { columns: None, text: Vec::new() })),
};

/// The columns of a log without a header, as they are since 2019.
const USUAL: &[u8] = b"date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start sc-range-end";

const HABITS: Habits = Habits { taken_us: 1_000_000, day: None };

#[derive(Clone, Debug)]
struct CloudFront {
    /// As the header has them.
    columns: Option<Columns>,
    /// Texts without their escapes, for as long as the event lives.
    text: Vec<u8>,
}

impl Reader for CloudFront {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        if let Some(said) = line.strip_prefix(b"#") {
            if let Some(names) = said.strip_prefix(b"Fields:") {
                memchr::memmem::find(names, b"x-edge-location")?;
                self.columns = Some(Columns::named(names, b'\t')?);
            }
            return (said.starts_with(b"Fields:") || said.starts_with(b"Version:")).then_some(Event::Silent);
        }
        let columns = match &self.columns {
            Some(columns) => columns,
            None => self.columns.insert(Columns::named(USUAL, b'\t')?),
        };
        // A line that ends with a tab is one that CloudFront's own examples have.
        let line = line.strip_suffix(b"\t").unwrap_or(line);
        let request = columns.read(line, false, HABITS, dates)?;
        Some(Event::Request(decoded(request, &mut self.text)))
    }

    fn leans_on_earlier_lines(&self) -> bool {
        true
    }

    fn fork(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

/// With what CloudFront wrote as `%20` as it was. It does so once, to what may have had such escapes of its own.
fn decoded<'a>(mut request: Request<'a>, text: &'a mut Vec<u8>) -> Request<'a> {
    let fields =
        [Some(request.path), request.agent, request.referer, request.host, request.user, request.forwarded];
    if !fields.iter().flatten().any(|field| field.contains(&b'%')) {
        return request;
    }
    text.clear();
    let ends = fields.map(|field| {
        decode(field.unwrap_or_default(), text);
        text.len()
    });
    let text: &'a [u8] = text;
    let mut start = 0;
    let mut next = |field: Option<&'a [u8]>, end| {
        let decoded = text.get(start..end);
        start = end;
        field.and(decoded)
    };
    let [path, agent, referer, host, user, forwarded] = ends;
    request.path = next(Some(request.path), path).unwrap_or_default();
    request.agent = next(request.agent, agent);
    request.referer = next(request.referer, referer);
    request.host = next(request.host, host);
    request.user = next(request.user, user);
    request.forwarded = next(request.forwarded, forwarded);
    request
}

fn decode(mut text: &[u8], into: &mut Vec<u8>) {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    while let Some(at) = memchr::memchr(b'%', text) {
        into.extend_from_slice(&text[..at]);
        match text[at + 1..].first_chunk().and_then(|[high, low]: &[u8; 2]| Some((digit(high)?, digit(low)?)))
        {
            Some((high, low)) => {
                into.push(high << 4 | low);
                text = &text[at + 3..];
            }
            None => {
                into.push(b'%');
                text = &text[at + 1..];
            }
        }
    }
    into.extend_from_slice(text);
}

const SAMPLES: &[Sample] = &[
    Sample { format: "", line: "#Version: 1.0", event: "silent" },
    Sample {
        format: "",
        line: "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start sc-range-end",
        event: "silent",
    },
    Sample {
        format: "",
        line: "2026-11-22\t01:23:44\tNRT12-C1\t392\t192.0.2.10\tGET\td111111abcdef8.cloudfront.net\t/index.html\t200\t-\tMozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)\tpage=2\t-\tHit\tSOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==\twww.example.jp\thttps\t23\t0.001\t-\tTLSv1.3\tTLS_AES_128_GCM_SHA256\tHit\tHTTP/2.0\t-\t-\t11040\t0.001\tHit\ttext/html\t78\t-\t-",
        event: r#"time=2026-11-22T01:23:43.999Z peer=192.0.2.10 method=GET path=/index.html protocol=HTTP/2.0 status=200 bytes=392 duration_us=1000 agent="Mozilla/5.0 (Windows NT 10.0; Win64; x64)" host=www.example.jp"#,
    },
    // Through somebody else's proxy, and the origin was slow.
    Sample {
        format: "",
        line: "2026-11-22\t01:24:44\tNRT12-P2\t1045\t2001:db8::7\tPOST\td111111abcdef8.cloudfront.net\t/a%2520b/%22x%22\t504\thttps://www.example.jp/\t-\t-\t-\tError\tabc==\twww.example.jp\thttps\t675\t60.000\t198.51.100.7\tTLSv1.2\tECDHE\tError\tHTTP/1.1\t-\t-\t25260\t60.000\tOriginCommError\ttext/html\t507\t-\t-",
        event: r#"time=2026-11-22T01:23:44Z peer=2001:db8::7 forwarded=198.51.100.7 method=POST path="/a%20b/"x"" protocol=HTTP/1.1 status=504 bytes=1045 duration_us=60000000 referer=https://www.example.jp/ host=www.example.jp"#,
    },
    // The client went away.
    Sample {
        format: "",
        line: "2026-11-22\t01:23:44\tFRA2\t0\t198.51.100.11\tGET\td111111abcdef8.cloudfront.net\t/slow\t000\t-\tcurl/7.55.1\t-\t-\tError\tkBkDzGnceVtWHqSCqBUqtA==\tx.example.jp\thttp\t387\t0.000\t-\t-\t-\tError\tHTTP/1.1\t-\t-\t12644\t0.103\tClientCommError\t-\t-\t-\t-",
        event: "time=2026-11-22T01:23:44Z peer=198.51.100.11 method=GET path=/slow protocol=HTTP/1.1 bytes=0 duration_us=0 agent=curl/7.55.1 host=x.example.jp",
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::{check, clock};
    use crate::{Format, show};

    #[test]
    fn columns_by_the_header() {
        let mut format = Format::from_name_or_string("cloudfront", &clock()).unwrap();
        let mut read =
            |line: &str| format.parse(line.as_bytes()).map_or("none".to_owned(), |event| show(&event));
        // Until 2015.
        read(
            "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query",
        );
        assert_eq!(
            read(
                "2014-05-23\t01:13:11\tFRA2\t182\t192.0.2.10\tGET\td1.cloudfront.net\t/view/my/file.html\t200\twww.example.jp\tMozilla/4.0%20(compatible)\t-"
            ),
            r#"time=2014-05-23T01:13:11Z peer=192.0.2.10 method=GET path=/view/my/file.html status=200 bytes=182 agent="Mozilla/4.0 (compatible)" referer=www.example.jp host=d1.cloudfront.net"#
        );
        assert_eq!(
            read("2014-05-23\t01:13:11\tFRA2\t182\t192.0.2.10\tGET\td1.cloudfront.net\t/\t200\t-\t-"),
            "none"
        );
    }

    #[test]
    fn lines_that_do_not_fit() {
        let whole = super::SAMPLES[2].line;
        for line in [
            "",
            &whole.replace('\t', " "),
            &whole.replace("192.0.2.10", "crawler.example.com"),
            &whole.replace("2026-11-22", "2026-13-22"),
            &whole.replace("01:23:44", "01:23"),
            &format!("{whole}\tmore"),
            &whole[..whole.len() - 2],
            "#Fields: date time s-ip cs-method cs-uri-stem",
            "#Remark: x",
        ] {
            check("cloudfront", line.as_bytes(), "none");
        }
    }
}
