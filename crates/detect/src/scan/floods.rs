//! *Floods*: far more requests for one thing, from one network, than people make.
//!
//! A first reading counts what each network asks for by the minute, in a small table that only what is frequent stays
//! in. Piece by piece of a log: what comes less than [`PIECE_MIN`] times in a piece is no flood's. Which addresses of
//! the network it was, and on which lines, a second reading of those minutes tells ([`Again`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::quality::FixedState;
use toban_model::event::Request;
use toban_model::{Time, canonical};

use super::Place;
use super::deeds::{LINES_MAX, Sum};
use crate::census::{Bits, Frequent, Tally, address, bits, hash_of};

/// Requests within a minute: nobody reads at five a second, and what programs of one network do all the time is usual
/// here up to four times that.
const FLOOD_MIN: u32 = 300;
const LASTING_FLOOD_MIN: u32 = 1200;
/// A flood is there for at most this part of the log, or it is nothing sudden.
const SUDDEN_PART: usize = 3;
/// Whoever asks for the thing so often in the flood takes part in it, unless somebody else does so many times more.
const FLOODER_MIN: u32 = 10;
const FLOODER_PART: u32 = 20;
/// 48 bytes each.
const SLOTS: usize = 1 << 10;
/// What comes less often in one piece of a log is not remembered.
const PIECE_MIN: u32 = 16;
/// About 100 bytes each: 0.8 MiB.
const MINUTES_MAX: usize = (1 << 13) / 8 * 7;
/// Places are remembered by pieces of this size: 1 MiB.
const PIECE_SHIFT: u32 = 20;

/// What a network asked for, as a hash: the method and the whole path.
type Thing = u64;

fn thing(request: &Request<'_>, path: u64) -> Thing {
    path ^ request.method.first().map_or(0, |first| u64::from(*first)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// An IPv4 /24 or an IPv6 /64.
fn network(client: Bits) -> Bits {
    if client >> 32 == 0xffff { client & !0xff } else { client & !u128::from(u64::MAX) }
}

fn piece((file, offset): Place) -> (u32, u32) {
    (file, u32::try_from(offset >> PIECE_SHIFT).unwrap_or(u32::MAX))
}

fn minute(at: Time) -> u32 {
    u32::try_from(at.as_micros().div_euclid(60_000_000)).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    network: Bits,
    thing: Thing,
    minute: u32,
    count: u32,
    /// Falls with each other one that wants the slot; at zero it is theirs (Misra and Gries, 1982).
    hold: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    network: Bits,
    thing: Thing,
    minute: u32,
    file: u32,
    service: u8,
}

/// The requests of one minute, and the pieces of the log that they stand in.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    count: u32,
    from: u32,
    to: u32,
}

impl Tally for Busy {
    fn weight(&self) -> u32 {
        self.count
    }

    fn merge(&mut self, other: &Busy) {
        if self.count == 0 {
            *self = *other;
        } else {
            self.count = self.count.saturating_add(other.count);
            (self.from, self.to) = (self.from.min(other.from), self.to.max(other.to));
        }
    }
}

/// What networks asked for often within a minute.
#[derive(Clone, Debug)]
pub(super) struct Bursts {
    slots: Box<[Slot]>,
    /// The log and its piece that is read.
    piece: (u32, u32),
    minutes: Frequent<Key, Busy>,
}

impl Default for Bursts {
    fn default() -> Bursts {
        let slots = vec![Slot::default(); SLOTS].into();
        Bursts { slots, piece: (0, 0), minutes: Frequent::new(MINUTES_MAX) }
    }
}

impl Bursts {
    #[inline]
    pub(super) fn count(
        &mut self,
        client: Bits,
        (request, path): (&Request<'_>, u64),
        service: u8,
        place: Place,
    ) {
        let piece = piece(place);
        if piece != self.piece {
            self.settle(service);
            self.piece = piece;
        }
        let (network, thing, minute) = (network(client), thing(request, path), minute(request.time));
        let at =
            (thing ^ (network as u64 ^ (network >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 32;
        let slot = &mut self.slots[at as usize % SLOTS];
        // A request that took long is of a minute that others have left already.
        if slot.thing == thing && slot.network == network && slot.minute.wrapping_sub(minute) <= 1 {
            slot.count += 1;
            slot.hold += 1;
        } else if slot.hold > 1 && slot.minute == minute {
            slot.hold -= 1;
        } else {
            let old = std::mem::replace(slot, Slot { network, thing, minute, count: 1, hold: 1 });
            self.remember(&old, service);
        }
    }

    /// Remembers what the table holds.
    pub(super) fn settle(&mut self, service: u8) {
        for at in 0..SLOTS {
            let slot = std::mem::take(&mut self.slots[at]);
            self.remember(&slot, service);
        }
    }

    #[inline]
    fn remember(&mut self, slot: &Slot, service: u8) {
        let Slot { network, thing, minute, count, .. } = *slot;
        if count >= PIECE_MIN {
            let (file, piece) = self.piece;
            let busy = Busy { count, from: piece, to: piece };
            self.minutes.entry(Key { network, thing, minute, file, service }).tally.merge(&busy);
            self.bound();
        }
    }

    fn bound(&mut self) {
        while self.minutes.is_full() {
            self.minutes.purge();
        }
    }

    pub(super) fn absorb(&mut self, mut other: Bursts, service: impl Fn(u8) -> u8) {
        other.minutes.rename(|key| Key { service: service(key.service), ..key });
        self.minutes.absorb(other.minutes);
        self.bound();
    }

    /// What may be a flood, for services whose logs span so many minutes, if it did not come through proxies.
    pub(super) fn suspects(&self, minutes: impl Fn(u8) -> usize, proxies: &BTreeSet<Bits>) -> Vec<Suspect> {
        let proxies: BTreeSet<Bits> = proxies.iter().map(|proxy| network(*proxy)).collect();
        let mut all: BTreeMap<(u8, Bits, Thing), BTreeMap<u32, Busy>> = BTreeMap::new();
        // By file and minutes.
        type Spans = Vec<(u32, u32, u32)>;
        let mut places: BTreeMap<(u8, Bits, Thing), Spans> = BTreeMap::new();
        for known in self.minutes.iter() {
            let Key { network, thing, minute, file, service } = known.key;
            if proxies.contains(&network) {
                continue;
            }
            let key = (service, network, thing);
            all.entry(key).or_default().entry(minute).or_default().merge(&known.tally);
            places.entry(key).or_default().push((file, known.tally.from, known.tally.to));
        }
        let mut suspects = Vec::new();
        for (key, by_minute) in all {
            let peak = by_minute.values().map(|busy| busy.count).max().unwrap_or(0);
            let with = |part: u32| {
                let busy = by_minute.iter().filter(move |(_, busy)| busy.count * part >= peak);
                busy.map(|(minute, _)| *minute)
            };
            let sudden = with(3).count() * SUDDEN_PART <= minutes(key.0);
            if peak < if sudden { FLOOD_MIN } else { LASTING_FLOOD_MIN } {
                continue;
            }
            // It begins and ends somewhere in a minute.
            let minutes = with(10).flat_map(|minute| minute.saturating_sub(1)..=minute + 1).collect();
            let (service, network, thing) = key;
            let pieces = places.remove(&key).unwrap_or_default();
            suspects.push(Suspect { service, network, thing, minutes, pieces });
        }
        suspects
    }
}

/// What may be a flood.
#[derive(Clone, Debug)]
pub(super) struct Suspect {
    pub(super) service: u8,
    network: Bits,
    thing: Thing,
    minutes: BTreeSet<u32>,
    /// Pieces of logs with such requests: the log, the first one and the last one.
    pieces: Vec<(u32, u32, u32)>,
}

/// What one client did in a flood.
#[derive(Clone, Debug, Default)]
struct Flooder {
    sum: Sum,
    by_minute: BTreeMap<u32, u32>,
    places: Vec<Place>,
}

/// A second reading of the logs, for who took part in floods.
#[derive(Clone, Debug)]
pub struct Again {
    suspects: Arc<[Suspect]>,
    by_thing: HashMap<(Bits, Thing), usize, FixedState>,
    networks: BTreeSet<Bits>,
    flooders: BTreeMap<(usize, Bits), Flooder>,
}

impl Again {
    pub(super) fn new(suspects: &Arc<[Suspect]>, service: u8) -> Again {
        let of_service = suspects.iter().enumerate().filter(|(_, suspect)| suspect.service == service);
        Again {
            networks: of_service.clone().map(|(_, suspect)| suspect.network).collect(),
            by_thing: of_service.map(|(nth, suspect)| ((suspect.network, suspect.thing), nth)).collect(),
            suspects: Arc::clone(suspects),
            flooders: BTreeMap::new(),
        }
    }

    /// Whether lines of this part of a log have to be read again.
    pub fn wants(&self, file: u32, from: u64, to: u64) -> bool {
        let ((_, from), (_, to)) = (piece((file, from)), piece((file, to)));
        // The first and the last few requests may stand in a piece beside.
        let near = |(of, first, last): &(u32, u32, u32)| {
            *of == file && from <= last.saturating_add(1) && to.saturating_add(1) >= *first
        };
        self.by_thing.values().any(|nth| self.suspects[*nth].pieces.iter().any(near))
    }

    /// Whether somebody's requests are asked for.
    #[inline]
    pub fn asks_for(&self, client: IpAddr) -> bool {
        self.networks.contains(&network(bits(canonical(client))))
    }

    /// Takes one request.
    #[inline]
    pub fn request(&mut self, request: &Request<'_>, place: Place) {
        let Some(client) = request.client.or(request.peer).map(|client| bits(canonical(client))) else {
            return;
        };
        let Some(nth) = self.by_thing.get(&(network(client), thing(request, hash_of(request.path)))) else {
            return;
        };
        let minute = minute(request.time);
        if !self.suspects[*nth].minutes.contains(&minute) {
            return;
        }
        let flooder = self.flooders.entry((*nth, client)).or_default();
        flooder.sum.add(&Sum { lines: 1, times: 1, first: request.time, last: request.time });
        *flooder.by_minute.entry(minute).or_default() += 1;
        flooder.places.push(place);
        flooder.bound(LINES_MAX * 3 / 2);
    }

    /// Takes in what was found in another part of the logs.
    pub fn absorb(&mut self, other: Again) {
        for (key, flooder) in other.flooders {
            let mine = self.flooders.entry(key).or_default();
            mine.sum.add(&flooder.sum);
            for (minute, count) in flooder.by_minute {
                *mine.by_minute.entry(minute).or_default() += count;
            }
            mine.places.extend(flooder.places);
            mine.bound(LINES_MAX);
        }
    }

    /// The floods, without those for which a client is `excused` that makes so many requests.
    pub(super) fn floods(self, excused: impl Fn(u8, Bits, u32) -> bool) -> Vec<Flood> {
        let mut by_suspect: BTreeMap<usize, Vec<(Bits, Flooder)>> = BTreeMap::new();
        for ((nth, client), flooder) in self.flooders {
            if !excused(self.suspects[nth].service, client, flooder.sum.lines) {
                by_suspect.entry(nth).or_default().push((client, flooder));
            }
        }
        let mut floods = Vec::new();
        for (nth, mut flooders) in by_suspect {
            let service = self.suspects[nth].service;
            let most = flooders.iter().map(|(_, flooder)| flooder.sum.lines).max().unwrap_or(0);
            flooders.retain(|(_, flooder)| flooder.sum.lines >= FLOODER_MIN.max(most / FLOODER_PART));
            let mut flood = Flood { service, clients: Vec::new(), sum: Sum::default(), places: Vec::new() };
            let mut by_minute: BTreeMap<u32, u32> = BTreeMap::new();
            for (client, flooder) in flooders {
                flood.clients.push(address(client));
                flood.sum.add(&flooder.sum);
                flood.places.extend(flooder.places);
                for (minute, count) in flooder.by_minute {
                    *by_minute.entry(minute).or_default() += count;
                }
            }
            flood.places.sort_unstable();
            flood.places.truncate(LINES_MAX);
            if by_minute.values().any(|count| *count >= FLOOD_MIN) {
                floods.push(flood);
            }
        }
        floods
    }
}

impl Flooder {
    /// Keeps the first places, when there are more than so many.
    fn bound(&mut self, max: usize) {
        if self.places.len() > max {
            self.places.select_nth_unstable(LINES_MAX);
            self.places.truncate(LINES_MAX);
        }
    }
}

/// A flood, and who made it.
pub(super) struct Flood {
    pub(super) service: u8,
    pub(super) clients: Vec<IpAddr>,
    pub(super) sum: Sum,
    pub(super) places: Vec<Place>,
}
