//! A thousand plans and takings-back, one after the other, on the real kernel: after each of them it holds what the book
//! says, and nothing of what is protected.
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use toban_model::{Action, ActionId, ActionState, Actor, Plan, Prefix, Protected, Time};
use toban_respond::{Engine, Ledger as _, MemoryLedger, Nftables, Target};

use crate::netns::enter;

const PLANS: usize = 1_000;

/// Few networks, so that bans overlap, meet again, and hit what is protected.
fn prefix(rng: &mut fastrand::Rng) -> Prefix {
    let last = rng.u8(..);
    let v4 = Ipv4Addr::new(*rng.choice(&[198, 203, 10, 127, 224]).unwrap(), 51, rng.u8(0..4), last);
    let (address, length) = match rng.u8(0..10) {
        0 => (IpAddr::V6(v4.to_ipv6_mapped()), *rng.choice(&[96, 112, 120, 128]).unwrap()),
        1 | 2 => {
            let site = u128::from(rng.u8(0..3)) << 64;
            (
                Ipv6Addr::from(0x2001_0db8 << 96 | site | u128::from(last)).into(),
                *rng.choice(&[32, 48, 64, 128]).unwrap(),
            )
        }
        3 => (IpAddr::V4(v4), *rng.choice(&[0, 8, 15, 16]).unwrap()),
        _ => (IpAddr::V4(v4), *rng.choice(&[23, 24, 28, 32, 32]).unwrap()),
    };
    Prefix::new(address, length).unwrap()
}

fn protected() -> Protected {
    let addresses = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    Protected {
        own: addresses(&["198.51.0.1", "2001:db8::1"]),
        gateways: addresses(&["198.51.0.254"]),
        balancers: addresses(&["203.51.1.5"]),
        logins: addresses(&["10.51.2.77"]),
        allowlist: vec!["203.51.3.0/26".parse().unwrap()],
        ..Protected::default()
    }
}

#[test]
fn the_kernel_holds_what_the_book_says_after_each_of_a_thousand_plans() {
    if !enter("book::the_kernel_holds_what_the_book_says_after_each_of_a_thousand_plans") {
        return;
    }
    let mut rng = fastrand::Rng::with_seed(20);
    let ledger = MemoryLedger::default();
    let mut engine = Engine::new(Box::new(ledger.clone()), Box::new(Nftables::open().unwrap()));
    let protected = protected();
    let spared: Vec<Prefix> = [&protected.own, &protected.gateways, &protected.balancers, &protected.logins]
        .into_iter()
        .flatten()
        .map(|address| Prefix::from(*address))
        .chain(protected.allowlist.clone())
        .collect();
    // The book's clock; the kernel's runs beside it and is not waited for.
    let mut now = Time::from_secs(1_700_000_000);
    let (mut refused, mut taken_back) = (0, 0);
    for turn in 0..PLANS {
        match rng.u8(0..10) {
            0..=6 => {
                let prefixes = (0..rng.usize(1..4)).map(|_| prefix(&mut rng)).collect();
                let ports = rng.choice([&[][..], &[80], &[443, 80], &[22]]).unwrap().to_vec();
                let steps = vec![Action::Ban { prefixes, ports, for_s: rng.u64(600..7200) }];
                let plan = Plan { cause: "manual".to_owned(), steps, ..Plan::default() };
                let by = *rng.choice(&[Actor::Agent, Actor::Person]).unwrap();
                let record = engine.carry_out(now, &plan, &protected, by, None).unwrap();
                assert!(
                    matches!(record.state, ActionState::Done | ActionState::Refused),
                    "{turn}: {:?} {:?}",
                    record.plan,
                    record.notes
                );
                refused += usize::from(record.state == ActionState::Refused);
            }
            7 => {
                let gone = engine.undo(now, ActionId(rng.i64(1..=i64::try_from(PLANS).unwrap()))).is_ok();
                taken_back += usize::from(gone);
            }
            8 => {
                let bans = ledger.bans().unwrap();
                if let Some(ban) = rng.choice(&bans) {
                    assert!(!engine.unban(now, ban.prefix).unwrap().is_empty());
                    taken_back += 1;
                }
            }
            // So long that none is over: the kernel's clock would have to follow.
            _ => now = now + Duration::from_millis(rng.u64(1..500)),
        }
        let book: BTreeSet<Target> = ledger.bans().unwrap().iter().map(Target::of).collect();
        let kernel: BTreeSet<Target> =
            engine.bans_in_kernel().unwrap().into_iter().map(|ban| ban.target).collect();
        assert_eq!(kernel, book, "{turn}");
        for target in &kernel {
            let hit = spared
                .iter()
                .find(|spared| spared.contains(&target.prefix) || target.prefix.contains(*spared));
            assert_eq!(hit, None, "{turn}: {target}");
        }
    }
    assert!(refused > PLANS / 10 && taken_back > PLANS / 20, "{refused} refused, {taken_back} taken back");
    // The clocks have gone apart; nobody was lost or added.
    let found = engine.reconcile(now).unwrap();
    assert!(found.restored.is_empty() && found.foreign.is_empty() && found.rebuilt.is_none(), "{found:?}");
}
