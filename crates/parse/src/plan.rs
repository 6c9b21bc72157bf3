//! A *plan*: a server's own format string, compiled once into literals and fields, and followed over each line from the
//! left with no search beyond the end of each field.
//!
//! # Who may be named
//!
//! The address fields are found by their place in the format, never by looking for something that resembles an
//! address. What a stranger writes stands in quotes that the server escapes, so it cannot end its own field early.
//! Where a format puts a stranger's text in front of an address without such quotes (`%{X-Forwarded-For}i %h …`), a
//! line can be read in more than one way: then all readings are compared, and if they do not agree on the address, the
//! line names nobody.

mod follow;

use crate::Error;
use crate::strftime::Strftime;
use crate::window::Literal;

pub(crate) use follow::take_request_line;

/// What a field holds.
// With a tag of its own, since one that hides in a stamp's takes longer to tell.
#[repr(u8)]
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    /// Nothing that toban needs.
    Skip,
    /// A number or `-` that toban does not need, but that helps to find what it needs.
    SkipNumber,
    /// A status that toban does not need.
    SkipStatus,
    /// One byte that toban does not need, and no digit.
    SkipMark,
    /// An address; `names` if the server writes a name there when it looks them up.
    Address { role: Role, names: bool },
    /// `X-Forwarded-For`.
    Forwarded,
    /// The request line.
    Request,
    /// The method alone.
    Method,
    /// The target alone, with or without its query.
    Target,
    /// The query alone, `?` included.
    Query,
    /// The protocol alone.
    Protocol,
    /// The status.
    Status,
    /// Bytes sent.
    Bytes,
    /// How long it took: a decimal number of this many microseconds.
    Duration { unit_us: u64 },
    /// `User-Agent`.
    Agent,
    /// `Referer`.
    Referer,
    /// The host asked for.
    Host,
    /// The user.
    User,
    /// When; read but not kept if another piece says it better.
    Time { stamp: Stamp, used: bool },
}

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The TCP peer, and therefore the client.
    Both,
    /// The client as a trusted proxy reported it.
    Client,
    /// The TCP peer.
    Peer,
}

/// How a time is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stamp {
    /// `22/Nov/2026:01:23:44 +0000`
    Clf,
    /// `2026-11-22T01:23:44+09:00`
    Iso,
    /// A decimal number of this many microseconds since the epoch.
    Epoch { unit_us: u64 },
    /// So many digits of a second's fraction, beside another stamp.
    Fraction { digits: usize },
    /// By a strftime format, perhaps only a part of the whole.
    Strftime(Strftime),
}

/// A piece of a format string.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) field: Field,
    /// Of two pieces for one field, the one with the higher rank is read.
    pub(crate) rank: u8,
    /// May hold the text that follows it: spaces, for most.
    pub(crate) free: bool,
    /// Times only: of the request's end, not its start.
    pub(crate) end: bool,
    /// Its place in the format string.
    pub(crate) at: usize,
    /// As the format string has it.
    pub(crate) text: String,
}

/// Literals and pieces, in the order of the format string.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Literal(Vec<u8>),
    Piece(Piece),
}

/// How the end of a field is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A stamp, which knows its own length.
    Own,
    /// Behind three digits, or `-`.
    Status,
    /// Behind one byte.
    Mark,
    /// Behind the digits, or `-`.
    Digits,
    /// At the first byte of the literal behind it, with no space before.
    Word,
    /// At the next quote that is not escaped.
    Quoted,
    /// At an occurrence of the literal behind it, the first from which on the rest fits.
    Bare,
    /// At the end of the line.
    Rest,
}

#[derive(Clone, Debug, PartialEq)]
struct Step {
    field: Field,
    shape: Shape,
    /// The literal behind the field.
    then: Literal,
}

impl Step {
    const fn new(field: Field, shape: Shape, then: Literal) -> Step {
        Step { field, shape, then }
    }
}

/// Steps that follow each other in nearly all formats. Since they are known when toban itself is compiled, they take
/// half the time of those that are looked up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Run {
    /// The step of this number, whatever it is.
    One(usize),
    /// `%h %l `
    Apache,
    /// `$remote_addr - `
    Nginx,
    /// `%u [%t] "%r" %>s `
    Request,
    /// `%b "%{Referer}i" "`
    Referer,
    /// `%{User-Agent}i"` at the end of the line.
    LastAgent,
    /// `%{User-Agent}i" `
    Agent,
    /// `%D`
    Micros,
}

static APACHE: [Step; 2] = [
    Step::new(Field::Address { role: Role::Both, names: true }, Shape::Word, Literal::short(b" ")),
    Step::new(Field::Skip, Shape::Word, Literal::short(b" ")),
];
static NGINX: [Step; 1] =
    [Step::new(Field::Address { role: Role::Both, names: false }, Shape::Word, Literal::short(b" - "))];
static REQUEST: [Step; 4] = [
    Step::new(Field::User, Shape::Bare, Literal::short(b" [")),
    Step::new(Field::Time { stamp: Stamp::Clf, used: true }, Shape::Own, Literal::short(b"] \"")),
    Step::new(Field::Request, Shape::Quoted, Literal::short(b"\" ")),
    Step::new(Field::Status, Shape::Word, Literal::short(b" ")),
];
static REFERER: [Step; 2] = [
    Step::new(Field::Bytes, Shape::Word, Literal::short(b" \"")),
    Step::new(Field::Referer, Shape::Quoted, Literal::short(b"\" \"")),
];
static LAST_AGENT: [Step; 1] = [Step::new(Field::Agent, Shape::Quoted, Literal::short(b"\""))];
static AGENT: [Step; 1] = [Step::new(Field::Agent, Shape::Quoted, Literal::short(b"\" "))];
static MICROS: [Step; 1] = [Step::new(Field::Duration { unit_us: 1 }, Shape::Rest, Literal::short(b""))];

static RUNS: &[(Run, &[Step])] = &[
    (Run::Apache, &APACHE),
    (Run::Nginx, &NGINX),
    (Run::Request, &REQUEST),
    (Run::Referer, &REFERER),
    (Run::LastAgent, &LAST_AGENT),
    (Run::Agent, &AGENT),
    (Run::Micros, &MICROS),
];

/// The runs that the steps are made of.
fn runs(steps: &[Step]) -> Box<[Run]> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < steps.len() {
        let known = RUNS.iter().find(|(_, known)| steps[at..].starts_with(known));
        let (run, len) = known.map_or((Run::One(at), 1), |(run, known)| (*run, known.len()));
        runs.push(run);
        at += len;
    }
    runs.into()
}

/// A compiled format string.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    lead: Literal,
    steps: Box<[Step]>,
    runs: Box<[Run]>,
    /// A stranger's text of uncertain end stands in front of an address.
    ambiguous: bool,
    escaped: bool,
    /// The time is that of the end of the request.
    pub(crate) stamps_end: bool,
    /// A name was seen where an address is expected: the server looks names up, and whoever owns an address chooses
    /// its name, even `192.0.2.7`. From then on such a field names nobody.
    pub(crate) names: bool,
}

impl Plan {
    /// Compiles the parts of a format string. `escaped` tells that the server escapes quotes inside fields.
    pub(crate) fn compile(parts: Vec<Part>, escaped: bool, no_time: &'static str) -> Result<Self, Error> {
        let parts = drop_doubles(join(parts)?);
        let mut lead = Vec::new();
        let mut steps: Vec<(Piece, Vec<u8>)> = Vec::new();
        for part in parts {
            match (part, steps.last_mut()) {
                (Part::Piece(piece), _) => steps.push((piece, Vec::new())),
                (Part::Literal(text), Some((_, then))) => then.extend(text),
                (Part::Literal(text), None) => lead.extend(text),
            }
        }
        let times =
            || steps.iter().filter(|(piece, _)| matches!(piece.field, Field::Time { used: true, .. }));
        let complete = times()
            .any(|(piece, _)| !matches!(piece.field, Field::Time { stamp: Stamp::Fraction { .. }, .. }));
        if !complete {
            return Err(Error::NoTime { expected: no_time });
        }
        let stamps_end = times().any(|(piece, _)| piece.end);
        let mut ambiguous = false;
        let mut stranger = false;
        let last = steps.len() - 1;
        let steps: Box<[Step]> = steps
            .into_iter()
            .enumerate()
            .map(|(at, (piece, then))| {
                let is_address = matches!(piece.field, Field::Address { .. });
                ambiguous |= stranger && is_address;
                let shape = match (&piece.field, then.first()) {
                    (Field::Time { .. }, _) => Shape::Own,
                    (_, None) if at == last => Shape::Rest,
                    (Field::Status | Field::SkipStatus, None) => Shape::Status,
                    (Field::SkipMark, None) => Shape::Mark,
                    (_, None) => Shape::Digits,
                    (_, Some(b'"')) if piece.free && escaped => Shape::Quoted,
                    _ if piece.free => Shape::Bare,
                    // A v6 address holds what would end it.
                    (_, Some(first))
                        if is_address && (first.is_ascii_hexdigit() || b":.%".contains(first)) =>
                    {
                        Shape::Bare
                    }
                    _ => Shape::Word,
                };
                stranger |= shape == Shape::Bare && piece.free;
                Step::new(piece.field, shape, Literal::new(&then))
            })
            .collect();
        let runs = runs(&steps);
        Ok(Plan { lead: Literal::new(&lead), steps, runs, ambiguous, escaped, stamps_end, names: false })
    }

    /// How many fields the format has: of two that fit, the one that knows more is the better.
    pub(crate) fn width(&self) -> usize {
        self.steps.iter().filter(|step| !matches!(step.field, Field::Skip | Field::SkipMark)).count()
    }
}

/// Makes one literal of neighbouring ones, and one field of neighbouring ones that nothing separates.
fn join(parts: Vec<Part>) -> Result<Vec<Part>, Error> {
    let mut joined: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match (part, joined.last_mut()) {
            (Part::Literal(text), _) if text.is_empty() => {}
            (Part::Literal(text), Some(Part::Literal(before))) => before.extend(text),
            (Part::Piece(piece), Some(Part::Piece(before))) => match (&before.field, &piece.field) {
                (Field::Target, Field::Query | Field::Skip | Field::SkipMark) => {}
                (Field::Skip | Field::Query, Field::Skip | Field::SkipMark | Field::Query) => {
                    before.free = true;
                }
                (before, field) if ends_by_itself(before, field) => joined.push(Part::Piece(piece)),
                _ => {
                    let before = before.text.clone();
                    return Err(Error::Adjacent { at: piece.at, before, found: piece.text });
                }
            },
            (part, _) => joined.push(part),
        }
    }
    Ok(joined)
}

/// Whether it is certain where a field ends that nothing separates from the one behind it.
fn ends_by_itself(field: &Field, behind: &Field) -> bool {
    let is_number = matches!(
        behind,
        Field::Status | Field::Bytes | Field::SkipNumber | Field::Duration { .. } | Field::Address { .. }
    );
    match field {
        // As many digits as there are.
        Field::Time { stamp: Stamp::Epoch { .. }, .. } => !is_number,
        Field::Time { .. } | Field::Status | Field::SkipMark => true,
        Field::Bytes | Field::SkipNumber => *behind == Field::SkipMark,
        _ => false,
    }
}

/// Of several pieces for one field keeps the best; the others are skipped over.
fn drop_doubles(mut parts: Vec<Part>) -> Vec<Part> {
    let pieces = || {
        parts.iter().enumerate().filter_map(|(i, part)| match part {
            Part::Piece(piece) => Some((i, piece)),
            Part::Literal(_) => None,
        })
    };
    let has_request = pieces().any(|(_, piece)| matches!(piece.field, Field::Request));
    let has_whole_time = pieces().any(|(_, piece)| whole_time(&piece.field));
    let has_epoch =
        pieces().any(|(_, piece)| matches!(piece.field, Field::Time { stamp: Stamp::Epoch { .. }, .. }));
    let mut dropped = Vec::new();
    for (i, piece) in pieces() {
        let in_request = matches!(piece.field, Field::Method | Field::Target | Field::Protocol);
        let better = pieces().any(|(j, other)| {
            same_slot(&piece.field, &other.field)
                && (other.rank > piece.rank || other.rank == piece.rank && j < i)
        });
        let part_of_known_time = match &piece.field {
            Field::Time { stamp: Stamp::Strftime(_), .. } => has_whole_time,
            Field::Time { stamp: Stamp::Fraction { .. }, .. } => has_epoch,
            _ => false,
        };
        if better || part_of_known_time || has_request && in_request {
            dropped.push(i);
        }
    }
    for i in dropped {
        if let Part::Piece(piece) = &mut parts[i] {
            piece.end = false;
            match &mut piece.field {
                // A stamp knows where it ends, which still helps to find what is behind it.
                Field::Time { used, .. } => *used = false,
                field @ Field::Status => *field = Field::SkipStatus,
                field @ Field::Bytes => *field = Field::SkipNumber,
                field => *field = Field::Skip,
            }
        }
    }
    parts
}

fn whole_time(field: &Field) -> bool {
    matches!(field, Field::Time { stamp: Stamp::Clf | Stamp::Iso | Stamp::Epoch { .. }, .. })
}

fn same_slot(one: &Field, other: &Field) -> bool {
    // Each address role and each piece of a time counts for itself.
    match (one, other) {
        (Field::Skip | Field::SkipNumber | Field::SkipMark | Field::Query | Field::Address { .. }, _) => {
            false
        }
        (Field::Time { .. }, Field::Time { .. }) => whole_time(one) && whole_time(other),
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}
