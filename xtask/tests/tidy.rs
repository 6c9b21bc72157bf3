//! Habits that no compiler lint knows: how a file opens, how long it is, and that nothing outside the tests knows the
//! addresses and names of tests.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, FieldValue, Item, Lit, Macro, Member};

/// Longer files are read by nobody in one go.
const LINES_MAX: usize = 700;
/// Below this an exception is no longer one.
const LINES_EXCEPTION_MIN: usize = 600;

/// Files that are longer, and why.
const LONG: &[(&str, &str)] = &[
    ("crates/collect/src/discover/apache.rs", "half of it is tests: configuration files as text"),
    ("crates/respond/src/safety.rs", "one flat list of rules, each with the tests that try to break it"),
    ("crates/toban/src/cli.rs", "one flat list: every command with its manual"),
    ("crates/toban/src/config.rs", "one flat list of keys, and their tests"),
];

/// Prefixes that are in the world for examples and measurements only: RFC 5737, RFC 2544.
const EXAMPLE_PREFIXES: &[[u8; 3]] = &[[192, 0, 2], [198, 51, 100], [203, 0, 113]];
const BENCHMARK: [u8; 2] = [198, 18];

/// Names of the lab beside those of its scenarios: hosts, sites, and the one path of a scenario.
const LAB_NAMES: &[&str] = &["toban-lab", "toban_lab", "web1", "xmlrpc", "wp-login", ".example"];

/// Where one of these names is common knowledge, and not a test's.
const COMMON: &[(&str, &str)] = &[(
    "crates/detect/src/offence.rs",
    "the forms of the most used programs, where the world guesses passwords",
)];

struct Source {
    /// From the workspace's directory.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every file of Rust in the workspace.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["crates", "fuzz", "lab", "xtask"].iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(sources.len() > 100, "the sources were not found");
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// All at once, so that one run shows all.
#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is() {
    let wrong = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    none(&wrong.map(|source| format!("{}: does not open with //!", source.path)).collect::<Vec<_>>());
}

#[test]
fn no_file_is_longer_than_can_be_read() {
    let (mut wrong, sources) = (Vec::new(), sources());
    for Source { path, text } in &sources {
        let lines = text.lines().count();
        let listed = LONG.iter().any(|(long, _)| long == path);
        if lines > LINES_MAX && !listed {
            wrong.push(format!("{path}: {lines} lines; split it, or say in LONG why not"));
        }
        if lines < LINES_EXCEPTION_MIN && listed {
            wrong.push(format!("{path}: {lines} lines; it need not stand in LONG any more"));
        }
    }
    for (long, _) in LONG.iter().filter(|(long, _)| !sources.iter().any(|source| source.path == *long)) {
        wrong.push(format!("{long}: stands in LONG and does not exist"));
    }
    none(&wrong);
}

#[test]
fn nothing_unfinished_is_left() {
    let mut wrong = Vec::new();
    for source in sources() {
        let mut found = Unfinished(Vec::new());
        found.visit_file(&syn::parse_file(&source.text).unwrap());
        wrong.extend(found.0.iter().map(|name| format!("{}: {name}!", source.path)));
    }
    none(&wrong);
}

struct Unfinished(Vec<String>);

impl Visit<'_> for Unfinished {
    fn visit_macro(&mut self, call: &Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if ["todo", "unimplemented", "dbg"].contains(&name.as_str()) {
            self.0.push(name);
        }
    }
}

#[test]
fn no_code_knows_the_addresses_or_names_of_tests() {
    let scenarios = toban_lab::scenarios::ALL.iter().map(|scenario| scenario.id.to_owned());
    let names: Vec<String> = scenarios.chain(LAB_NAMES.iter().map(|name| (*name).to_owned())).collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let test =
            ["/tests/", "/tests.rs", "/fixtures", "/examples/"].iter().any(|part| source.path.contains(part));
        let common = COMMON.iter().any(|(path, _)| *path == source.path);
        if !source.path.starts_with("crates/") || test || common {
            continue;
        }
        let mut found = Knows { names: &names, found: Vec::new() };
        found.visit_file(&syn::parse_file(&source.text).unwrap());
        wrong.extend(found.found.iter().map(|(line, what)| format!("{}:{line}: {what}", source.path)));
    }
    none(&wrong);
}

/// Looks for addresses and names in literals: not in comments, attributes (help texts are full of examples), samples
/// of a log format, and tests.
struct Knows<'a> {
    names: &'a [String],
    found: Vec<(usize, String)>,
}

impl Knows<'_> {
    fn text(&mut self, line: usize, text: &str) {
        // An error that shows what would be right: `such as "192.0.2.0/24"`.
        if text.contains("such as \"") {
            return;
        }
        let address = EXAMPLE_PREFIXES.iter().map(|[a, b, c]| format!("{a}.{b}.{c}."));
        let benchmark = [
            format!("{}.{}.", BENCHMARK[0], BENCHMARK[1]),
            format!("{}.{}.", BENCHMARK[0], BENCHMARK[1] + 1),
        ];
        for known in address.chain(benchmark).chain(self.names.iter().cloned()) {
            if text.contains(&known) {
                self.found.push((line, format!("knows {known} ({text:?})")));
            }
        }
    }

    /// `[192, 0, 2, 1]`, `Ipv4Addr::new(192, 0, 2, 1)`.
    fn numbers<'e>(&mut self, parts: impl Iterator<Item = &'e Expr>) {
        let mut line = 0;
        let parts: Option<Vec<u8>> = parts
            .map(|part| match part {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Int(number) => {
                        line = number.span().start().line;
                        number.base10_parse().ok()
                    }
                    _ => None,
                },
                _ => Some(0),
            })
            .collect();
        if let Some([a, b, c, _]) = parts.as_deref() {
            self.text(line, &format!("{a}.{b}.{c}."));
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => self.visit_lit(&Lit::new(literal)),
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Knows<'_> {
    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Const(item) if item.ident == "SAMPLES" => return,
            Item::Const(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !attributes.iter().any(is_of_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_field_value(&mut self, field: &'ast FieldValue) {
        let samples = matches!(&field.member, Member::Named(name) if name == "samples");
        if !samples {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_expr_array(&mut self, array: &'ast syn::ExprArray) {
        self.numbers(array.elems.iter());
        visit::visit_expr_array(self, array);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        self.numbers(call.args.iter());
        visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.tokens(call.tokens.clone());
    }

    fn visit_lit(&mut self, literal: &'ast Lit) {
        match literal {
            Lit::Str(text) => self.text(text.span().start().line, &text.value()),
            Lit::ByteStr(bytes) => {
                self.text(bytes.span().start().line, &String::from_utf8_lossy(&bytes.value()));
            }
            _ => {}
        }
    }
}

/// `#[cfg(test)]` and `#[test]`.
fn is_of_tests(attribute: &Attribute) -> bool {
    let path = attribute.path();
    path.is_ident("test")
        || path.is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let find = |code: &str| {
        let names = ["connect-flood".to_owned()];
        let mut found = Knows { names: &names, found: Vec::new() };
        found.visit_file(&syn::parse_file(code).unwrap());
        found.found.len()
    };
    assert_eq!(find("const A: &str = \"192.0.2.1\";"), 1);
    assert_eq!(find("fn a() { println!(\"{}\", b\"198.19.3.4\") }"), 1);
    assert_eq!(find("fn a() -> [u8; 4] { [203, 0, 113, b()] }"), 1);
    assert_eq!(find("fn a() { Ipv4Addr::new(198, 51, 100, 7); }"), 1);
    assert_eq!(find("fn a() { if b == \"connect-flood\" {} }"), 1);
    assert_eq!(find("/// 192.0.2.1\nfn a() { c(192, 0, 3, 1); d(\"192.0.20.1\") }"), 0);
    assert_eq!(find("#[cfg(test)]\nmod tests { const A: &str = \"192.0.2.1\"; }"), 0);
    assert_eq!(find("const A: F = F { samples: &[\"192.0.2.1\"] };"), 0);
}
