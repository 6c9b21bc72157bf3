//! Thousands of generated plans against the safety rules: each is refused, or comes back as one that hits nothing
//! protected. What "hits" means is worked out here a second time, address by address and on 128 bits.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use toban_model::{Action, Actor, Plan, Prefix, ProcessId, Protected, Restart, Supervisor};
use toban_respond::safety;

/// Every address as a number of 128 bits, v4 in its mapped form: the one space in which both families meet.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn range(prefix: &Prefix) -> (u128, u128) {
    (number(prefix.network()), number(prefix.broadcast()))
}

fn overlap(a: &Prefix, b: &Prefix) -> bool {
    let ((a0, a1), (b0, b1)) = (range(a), range(b));
    a0 <= b1 && b0 <= a1
}

fn holds(prefix: &Prefix, address: IpAddr) -> bool {
    let (low, high) = range(prefix);
    (low..=high).contains(&number(address))
}

/// Few networks, so that plans and protected addresses meet often; sometimes in their mapped form.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = prop_oneof![
        Just([198, 51, 100]),
        Just([203, 0, 113]),
        Just([192, 0, 2]),
        Just([10, 1, 2]),
        Just([127, 0, 0]),
        Just([224, 0, 0]),
        Just([0, 0, 0]),
    ];
    let v4 = (v4, 0_u8..32).prop_map(|(net, last)| Ipv4Addr::new(net[0], net[1], net[2], last));
    let v6 = (
        prop_oneof![Just(0x2001_0db8_u32), Just(0xfe80_0000), Just(0xff02_0000), Just(0)],
        0_u16..4,
        0_u16..16,
    )
        .prop_map(|(net, site, last)| {
            Ipv6Addr::from(u128::from(net) << 96 | u128::from(site) << 64 | u128::from(last))
        });
    prop_oneof![
        4 => v4.clone().prop_map(IpAddr::V4),
        1 => v4.prop_map(|v4| IpAddr::V6(v4.to_ipv6_mapped())),
        2 => v6.prop_map(IpAddr::V6),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let length =
        prop_oneof![4 => 24_u8..=32, 1 => 0_u8..=32, 2 => 96_u8..=128, 2 => 32_u8..=64, 1 => 0_u8..=128];
    (address(), length).prop_map(|(address, length)| {
        let length = if address.is_ipv4() { length.min(32) } else { length };
        Prefix::new(address, length).expect("the length fits the family")
    })
}

fn ports() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(prop_oneof![Just(22_u16), Just(80), Just(443), Just(0), any::<u16>()], 0..4)
}

fn step() -> impl Strategy<Value = Action> {
    let prefixes = || prop::collection::vec(prefix(), 0..5);
    prop_oneof![
        4 => (prefixes(), ports(), any::<u64>()).prop_map(|(prefixes, ports, for_s)| Action::Ban { prefixes, ports, for_s }),
        2 => (prefixes(), ports()).prop_map(|(prefixes, ports)| Action::EndSockets { prefixes, ports }),
        1 => (prefixes(), ports(), any::<u64>())
            .prop_map(|(from, ports, confirm_within_s)| Action::AcceptOnlyFrom { from, ports, confirm_within_s }),
        1 => (0_u32..6, 0_u64..2)
            .prop_map(|(pid, start_ticks)| Action::StopProcess { process: ProcessId { pid, start_ticks } }),
        1 => (0_u32..4, 0_u64..2, prop_oneof![Just("apache"), Just("sshd"), Just("ssh")]).prop_map(|(pid, start_ticks, service)| {
            Action::Restart(Restart {
                service: service.to_owned(),
                master: ProcessId { pid, start_ticks },
                supervisor: Supervisor::Systemd(format!("{service}.service")),
            })
        }),
    ]
}

fn protected() -> impl Strategy<Value = Protected> {
    let some = || prop::collection::vec(address(), 0..3);
    let usual = prop::collection::vec((address(), 0_u32..400), 0..8);
    let processes = prop::collection::vec(0_u32..6, 0..3);
    (some(), some(), some(), some(), some(), prop::collection::vec(prefix(), 0..2), usual, processes)
        .prop_map(|(own, gateways, resolvers, balancers, logins, allowlist, usual_peers, processes)| {
            Protected { own, gateways, resolvers, balancers, logins, allowlist, usual_peers, processes }
        })
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![Just(Actor::Agent), Just(Actor::Person)]
}

/// What must hold of every plan that passes.
fn assert_safe(given: &Plan, safe: &Plan, protected: &Protected, by: Actor) {
    assert_eq!(given.steps.len(), safe.steps.len());
    for (given, step) in given.steps.iter().zip(&safe.steps) {
        match (given, step) {
            (Action::Ban { prefixes: asked, .. }, Action::Ban { prefixes, ports, for_s }) => {
                assert_cut_off(asked, prefixes, protected);
                assert!((60..=30 * 24 * 3600).contains(for_s));
                assert!(!ports.contains(&0));
                if by == Actor::Agent && (ports.is_empty() || ports.contains(&22)) {
                    assert!(
                        prefixes
                            .iter()
                            .all(|p| p.prefix_len() >= if matches!(p, Prefix::V4(_)) { 24 } else { 48 })
                    );
                }
            }
            (Action::EndSockets { prefixes: asked, .. }, Action::EndSockets { prefixes, .. }) => {
                assert_cut_off(asked, prefixes, protected);
            }
            (_, Action::AcceptOnlyFrom { from, ports, confirm_within_s }) => {
                for friend in protected.own.iter().chain(&protected.logins).chain(&protected.balancers) {
                    assert!(from.iter().any(|p| holds(p, *friend)), "{friend} is locked out by {from:?}");
                }
                assert!((10..=600).contains(confirm_within_s));
                assert!(!ports.is_empty() && (by == Actor::Person || !ports.contains(&22)));
            }
            (_, Action::StopProcess { process }) => {
                assert!(process.pid > 2 && process.start_ticks > 0);
                assert!(!protected.processes.contains(&process.pid));
            }
            (_, Action::Restart(restart)) => {
                assert!(restart.master.pid > 2 && restart.master.start_ticks > 0);
                assert!(!restart.service.starts_with("ssh"));
            }
            other => panic!("a step became another: {other:?}"),
        }
    }
    assert_eq!(&safety::check(safe, protected, by).expect("what is safe stays safe"), safe);
}

fn assert_cut_off(asked: &[Prefix], prefixes: &[Prefix], protected: &Protected) {
    let special = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "::1/128",
        "fe80::/10",
        "ff00::/8",
    ];
    let total: u64 = protected.usual_peers.iter().map(|(_, n)| u64::from(*n)).sum();
    for (at, prefix) in prefixes.iter().enumerate() {
        assert_eq!(*prefix, prefix.trunc());
        assert!(prefix.prefix_len() >= if matches!(prefix, Prefix::V4(_)) { 16 } else { 32 }, "{prefix}");
        if let Prefix::V6(v6) = prefix {
            assert_eq!(v6.network().to_ipv4_mapped(), None, "{prefix} should have become v4");
        }
        for special in special {
            assert!(!overlap(prefix, &special.parse().unwrap()), "{prefix} hits {special}");
        }
        let lists = [
            &protected.own,
            &protected.gateways,
            &protected.resolvers,
            &protected.balancers,
            &protected.logins,
        ];
        for address in lists.into_iter().flatten() {
            assert!(!holds(prefix, *address), "{prefix} hits {address}");
        }
        for allowed in &protected.allowlist {
            assert!(!overlap(prefix, allowed), "{prefix} hits the allowed {allowed}");
        }
        let hit: u64 =
            protected.usual_peers.iter().filter(|(a, _)| holds(prefix, *a)).map(|(_, n)| u64::from(*n)).sum();
        assert!(total < 1000 || hit * 1000 <= total, "{prefix} carried {hit} of {total}");
        assert!(prefixes[at + 1..].iter().all(|other| !overlap(prefix, other)), "overlap in {prefixes:?}");
        assert!(asked.iter().any(|a| range(&a.trunc()) == range(prefix)), "{prefix} was not asked for");
    }
    // Nothing was lost either: each prefix asked for is covered.
    for asked in asked {
        assert!(
            prefixes
                .iter()
                .any(|p| range(p).0 <= range(&asked.trunc()).0 && range(&asked.trunc()).1 <= range(p).1),
            "{asked} got lost"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_generated_plan_hits_what_is_protected(
        steps in prop::collection::vec(step(), 1..4),
        protected in protected(),
        by in actor(),
    ) {
        let plan = Plan { steps, ..Plan::default() };
        match safety::check(&plan, &protected, by) {
            Ok(safe) => assert_safe(&plan, &safe, &protected, by),
            Err(refusals) => prop_assert!(!refusals.is_empty()),
        }
    }

    /// Rules that refuse everything would pass the test above: what is harmless must pass.
    #[test]
    fn a_harmless_ban_passes(last in 128_u8..=255, length in 25_u8..=32, protected in protected(), by in actor()) {
        let prefix = Prefix::new(Ipv4Addr::new(100, 99, 98, last).into(), length).unwrap();
        let protected = Protected { allowlist: vec![], ..protected };
        let plan = Plan { steps: vec![Action::Ban { prefixes: vec![prefix], ports: vec![80], for_s: 3600 }], ..Plan::default() };
        prop_assert!(safety::check(&plan, &protected, by).is_ok());
    }
}
