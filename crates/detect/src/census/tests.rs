//! The census beside exact counts.

use std::collections::HashMap;

use super::*;

/// A request by anybody.
fn request<'a>(method: &'a [u8], path: &'a [u8], agent: &'a [u8]) -> Request<'a> {
    Request {
        time: Time::from_secs(1_795_312_800),
        method,
        path,
        protocol: b"HTTP/1.1",
        status: Some(200),
        duration_us: Some(2000),
        agent: Some(agent),
        ..Request::BLANK
    }
}

fn dice(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[derive(Default)]
struct Exact {
    addresses: HashMap<IpAddr, u32>,
    paths: HashMap<String, u32>,
    combinations: HashMap<(IpAddr, String), u32>,
    total: u32,
}

/// 300,000 clients of a shop, some busy; one address floods one path.
fn fill(census: &mut Census, seed: u64, lines: u32, exact: &mut Exact) {
    let mut state = seed;
    for line in 0..lines {
        let u = (dice(&mut state) % 1_000_000 + 1) as f64 / 1e6;
        let client = (300_000f64.powf(u)) as u32;
        let flood = line % 50 == 0;
        let address = if flood {
            "198.51.100.7".parse().unwrap()
        } else {
            IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + client))
        };
        let path = match (flood, dice(&mut state) % 4) {
            (true, _) => "/xmlrpc.php".to_owned(),
            (_, 0) => "/".to_owned(),
            (_, 1) => format!("/shop/shoe-{}-x/", dice(&mut state) % 100_000),
            (_, 2) => format!("/item/{}", dice(&mut state) % 100_000),
            _ => "/cart".to_owned(),
        };
        let method: &[u8] = if flood { b"POST" } else { b"GET" };
        census.request(address, None, &request(method, path.as_bytes(), b"Agent/1"));
        *exact.addresses.entry(address).or_default() += 1;
        *exact.combinations.entry((address, path.clone())).or_default() += 1;
        *exact.paths.entry(path).or_default() += 1;
        exact.total += 1;
    }
}

fn check(census: &mut Census, exact: &Exact) {
    census.settle();
    let busiest = census.busiest(50);
    let (clients, error) = busiest.clients;
    assert!(clients.abs_diff(exact.addresses.len() as u64) <= error, "{clients} ± {error}");
    for origin in &busiest.addresses {
        let count = exact.addresses[&origin.prefix.addr()];
        assert!(origin.requests <= count && count <= origin.requests + origin.missed, "{origin:?} {count}");
    }
    let heaviest = *exact.addresses.values().max().unwrap();
    assert!(busiest.addresses[0].requests + busiest.addresses[0].missed >= heaviest);
    for origin in &busiest.prefixes {
        let count: u32 =
            exact.addresses.iter().filter(|(a, _)| origin.prefix.contains(*a)).map(|(_, n)| n).sum();
        assert!(origin.requests <= count && count <= origin.requests + origin.missed, "{origin:?} {count}");
    }
    let path = |name: &str| busiest.paths.iter().find(|path| &*path.name == name).map(|path| path.requests);
    assert_eq!(path("/xmlrpc.php"), Some(exact.paths["/xmlrpc.php"]));
    assert_eq!(path("/cart"), Some(exact.paths["/cart"]));
    let items: u32 = exact.paths.iter().filter(|(p, _)| p.starts_with("/item/")).map(|(_, n)| n).sum();
    assert_eq!(path("/item/*"), Some(items));
    let shoes: u32 = exact.paths.iter().filter(|(p, _)| p.starts_with("/shop/")).map(|(_, n)| n).sum();
    assert_eq!(path("/shop/*/"), Some(shoes));
    let attacker: IpAddr = "198.51.100.7".parse().unwrap();
    let flood = busiest.combinations.iter().find(|c| c.client == Some(attacker)).unwrap();
    assert_eq!((flood.method, flood.path.as_deref()), ("POST", Some("/xmlrpc.php")));
    for combined in &busiest.combinations {
        let (Some(client), Some(path)) = (combined.client, combined.path.as_deref()) else { continue };
        let Some(count) = exact.combinations.get(&(client, path.to_owned())) else { continue };
        assert!(
            combined.requests <= *count && *count <= combined.requests + combined.missed,
            "{combined:?} {count}"
        );
    }
    let all: u32 = census.combinations.iter().map(|known| known.tally.requests).sum();
    assert_eq!(all, exact.total, "combinations share out all requests");
}

#[test]
fn counts_are_within_their_bounds() {
    let (mut census, mut exact) = (Census::default(), Exact::default());
    fill(&mut census, 1, 400_000, &mut exact);
    check(&mut census, &exact);
}

#[test]
fn two_parts_are_one() {
    let (mut one, mut other, mut exact) = (Census::default(), Census::default(), Exact::default());
    fill(&mut one, 1, 200_000, &mut exact);
    fill(&mut other, 2, 200_000, &mut exact);
    one.absorb(other);
    check(&mut one, &exact);
}

#[test]
fn clients_behind_a_proxy_are_told_apart() {
    let mut census = Census::default();
    let proxy: IpAddr = "10.0.0.1".parse().unwrap();
    for n in 0..1000u32 {
        let client: IpAddr =
            if n % 2 == 0 { "198.51.100.7".parse().unwrap() } else { IpAddr::from(n.to_be_bytes()) };
        census.request(proxy, Some(client), &request(b"GET", b"/", b"x"));
    }
    census.settle();
    let held: Vec<_> = census.holders().collect();
    let mine = held
        .iter()
        .filter(|h| h.forwarded == "198.51.100.7".parse().ok())
        .map(|h| h.sum.requests)
        .sum::<u32>();
    assert!((1..500).contains(&mine), "all but the first ones, which were not heavy yet: {mine}");
    assert_eq!(held.iter().map(|h| h.sum.requests).sum::<u32>(), 1000);
    assert!(held.iter().all(|h| h.forwarded.is_some()));
}
