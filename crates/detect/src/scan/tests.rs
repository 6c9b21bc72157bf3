//! The rules, one by one, told in events. Whole logs of many kinds are judged by the tests of the binary.

use std::net::IpAddr;

use toban_model::Time;
use toban_model::event::{Act, Event, Offence, Request, ServiceLine};

use super::deeds::{Deed, Mark, Marks, Told, Way, Who};
use super::*;

/// What happens in a test: seconds, who, as which account, and how it ends.
type Step<'a> = (i64, &'a str, &'a str, End);

#[derive(Clone, Copy, PartialEq)]
enum End {
    Fails,
    LogsIn,
    Knocks,
}
use End::{Fails, Knocks, LogsIn};

fn service<'a>((at, client, account, end): Step<'a>) -> Event<'a> {
    Event::Service(ServiceLine {
        time: Some(Time::from_secs(at)),
        service: b"sshd",
        pid: None,
        client: Some(client.parse().unwrap()),
        account: Some(account.as_bytes()).filter(|account| !account.is_empty()),
        act: match end {
            Fails => Act::Offence(Offence::AuthFailure),
            LogsIn => Act::LoggedIn,
            Knocks => Act::Offence(Offence::Probe),
        },
        times: 1,
        text: b"",
    })
}

fn request<'a>(at: i64, client: &str, method: &'a str, path: &'a str, status: u16) -> Request<'a> {
    let client: Option<IpAddr> = client.parse().ok();
    Request {
        time: Time::from_secs(at),
        peer: client,
        client,
        method: method.as_bytes(),
        path: path.as_bytes(),
        protocol: b"HTTP/1.1",
        status: Some(status),
        ..Request::BLANK
    }
}

/// Who is blamed for what, in words.
fn said(verdicts: &[Verdict]) -> String {
    let one = |(blamed, places): &Verdict| {
        let who = match (blamed.client, blamed.prefix) {
            (Some(client), _) => client.to_string(),
            (None, Some(prefix)) => format!("{prefix} ({})", blamed.clients.len()),
            (None, None) => format!("{} clients", blamed.clients.len()),
        };
        format!("{who} {} {} {}", blamed.cause, blamed.count, places.len())
    };
    verdicts.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn check(steps: impl IntoIterator<Item = Step<'static>>, expected: &str) {
    let mut scan = Scan::new("web", false);
    for (nth, step) in steps.into_iter().enumerate() {
        scan.event(&service(step), (0, nth as u64));
    }
    scan.end();
    assert_eq!(said(&scan.judge().verdicts([])), expected);
}

const WHO: &str = "198.51.100.7";

fn times(n: i64, every: i64, account: &'static str, end: End) -> impl Iterator<Item = Step<'static>> {
    (0..n).map(move |nth| (nth * every, WHO, account, end))
}

#[test]
fn guesses_at_one_account() {
    check(times(11, 2, "root", Fails), "");
    check(times(12, 2, "root", Fails), "198.51.100.7 credential-attack 12 12");
    // A job with an old password, and one that no job is.
    check(times(144, 600, "root", Fails), "");
    check(times(600, 60, "root", Fails), "");
    check(times(600, 20, "root", Fails), "198.51.100.7 credential-attack 600 600");
    // Whoever logs in may have mistyped, but not a hundred times.
    check(times(19, 2, "anna", Fails).chain([(99, WHO, "anna", LogsIn)]), "");
    check(
        times(100, 2, "anna", Fails).chain([(999, WHO, "anna", LogsIn)]),
        "198.51.100.7 credential-attack 100 100",
    );
}

#[test]
fn guesses_at_several_accounts() {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let guess = |every: i64| move |nth: i64| (nth * every, WHO, NAMES[nth as usize % 5], Fails);
    check((0..4).map(guess(5)), "");
    check((0..5).map(guess(5)), "198.51.100.7 credential-attack 5 5");
    check((0..9).map(guess(4000)), "");
    check((0..10).map(guess(4000)), "198.51.100.7 credential-attack 10 10");
    // Behind the address are people who know their passwords.
    let logins = NAMES.iter().map(|name| (7, WHO, *name, LogsIn));
    check((0..50).map(guess(4000)).chain(logins), "");
    // And others who do not.
    let logins = ["x", "y"].iter().map(|name| (7, WHO, *name, LogsIn));
    check((0..50).map(guess(100)).chain(logins), "198.51.100.7 credential-attack 50 50");
}

#[test]
fn knocks() {
    check(times(7, 1, "", Knocks), "");
    check(times(8, 1, "", Knocks), "198.51.100.7 scanner 8 8");
    check(times(3000, 60, "", Knocks), "");
    // Twice a minute, by two clocks.
    check((0..3000).map(|nth| (nth / 2 * 60 + nth % 2 * 17, WHO, "", Knocks)), "");
    let at_random = |nth: i64| (nth * 3_000 + nth * nth * 7919 % 2_900, WHO, "", Knocks);
    check((0..30).map(at_random), "198.51.100.7 scanner 30 30");
}

#[test]
fn a_network_together() {
    let address =
        |nth: i64| -> &'static str { ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"][nth as usize % 4] };
    let step = move |nth: i64| (nth * 40, address(nth), ["root", "admin"][(nth / 4 % 2) as usize], Fails);
    check((0..12).map(step), "192.0.2.0/24 (4) distributed-credential-attack 12 12");
    // A neighbour who logs in is not one of them.
    let neighbour = [(9, "192.0.2.99", "anna", LogsIn)];
    check((0..12).map(step).chain(neighbour), "4 clients distributed-credential-attack 12 12");
    // Each has forgotten their own password.
    let own = move |nth: i64| (nth * 40, address(nth), ["a", "b", "c", "d"][nth as usize % 4], Fails);
    check((0..12).map(own), "");
}

/// The address of somebody in a network of their own.
fn stranger(nth: i64) -> &'static str {
    format!("{}.{}.2.1", 20 + nth / 200, nth % 200).leak()
}

/// Each of these tries some accounts, two hours apart.
fn crowd(n: i64, accounts: &'static [&'static str]) -> impl Iterator<Item = Step<'static>> {
    let tries = accounts.len().max(2) as i64;
    (0..n * tries).map(move |nth| {
        let (who, try_) = (nth / tries, nth % tries);
        (who * 60 + try_ * 7_200, stranger(who), accounts[try_ as usize % accounts.len()], Fails)
    })
}

#[test]
fn a_crowd_from_everywhere() {
    const SAID: &str = "20 clients distributed-credential-attack 40 40";
    check(crowd(19, &["admin"]), "");
    check(crowd(20, &["admin"]), SAID);
    // Somebody has the account, and others mistype its password: once each, or until they know it.
    let owner = [(5, WHO, "admin", LogsIn)];
    check(crowd(20, &["admin"]).chain(owner), SAID);
    let mistype = (30..40).map(|nth| (nth * 900, stranger(nth), "admin", Fails));
    let remember = (40..50).map(|nth| (nth * 900, stranger(nth), "admin", LogsIn));
    let twice = (40..50).map(|nth| (nth * 899, stranger(nth), "admin", Fails));
    check(crowd(20, &["admin"]).chain(owner).chain(mistype).chain(remember).chain(twice), SAID);
    // A job at the same account has an old password, and goes by the clock.
    check(crowd(20, &["admin"]).chain(times(140, 600, "admin", Fails)), SAID);
    // Another account, which nobody else guesses at; not even a telephone of which there are many addresses.
    let other = (0..9).map(|nth| (nth * 700, WHO, "anna", Fails));
    let roams = (0..60).map(|nth| {
        let who = ["198.51.100.1", "203.0.113.5", "192.0.2.77"][nth as usize % 3];
        (nth * 1_300 + nth * nth % 900, who, "ben", Fails)
    });
    check(crowd(20, &["admin"]).chain(other).chain(roams), SAID);
}

#[test]
fn a_list_from_everywhere() {
    // Each name is tried from few networks, and each client tries two of them.
    let accounts: Vec<&'static str> = (0..10).map(|nth| &*format!("name{nth}").leak()).collect();
    let list = |n: i64| {
        let accounts = accounts.clone();
        (0..n * 2).map(move |nth| {
            let who = nth / 2;
            let account = accounts[((who + nth % 2 * 3) % 10) as usize];
            (nth % 2 * 9_000 + who * 60, stranger(who), account, Fails)
        })
    };
    check(list(30), "30 clients distributed-credential-attack 60 60");
    // Two wrong names that nobody else knows.
    let slips = [(5, WHO, "ana", Fails), (9, WHO, "anne", Fails)];
    check(list(30).chain(slips), "30 clients distributed-credential-attack 60 60");
}

#[test]
fn old_passwords_behind_one_address() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let polls = |nth: i64| (nth / 3 * 600 + nth % 3 * 111, WHO, NAMES[nth as usize % 3], Fails);
    let elsewhere = NAMES.iter().map(|name| (7, "203.0.113.5", *name, LogsIn));
    check((0..300).map(polls).chain(elsewhere), "");
    check((0..300).map(polls), "198.51.100.7 credential-attack 300 300");
}

#[test]
fn who_gets_in_last() {
    let guess = |nth: i64| (nth * 20, WHO, ["root", "pi", "es", "root"][nth as usize % 4], Fails);
    let found = [(900, WHO, "root", LogsIn)];
    check((0..24).map(guess).chain(found), "198.51.100.7 credential-attack 24 24");
    check((0..11).map(guess).chain(found), "");
}

#[test]
fn a_crowd_at_a_form() {
    let told = |crowd: i64, let_in: i64| {
        let mut scan = Scan::new("web", false);
        let mut all = Vec::new();
        for who in 0..crowd + let_in {
            for nth in 0..2 {
                let at = who * 60 + nth * 7_200;
                all.push(request(at, stranger(who), "POST", "/wp-login.php", 200));
            }
            if who >= crowd {
                all.push(request(who * 60 + 7_300, stranger(who), "POST", "/wp-login.php", 302));
            }
        }
        // At another door, which is another matter.
        for who in 300..330 {
            for nth in 0..3 {
                all.push(request(who * 60 + nth * 99, stranger(who), "POST", "/api/refresh-token", 401));
            }
        }
        all.iter().enumerate().for_each(|(nth, request)| scan.request(request, (0, nth as u64)));
        scan.end();
        said(&scan.judge().verdicts([]))
    };
    assert_eq!(told(49, 0), "");
    assert_eq!(told(50, 0), "50 clients distributed-credential-attack 100 100");
    assert_eq!(told(90, 80), "90 clients distributed-credential-attack 180 180");
    assert_eq!(told(80, 80), "");
}

#[test]
fn parts_are_one_in_any_order() {
    let steps: Vec<Step<'static>> = times(3000, 2, "root", Fails).collect();
    let mut all = Scan::new("web", false);
    for (part, steps) in steps.chunks(700).enumerate().collect::<Vec<_>>().into_iter().rev() {
        let mut scan = Scan::new("web", false);
        for (nth, step) in steps.iter().enumerate() {
            scan.event(&service(*step), (0, (part * 700 + nth) as u64));
        }
        all.absorb(scan);
    }
    all.end();
    let verdicts = all.judge().verdicts([]);
    assert_eq!(said(&verdicts), "198.51.100.7 credential-attack 3000 1000");
    assert!(verdicts[0].1.iter().enumerate().all(|(nth, place)| *place == (0, nth as u64)));
}

#[test]
fn marks_are_bounded() {
    let mut marks = Marks::default();
    let told = |at: i64| Told {
        client: WHO.parse().unwrap(),
        time: Time::from_secs(at),
        service: None,
        way: Way::Logins,
        deed: Some(Deed::Guess),
        what: 7,
        door: 0,
        times: 1,
        login: false,
    };
    let who = |nth: u64| Who { service: 0, client: u128::from(nth) };
    for nth in 0..2_000_000u64 {
        // The last lines come first.
        marks.add(who(nth % 5_000), &told(nth as i64), (0, 2_000_000 - nth));
    }
    assert!(marks.held() <= 1 << 19, "{}", marks.held());
    let first = marks.of(who(77), Deed::Guess);
    let places: Vec<u64> = first.iter().map(Mark::place).map(|(_, offset)| offset).collect();
    assert_eq!(places[..2], [4_923, 9_923]);
}

/// A flood by some addresses of a network, while others of it read.
#[test]
fn a_flood_is_told_by_a_second_reading() {
    let mut all = Vec::new();
    for second in 0..3_600i64 {
        all.push(request(second, "203.0.113.9", "GET", "/", 200));
        all.push(request(second, "192.0.2.200", "GET", "/news", 200));
        if (600..720).contains(&second) {
            for nth in 0..9 {
                let who = ["192.0.2.1", "192.0.2.2", "192.0.2.3"][nth % 3];
                all.push(request(second, who, "GET", "/search", 503));
            }
        }
        if second % 60 == 0 {
            all.push(request(second, "192.0.2.201", "GET", "/search", 200));
        }
    }
    let mut scan = Scan::new("web", false);
    let place = |nth: usize| (0, nth as u64 * 100);
    all.iter().enumerate().for_each(|(nth, request)| scan.request(request, place(nth)));
    scan.end();
    let judgement = scan.judge();
    let mut again = judgement.again("web").unwrap();
    assert!(again.wants(0, 0, 100) && !again.wants(1, 0, 100));
    all.iter().enumerate().for_each(|(nth, request)| again.request(request, place(nth)));
    let verdicts = judgement.verdicts([again]);
    assert_eq!(said(&verdicts), "3 clients http-flood 1080 1000");
    assert_eq!((verdicts[0].0.first, verdicts[0].0.last), (Time::from_secs(600), Time::from_secs(719)));
}

#[test]
fn what_is_asked_all_day_is_no_flood() {
    let mut scan = Scan::new("web", false);
    for nth in 0..20_000i64 {
        scan.request(&request(nth / 6, WHO, "POST", "/api/v1/metrics", 200), (0, nth as u64));
    }
    scan.end();
    assert!(scan.judge().again("web").is_none());
}
