//! *Names*: strangers' words in a table of fixed size. Of these are path templates, learned (a path that comes often keeps
//! its name, the many that come once become `/item/*`), and user agents.
//!
//! Parts that only number things (`/item/123`) are stars from the start. Of the others every path is counted by its own
//! name; when there are too many, the light half is put out and counted one star wider: `/shop/red-shoe` as `/shop/*`,
//! and that in the end as `*`. A path that nobody asked for before, and that many ask for now, keeps its
//! name however many others there are.

use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};

use hashbrown::HashTable;

use crate::tables::Scatter;

/// A number that stands for a name in one [`Names`], until its next purge.
pub(crate) type NameId = u32;

/// Stands for everything that is too light for a name of its own.
pub(crate) const ANY: NameId = 0;

/// Longer paths are cut: what tells paths apart stands in front.
const BYTES_MAX: usize = 256;
/// Deeper paths are cut as well: each part is one more step on the way to `*`.
const PARTS_MAX: usize = 16;
/// Raw paths and agents whose name is known without a look, 13 bytes each.
const RAWS_MAX: usize = (1 << 15) / 8 * 7;
/// Directories that are known to hold many: 16 bytes each.
const WIDE: usize = 1 << 12;
/// Where names are many, a new one is let in when it came this often.
const KNOCKS_MIN: u8 = 4;
/// Counters of those at the door, a byte each.
const DOORS: usize = 1 << 16;

#[derive(Clone, Copy, Debug)]
struct Template {
    /// Where its text stands.
    at: u32,
    len: u32,
    requests: u32,
    missed: u32,
    /// Itself one star wider, if that is known.
    parent: NameId,
}

/// One for the whole process, so that what was hashed for one use need not be hashed again for another. Nobody outside
/// knows it.
static HASHER: LazyLock<Scatter> = LazyLock::new(Scatter::default);

/// The hash of a raw path or agent.
#[inline]
pub(crate) fn hash_of(raw: &[u8]) -> u64 {
    HASHER.hash_one(raw)
}

/// A hash in a table, without the gaps that a number of eight bytes would leave between entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hash([u32; 2]);

impl Hash {
    fn of(hash: u64) -> Hash {
        Hash([(hash >> 32) as u32, hash as u32])
    }

    fn whole(self) -> u64 {
        u64::from(self.0[0]) << 32 | u64::from(self.0[1])
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Names {
    templates: Vec<Template>,
    /// All texts, ASCII.
    texts: Vec<u8>,
    index: HashTable<NameId>,
    hasher: Scatter,
    /// The names of raw paths, by their hash.
    raws: HashTable<(Hash, NameId)>,
    /// The names of what is one of many, by the hash of the raw path in front of it.
    wide: Box<[(u64, NameId)]>,
    doors: Box<[u8]>,
    /// The name of raw bytes.
    write: fn(&[u8], &mut Vec<u8>),
    scratch: Vec<u8>,
    wider: Vec<u8>,
    max: usize,
    floor: u32,
}

impl Names {
    /// Path templates, at most `max`, about 80 bytes each.
    pub(crate) fn paths(max: usize) -> Names {
        Names::new(max, write_template)
    }

    /// User agents, at most `max`, about 200 bytes each.
    pub(crate) fn agents(max: usize) -> Names {
        Names::new(max, write_agent)
    }

    fn new(max: usize, write: fn(&[u8], &mut Vec<u8>)) -> Names {
        let mut names = Names {
            templates: Vec::new(),
            texts: Vec::new(),
            index: HashTable::new(),
            hasher: HASHER.clone(),
            raws: HashTable::new(),
            wide: vec![(0, ANY); WIDE].into(),
            doors: vec![0; DOORS].into(),
            write,
            scratch: Vec::new(),
            wider: Vec::new(),
            max: max.max(2),
            floor: 0,
        };
        names.insert(b"*");
        names
    }

    /// Counts a request, and gives the name of its path or agent.
    #[inline]
    pub(crate) fn count(&mut self, raw: &[u8]) -> NameId {
        self.count_hashed(raw, hash_of(raw))
    }

    /// The same of what was hashed already, by [`hash_of`].
    #[inline]
    pub(crate) fn count_hashed(&mut self, raw: &[u8], hash: u64) -> NameId {
        let id = self.find_hashed(raw, hash);
        let template = &mut self.templates[id as usize];
        template.requests = template.requests.saturating_add(1);
        id
    }

    /// The name of raw bytes; it comes in if it is not there.
    #[inline]
    pub(crate) fn find(&mut self, raw: &[u8]) -> NameId {
        self.find_hashed(raw, hash_of(raw))
    }

    #[inline]
    fn find_hashed(&mut self, raw: &[u8], hash: u64) -> NameId {
        match self.raws.find(hash, |known| known.0 == Hash::of(hash)) {
            Some((_, id)) => *id,
            None => self.one_of_many(raw, hash),
        }
    }

    /// The name of raw bytes that are new, or come seldom. What is one of many that come once is counted as one of them
    /// until it has come again.
    fn one_of_many(&mut self, raw: &[u8], hash: u64) -> NameId {
        let front = self.hasher.hash_one(front(raw));
        let slot = front as usize & (WIDE - 1);
        let door = &mut self.doors[hash as usize >> 8 & (DOORS - 1)];
        if self.wide[slot].0 == front && *door < KNOCKS_MIN {
            *door += 1;
            return self.wide[slot].1;
        }
        *door = 0;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        (self.write)(raw, &mut scratch);
        let id = self.id_of(&scratch).unwrap_or_else(|| {
            let parent = self.parent_of(&scratch);
            let id = self.insert(&scratch);
            let template = &mut self.templates[id as usize];
            template.parent = parent;
            if parent != ANY {
                template.missed = template.missed.saturating_add(u32::from(KNOCKS_MIN) * 4);
                self.wide[slot] = (front, parent);
            }
            id
        });
        self.scratch = scratch;
        if self.raws.len() >= RAWS_MAX {
            self.raws.clear();
            self.floor = self.floor.saturating_add(KNOCKS_MIN.into());
        }
        self.raws.insert_unique(hash, (Hash::of(hash), id), |known| known.0.whole());
        id
    }

    /// A template that is many, if it is known.
    fn parent_of(&mut self, text: &[u8]) -> NameId {
        let mut wider = std::mem::take(&mut self.wider);
        wider.clear();
        widen(text, &mut wider);
        let parent = self.id_of(&wider).unwrap_or(ANY);
        self.wider = wider;
        parent
    }

    fn id_of(&self, text: &[u8]) -> Option<NameId> {
        self.index.find(self.hasher.hash_one(text), |id| self.bytes(*id) == text).copied()
    }

    /// The id of a text, which comes in if it is not there.
    fn insert(&mut self, text: &[u8]) -> NameId {
        if let Some(id) = self.id_of(text) {
            return id;
        }
        let id = self.templates.len() as NameId;
        let (at, len) = (self.texts.len() as u32, text.len() as u32);
        self.texts.extend_from_slice(text);
        self.templates.push(Template { at, len, requests: 0, missed: self.floor, parent: ANY });
        let (templates, texts, hasher) = (&self.templates, &self.texts, &self.hasher);
        let hash = |id: &NameId| hasher.hash_one(bytes(templates, texts, *id));
        self.index.insert_unique(hasher.hash_one(text), id, hash);
        id
    }

    fn bytes(&self, id: NameId) -> &[u8] {
        bytes(&self.templates, &self.texts, id)
    }

    /// The template's text.
    pub(crate) fn text(&self, id: NameId) -> Arc<str> {
        // What is written here is ASCII.
        String::from_utf8_lossy(self.bytes(id)).into()
    }

    /// The name that raw bytes have, or would have as one of many; nothing comes in.
    pub(crate) fn name(&self, raw: &[u8]) -> Arc<str> {
        let (mut text, mut wider) = (Vec::new(), Vec::new());
        (self.write)(raw, &mut text);
        widen(&text, &mut wider);
        let known = self.id_of(&text).or_else(|| self.id_of(&wider).filter(|id| *id != ANY));
        known.map_or_else(|| String::from_utf8_lossy(&text).into(), |id| self.text(id))
    }

    /// The requests for a template, at least, and how many may be missing.
    pub(crate) fn requests(&self, id: NameId) -> (u32, u32) {
        self.templates.get(id as usize).map_or((0, 0), |template| (template.requests, template.missed))
    }

    /// A name that came at least so often: itself, or itself one star wider, or any; and how often it came before this
    /// request, at most.
    #[inline]
    pub(crate) fn heavy(&self, id: NameId, least: u32) -> (NameId, u32) {
        let template = &self.templates[id as usize];
        if template.requests >= least {
            return (id, template.requests.saturating_add(template.missed));
        }
        let parent = &self.templates[template.parent as usize];
        if parent.requests >= least { (template.parent, u32::MAX) } else { (ANY, u32::MAX) }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NameId> + use<> {
        0..NameId::try_from(self.templates.len()).unwrap_or(NameId::MAX)
    }

    /// Whether it is time to purge.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.templates.len() >= self.max
    }

    /// Puts out the lightest half and counts it one star wider. All ids change: returned is the new one of each.
    pub(crate) fn purge(&mut self) -> Vec<NameId> {
        let mut weights: Vec<u32> = self.templates[1..].iter().map(|t| t.requests).collect();
        let middle = weights.len().saturating_sub(1) / 2;
        let threshold = if weights.is_empty() { 0 } else { *weights.select_nth_unstable(middle).1 };
        self.floor = self.floor.saturating_add(threshold);
        self.doors.fill(0);
        self.widen(|requests| requests <= threshold)
    }

    /// Counts templates one star wider that are `light` by their requests, and those that they become, until all are
    /// heavy or `*`. All ids change: returned is the new one of each.
    pub(crate) fn widen(&mut self, light: impl Fn(u32) -> bool) -> Vec<NameId> {
        let before = self.templates.len();
        let mut moved: Vec<NameId> = self.ids().collect();
        // The longest way to `*` first, so that what is put out from all sides is weighed as a whole.
        let mut by_way: Vec<Vec<NameId>> = vec![Vec::new(); PARTS_MAX + 1];
        for id in 1..before as NameId {
            by_way[named_parts(self.bytes(id))].push(id);
        }
        let mut gone = vec![false; before];
        let (mut text, mut wider) = (Vec::new(), Vec::new());
        for way in (0..by_way.len()).rev() {
            for at in 0..by_way[way].len() {
                let id = by_way[way][at];
                let requests = self.templates[id as usize].requests;
                if !light(requests) {
                    continue;
                }
                text.clear();
                text.extend_from_slice(self.bytes(id));
                wider.clear();
                widen(&text, &mut wider);
                let known = self.templates.len();
                let to = self.insert(&wider);
                if self.templates.len() > known {
                    moved.push(to);
                    gone.push(false);
                    by_way[named_parts(&wider)].push(to);
                }
                let target = &mut self.templates[to as usize];
                target.requests = target.requests.saturating_add(requests);
                moved[id as usize] = to;
                gone[id as usize] = true;
            }
        }
        self.close_ranks(&moved, &gone)
    }

    /// Drops what is gone, and gives each id's final new one.
    fn close_ranks(&mut self, moved: &[NameId], gone: &[bool]) -> Vec<NameId> {
        let mut fresh = vec![ANY; gone.len()];
        let (mut templates, mut texts) = (Vec::new(), Vec::new());
        for id in self.ids().filter(|id| !gone[*id as usize]) {
            fresh[id as usize] = templates.len() as NameId;
            let at = texts.len() as u32;
            texts.extend_from_slice(self.bytes(id));
            templates.push(Template { at, ..self.templates[id as usize] });
        }
        (self.templates, self.texts) = (templates, texts);
        let hash = |id: &NameId| self.hasher.hash_one(bytes(&self.templates, &self.texts, *id));
        self.index.clear();
        for id in 0..self.templates.len() as NameId {
            self.index.insert_unique(hash(&id), id, hash);
        }
        for id in self.ids().skip(1) {
            let text = self.bytes(id).to_vec();
            self.templates[id as usize].parent = self.parent_of(&text);
        }
        for (hash, id) in std::mem::take(&mut self.raws) {
            if !gone[id as usize] {
                self.raws.insert_unique(hash.whole(), (hash, fresh[id as usize]), |known| known.0.whole());
            }
        }
        self.wide.fill((0, ANY));
        let last = |mut id: NameId| {
            while gone[id as usize] {
                id = moved[id as usize];
            }
            fresh[id as usize]
        };
        (0..moved.len() as NameId).map(last).collect()
    }

    /// Takes in another one's templates; returned is the id here of each there. It may be full afterwards.
    pub(crate) fn absorb(&mut self, other: &Names) -> Vec<NameId> {
        let (mine, theirs) = (self.floor, other.floor);
        for id in self.ids() {
            let there = other.id_of(self.bytes(id));
            let missed = there.map_or(theirs, |id| other.templates[id as usize].missed);
            let template = &mut self.templates[id as usize];
            template.missed = template.missed.saturating_add(missed);
        }
        let ids = other
            .ids()
            .map(|there| {
                let known = self.templates.len();
                let id = self.insert(other.bytes(there));
                let (own, template) = (&mut self.templates[id as usize], &other.templates[there as usize]);
                if id as usize == known {
                    own.missed = template.missed.saturating_add(mine);
                }
                own.requests = own.requests.saturating_add(template.requests);
                id
            })
            .collect();
        self.floor = mine.saturating_add(theirs);
        ids
    }
}

fn bytes<'n>(templates: &[Template], texts: &'n [u8], id: NameId) -> &'n [u8] {
    let Template { at, len, .. } = templates[id as usize];
    &texts[at as usize..][..len as usize]
}

/// How many parts of a template are no stars: so many steps it is from `*`.
fn named_parts(text: &[u8]) -> usize {
    let named = |part: &&[u8]| !part.is_empty() && **part != b"*"[..];
    text.split(|b| *b == b'/').filter(named).count().min(PARTS_MAX)
}

/// One step wider: the last part with a name becomes a star.
fn widen(text: &[u8], wider: &mut Vec<u8>) {
    let mut end = text.len();
    while text.first() == Some(&b'/') && end > 0 {
        let begin = memchr::memrchr(b'/', &text[..end]).map_or(0, |slash| slash + 1);
        if begin < end && text[begin..end] != b"*"[..] {
            wider.extend_from_slice(&text[..begin]);
            wider.push(b'*');
            wider.extend_from_slice(&text[end..]);
            // `/*/*` says no more than `*`.
            if named_parts(wider) == 0 {
                wider.clear();
                wider.push(b'*');
            }
            return;
        }
        end = begin.saturating_sub(1);
    }
    wider.push(b'*');
}

/// What stands before the last part of a path.
fn front(path: &[u8]) -> &[u8] {
    let inner = path.strip_suffix(b"/").unwrap_or(path);
    &path[..memchr::memrchr(b'/', inner).unwrap_or(0)]
}

/// Writes a user agent, cut and without what is no text.
fn write_agent(agent: &[u8], out: &mut Vec<u8>) {
    let agent = &agent[..agent.len().min(BYTES_MAX)];
    out.extend(agent.iter().map(|b| if (0x20..0x7f).contains(b) { *b } else { b'?' }));
}

/// Writes a path with the parts that only number things replaced: `/item/123` is `/item/*`.
///
/// An authority (`host:443`, CONNECT) and an absolute URI are asked for by proxies' clients; they are one
/// template each, since their hosts are as many as the attacker likes.
pub(crate) fn write_template(path: &[u8], out: &mut Vec<u8>) {
    if !path.starts_with(b"/") {
        out.extend_from_slice(if path == b"*" {
            b"*"
        } else if path.windows(3).any(|w| w == b"://") {
            b"absolute-uri"
        } else if path.is_empty() {
            b""
        } else {
            b"authority"
        });
        return;
    }
    let mut rest = &path[1..path.len().min(BYTES_MAX)];
    for _ in 0..PARTS_MAX {
        out.push(b'/');
        let slash = memchr::memchr(b'/', rest);
        let part = &rest[..slash.unwrap_or(rest.len())];
        if numbers_things(part) {
            out.push(b'*');
        } else {
            out.extend(part.iter().map(|b| if (0x21..0x7f).contains(b) { *b } else { b'?' }));
        }
        match slash {
            Some(slash) => rest = &rest[slash + 1..],
            None => break,
        }
    }
}

/// All digits, or long and hexadecimal: an id, not a name. `/2024/12/` are ids as well.
fn numbers_things(part: &[u8]) -> bool {
    // Most parts begin with a letter beyond f, and are names.
    let Some(first) = part.first() else { return false };
    if !first.is_ascii_hexdigit() && *first != b'-' {
        return false;
    }
    let stem = memchr::memchr(b'.', part).map_or(part, |dot| &part[..dot]);
    if stem.is_empty() {
        return false;
    }
    if first.is_ascii_digit() && stem.iter().all(u8::is_ascii_digit) {
        return true;
    }
    stem.len() >= 8
        && stem.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-')
        && stem.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(path: &[u8]) -> String {
        let mut out = Vec::new();
        write_template(path, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn templates() {
        for (path, expected) in [
            ("/item/123", "/item/*"),
            ("/2024/12/hello-world/", "/*/*/hello-world/"),
            ("/u/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/u/*"),
            ("/img/17.png", "/img/*"),
            ("/xmlrpc.php", "/xmlrpc.php"),
            ("www.example.com:443", "authority"),
            ("http://example.com/", "absolute-uri"),
            ("*", "*"),
            ("/facade/", "/facade/"),
            ("/", "/"),
        ] {
            assert_eq!(template(path.as_bytes()), expected, "{path}");
        }
        assert_eq!(template(b"/a\xff b"), "/a??b");
    }

    #[test]
    fn one_step_wider() {
        for (text, expected) in
            [("/shop/red-shoe/", "/shop/*/"), ("/shop/*/", "*"), ("/a/b/*/c", "/a/b/*/*"), ("authority", "*")]
        {
            let mut wider = Vec::new();
            widen(text.as_bytes(), &mut wider);
            assert_eq!(String::from_utf8(wider).unwrap(), expected);
        }
    }

    #[test]
    fn many_names_become_a_star_and_busy_ones_stay() {
        let mut paths = Names::paths(1000);
        let mut moved = 0;
        for n in 0..50_000 {
            paths.count(format!("/shop/shoe-number-{n}-x/").as_bytes());
            paths.count(b"/shop/cart");
            // Late, and among many others.
            if n > 40_000 {
                paths.count(b"/xmlrpc.php");
            }
            if paths.is_full() {
                let ids = paths.purge();
                moved += 1;
                assert_eq!(paths.text(ids[ANY as usize]).as_ref(), "*");
            }
        }
        assert!(moved >= 1);
        paths.widen(|requests| requests < 1000);
        let mut found: Vec<(String, u32)> =
            paths.ids().map(|id| (paths.text(id).to_string(), paths.requests(id).0)).collect();
        found.sort();
        let total: u32 = found.iter().map(|(_, n)| n).sum();
        assert_eq!(total, 109_999, "nothing is lost");
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["*", "/shop/*/", "/shop/cart", "/xmlrpc.php"]);
        assert_eq!(found[2].1, 50_000);
        assert!(found[1].1 + found[0].1 >= 50_000, "{found:?}");
        assert!((9_999 - 16..=9_999).contains(&found[3].1), "{found:?}");
    }

    #[test]
    fn two_are_one() {
        let (mut one, mut other) = (Names::paths(100), Names::paths(100));
        one.count(b"/a");
        other.count(b"/b");
        other.count(b"/a");
        let ids = one.absorb(&other);
        let id = other.find(b"/b") as usize;
        assert_eq!(one.text(ids[id]).as_ref(), "/b");
        let id = other.find(b"/a") as usize;
        assert_eq!(one.requests(ids[id]).0, 2);
    }
}
