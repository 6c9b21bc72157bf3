//! Methods by number, and which requests are page views. A method is a stranger's text: the number and the length of
//! those that are kept are limited, and what does not fit becomes `*`.

use std::sync::Arc;

use crate::tables::HashMap;

/// RFC 9110 and WebDAV know some forty methods.
const METHODS_MAX: usize = 64;
const METHOD_BYTES_MAX: usize = 32;

/// A number that stands for a name in one [`Symbols`].
pub(crate) type Symbol = u32;

/// One table of names.
#[derive(Debug)]
pub(crate) struct Symbols {
    names: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, Symbol>,
    max: usize,
}

/// Stands for every name beyond the limit.
const OVERFLOW: Symbol = 0;

impl Symbols {
    pub(crate) fn methods() -> Symbols {
        Symbols::with_limit(METHODS_MAX)
    }

    fn with_limit(max: usize) -> Symbols {
        let star: Arc<str> = Arc::from("*");
        Symbols { names: vec![star.clone()], ids: HashMap::from_iter([(star, OVERFLOW)]), max }
    }

    pub(crate) fn id(&mut self, name: &str) -> Symbol {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        if self.names.len() >= self.max {
            return OVERFLOW;
        }
        let name: Arc<str> = Arc::from(name);
        let id = Symbol::try_from(self.names.len()).unwrap_or(OVERFLOW);
        self.names.push(name.clone());
        self.ids.insert(name, id);
        id
    }

    pub(crate) fn name(&self, id: Symbol) -> Arc<str> {
        self.names.get(id as usize).unwrap_or(&self.names[OVERFLOW as usize]).clone()
    }
}

/// A method as a name: printable ASCII, upper bound on length.
pub(crate) fn method(raw: &[u8]) -> String {
    printable(raw, METHOD_BYTES_MAX)
}

fn printable(raw: &[u8], max: usize) -> String {
    raw.iter().take(max).map(|&b| if (0x21..0x7f).contains(&b) { char::from(b) } else { '?' }).collect()
}

/// What browsers fetch along with a page.
const STATIC_ENDINGS: &[&str] = &[
    ".avif", ".bmp", ".css", ".eot", ".gif", ".ico", ".jpeg", ".jpg", ".js", ".json", ".map", ".mjs", ".mp3",
    ".mp4", ".otf", ".pdf", ".png", ".svg", ".ttf", ".txt", ".webm", ".webp", ".woff", ".woff2", ".xml",
    ".zip",
];

/// Whether somebody views a page, and does not fetch something that a page is made of. What is sent is no view: a
/// flood of `POST` that is answered would be the busiest day ever. The path is the raw one, since a template may
/// have lost its ending.
pub(crate) fn is_page_view(method: &[u8], path: &[u8]) -> bool {
    let is_ending = |ending: &&str| {
        let at = path.len().checked_sub(ending.len());
        at.is_some_and(|at| path[at..].eq_ignore_ascii_case(ending.as_bytes()))
    };
    method == b"GET" && path.starts_with(b"/") && !STATIC_ENDINGS.iter().any(is_ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_views() {
        for (request, expected) in [
            ("GET /", true),
            ("GET /item/123", true),
            ("GET /index.php", true),
            ("GET /img/17.PNG", false),
            ("GET /images/0-faf5d049.jpg", false),
            ("GET .css", false),
            ("GET http://example.com/", false),
            ("HEAD /", false),
            ("POST /xmlrpc.php", false),
            ("CONNECT www.example.com:443", false),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            assert_eq!(is_page_view(method.as_bytes(), path.as_bytes()), expected, "{request}");
        }
    }

    #[test]
    fn names_beyond_the_limit_are_one() {
        let mut symbols = Symbols::with_limit(3);
        let (a, b, c, d) = (symbols.id("a"), symbols.id("b"), symbols.id("c"), symbols.id("d"));
        assert_eq!((a, b, c, d), (1, 2, OVERFLOW, OVERFLOW));
        assert_eq!(&*symbols.name(c), "*");
    }
}
