//! *Names*: strangers' words in a table of fixed size. Of these are path templates, learned (a path that comes often keeps
//! its name, the many that come once become `/item/*`), and user agents.
//!
//! Parts that only number things (`/item/123`) are stars from the start. Of the others every path is counted by its own
//! name; when there are too many, the light half is put out and counted one star wider: `/shop/red-shoe` as `/shop/*`,
//! that as `/*/*`, and in the end as `*`. A path that nobody asked for before, and that many ask for now, keeps its
//! name however many others there are.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A number that stands for a name in one [`Names`], until its next purge.
pub(crate) type NameId = u32;

/// Stands for everything that is too light for a name of its own.
pub(crate) const ANY: NameId = 0;

/// Longer paths are cut: what tells paths apart stands in front.
const BYTES_MAX: usize = 256;
/// Deeper paths are cut as well: each part is one more step on the way to `*`.
const PARTS_MAX: usize = 16;
/// Raw paths and agents whose name was found lately: 16 bytes each.
const PATHS_LATELY: usize = 1 << 14;
const AGENTS_LATELY: usize = 1 << 10;

#[derive(Clone, Debug)]
struct Template {
    text: Arc<str>,
    requests: u32,
    missed: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Names {
    templates: Vec<Template>,
    index: HashTable<NameId>,
    hasher: RandomState,
    /// By the hash of a raw path: that hash, and the template's id. Zero is nothing.
    lately: Box<[(u64, NameId)]>,
    /// The name of raw bytes.
    write: fn(&[u8], &mut String),
    scratch: String,
    max: usize,
    floor: u32,
}

impl Names {
    /// Path templates, at most `max`, about 100 bytes each.
    pub(crate) fn paths(max: usize) -> Names {
        Names::new(max, PATHS_LATELY, write_template)
    }

    /// User agents, at most `max`, about 200 bytes each.
    pub(crate) fn agents(max: usize) -> Names {
        Names::new(max, AGENTS_LATELY, write_agent)
    }

    fn new(max: usize, lately: usize, write: fn(&[u8], &mut String)) -> Names {
        let mut names = Names {
            templates: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            lately: vec![(0, ANY); lately].into(),
            write,
            scratch: String::new(),
            max: max.max(2),
            floor: 0,
        };
        names.insert("*");
        names
    }

    /// Counts a request, and gives the name of its path or agent.
    #[inline]
    pub(crate) fn count(&mut self, path: &[u8]) -> NameId {
        let id = self.find(path);
        let template = &mut self.templates[id as usize];
        template.requests = template.requests.saturating_add(1);
        id
    }

    /// The name of raw bytes; it comes in if it is not there.
    #[inline]
    pub(crate) fn find(&mut self, path: &[u8]) -> NameId {
        let hash = self.hasher.hash_one(path) | 1;
        let slot = (hash >> 32) as usize & (self.lately.len() - 1);
        let (known, id) = self.lately[slot];
        if known == hash {
            return id;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        (self.write)(path, &mut scratch);
        let id = self.insert(&scratch);
        self.scratch = scratch;
        self.lately[slot] = (hash, id);
        id
    }

    fn insert(&mut self, text: &str) -> NameId {
        let (templates, hasher) = (&self.templates, &self.hasher);
        let entry = self.index.entry(
            hasher.hash_one(text),
            |id| *templates[*id as usize].text == *text,
            |id| hasher.hash_one(&*templates[*id as usize].text),
        );
        match entry {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                let id = NameId::try_from(self.templates.len()).unwrap_or(ANY);
                free.insert(id);
                let missed = self.floor;
                self.templates.push(Template { text: Arc::from(text), requests: 0, missed });
                id
            }
        }
    }

    /// The template's text.
    pub(crate) fn text(&self, id: NameId) -> &Arc<str> {
        &self.templates.get(id as usize).unwrap_or(&self.templates[ANY as usize]).text
    }

    /// The requests for a template, at least, and how many may be missing.
    pub(crate) fn requests(&self, id: NameId) -> (u32, u32) {
        self.templates.get(id as usize).map_or((0, 0), |template| (template.requests, template.missed))
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
        self.widen(|template| template.requests <= threshold)
    }

    /// Counts templates one star wider where `light` says so, and those that they become, until all are heavy or `*`.
    /// All ids change: returned is the new one of each.
    pub(crate) fn widen(&mut self, light: impl Fn(Weight) -> bool) -> Vec<NameId> {
        // The longest way to `*` first, so that what is put out from all sides is weighed as a whole.
        let before = self.templates.len();
        let mut moved: Vec<NameId> = self.ids().collect();
        let mut by_stars: Vec<Vec<NameId>> = Vec::new();
        let put = |by_stars: &mut Vec<Vec<NameId>>, id: NameId, text: &str| {
            let ways = named_parts(text);
            if by_stars.len() <= ways {
                by_stars.resize(ways + 1, Vec::new());
            }
            by_stars[ways].push(id);
        };
        for id in 1..before {
            put(&mut by_stars, id as NameId, &self.templates[id].text);
        }
        let mut gone = vec![false; before];
        let mut wider = String::new();
        for ways in (0..by_stars.len()).rev() {
            for at in 0..by_stars[ways].len() {
                let id = by_stars[ways][at];
                let (requests, text) = {
                    let template = &self.templates[id as usize];
                    (template.requests, template.text.clone())
                };
                if !light(Weight { requests }) {
                    continue;
                }
                wider.clear();
                widen(&text, &mut wider);
                let known = self.templates.len();
                let to = self.insert(&wider);
                if self.templates.len() > known {
                    // Nothing is missing of it but what was missing of those that it is made of.
                    moved.push(to);
                    gone.push(false);
                    put(&mut by_stars, to, &wider);
                }
                let target = &mut self.templates[to as usize];
                target.requests = target.requests.saturating_add(requests);
                moved[id as usize] = to;
                gone[id as usize] = true;
            }
        }
        self.close_ranks(moved, &gone)
    }

    /// Drops what is gone, and gives each id's final new one.
    fn close_ranks(&mut self, moved: Vec<NameId>, gone: &[bool]) -> Vec<NameId> {
        let mut fresh = vec![ANY; gone.len()];
        let mut kept = Vec::with_capacity(gone.iter().filter(|gone| !**gone).count());
        for (id, template) in std::mem::take(&mut self.templates).into_iter().enumerate() {
            if !gone[id] {
                fresh[id] = kept.len() as NameId;
                kept.push(template);
            }
        }
        self.templates = kept;
        let mut index = HashTable::with_capacity(self.templates.len());
        let hash = |id: &NameId| self.hasher.hash_one(&*self.templates[*id as usize].text);
        for id in self.ids() {
            index.insert_unique(hash(&id), id, hash);
        }
        self.index = index;
        self.lately.fill((0, ANY));
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
        for template in &mut self.templates {
            let there = other.index_of(&template.text);
            template.missed += there.map_or(theirs, |id| other.templates[id as usize].missed);
        }
        let ids = other
            .templates
            .iter()
            .map(|template| {
                let known = self.templates.len();
                let id = self.insert(&template.text);
                let own = &mut self.templates[id as usize];
                if id as usize == known {
                    own.missed = template.missed + mine;
                }
                own.requests = own.requests.saturating_add(template.requests);
                id
            })
            .collect();
        self.floor = mine.saturating_add(theirs);
        ids
    }

    fn index_of(&self, text: &str) -> Option<NameId> {
        let same = |id: &NameId| *self.templates[*id as usize].text == *text;
        self.index.find(self.hasher.hash_one(text), same).copied()
    }
}

/// What a template is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Weight {
    pub(crate) requests: u32,
}

/// How many parts of a template are no stars: so many steps it is from `*`.
fn named_parts(text: &str) -> usize {
    text.split('/').filter(|part| !part.is_empty() && *part != "*").count()
}

/// One step wider: the last part with a name becomes a star.
fn widen(text: &str, wider: &mut String) {
    let named = text.rsplit('/').find(|part| !part.is_empty() && *part != "*");
    match named {
        Some(part) if text.starts_with('/') => {
            let at = part.as_ptr() as usize - text.as_ptr() as usize;
            wider.push_str(&text[..at]);
            wider.push('*');
            wider.push_str(&text[at + part.len()..]);
        }
        _ => wider.push('*'),
    }
}

/// Writes a user agent, cut and without what is no text.
fn write_agent(agent: &[u8], out: &mut String) {
    let agent = &agent[..agent.len().min(BYTES_MAX)];
    match std::str::from_utf8(agent) {
        Ok(text) if agent.iter().all(|b| (0x20..0x7f).contains(b)) => out.push_str(text),
        _ => out.extend(agent.iter().map(|&b| if (0x20..0x7f).contains(&b) { char::from(b) } else { '?' })),
    }
}

/// Writes a path with the parts that only number things replaced: `/item/123` is `/item/*`.
///
/// An authority (`host:443`, CONNECT) and an absolute URI are asked for by proxies' clients; they are one
/// template each, since their hosts are as many as the attacker likes.
pub(crate) fn write_template(path: &[u8], out: &mut String) {
    if !path.starts_with(b"/") {
        out.push_str(if path == b"*" {
            "*"
        } else if path.windows(3).any(|w| w == b"://") {
            "absolute-uri"
        } else if path.is_empty() {
            ""
        } else {
            "authority"
        });
        return;
    }
    for (at, part) in path[..path.len().min(BYTES_MAX)].split(|b| *b == b'/').enumerate() {
        if at >= PARTS_MAX {
            break;
        }
        if at > 0 {
            out.push('/');
        }
        if numbers_things(part) {
            out.push('*');
        } else {
            push_printable(part, out);
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

/// Strangers' bytes as text: printable ASCII as it is.
pub(crate) fn push_printable(raw: &[u8], out: &mut String) {
    match std::str::from_utf8(raw) {
        Ok(text) if raw.iter().all(|b| (0x21..0x7f).contains(b)) => out.push_str(text),
        _ => out.extend(raw.iter().map(|&b| if (0x21..0x7f).contains(&b) { char::from(b) } else { '?' })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(path: &[u8]) -> String {
        let mut out = String::new();
        write_template(path, &mut out);
        out
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
            [("/shop/red-shoe/", "/shop/*/"), ("/shop/*/", "/*/*/"), ("/*/*/", "*"), ("authority", "*")]
        {
            let mut wider = String::new();
            widen(text, &mut wider);
            assert_eq!(wider, expected);
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
        assert!(moved > 10);
        paths.widen(|template| template.requests < 1000);
        let mut found: Vec<(String, u32)> =
            paths.ids().map(|id| (paths.text(id).to_string(), paths.requests(id).0)).collect();
        found.sort();
        let total: u32 = found.iter().map(|(_, n)| n).sum();
        assert_eq!(total, 109_999, "nothing is lost");
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["*", "/shop/*/", "/shop/cart", "/xmlrpc.php"]);
        assert_eq!(found[1].1, 50_000);
        assert_eq!(found[2].1, 50_000);
        assert_eq!(found[3].1, 9_999);
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
        assert_eq!(one.requests(ids[id]), (2, 0));
    }
}
