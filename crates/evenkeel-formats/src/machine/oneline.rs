//! A machine in one line: `2 sockets x 4 llc x 8 cores x 2 threads, distance 10/32`.
//!
//! ```text
//! machine  = shape { "," option }
//! shape    = count unit { "x" count unit }          units in this order, each at most once
//! unit     = sockets | nodes | dies | llc | clusters | cores | threads | cpus      singular or plural
//!            packages = sockets, l3 = ccx = llc, modules = l2 = clusters, cpus = cores of one thread
//! option   = "nodes" N | "nodes" "per" "socket" N   spread evenly over sockets, caches and cores
//!          | "distance" 10/A | "distance" 10/A/B    A: same socket, B: other socket; alone: any other node
//!          | "ring" 10/A/B.. | "line" 10/A/B..      by hops
//!          | "distances" "[" row ";" row .. "]"
//!          | "capacity" runs                        4x446+4x1024, per core or per CPU
//!          | "priority" runs                        for asym packing, higher is preferred
//!          | "numbering" "adjacent" | "numbering" "interleaved"
//!          | "x86" | "arm" | "reclaim" N | "itmt" | "isolated" cpulist | "offline" cpulist
//! ```
//! `×` and `*` are as good as `x`; letters may be big or small. What is left out has the defaults of a regular machine:
//! one node and one last-level cache per socket, distance 12 in a socket and 20 beyond, siblings next to each other.
//! `4 nodes x 2 cores` without sockets makes each node a socket.
//!
//! hwloc's synthetic form (`pack:2 numa:1 l3:1 l2:2 core:1 pu:2`) is read as well.
use super::error::TextError;
use super::shape::{Blame, Distances, NodeSpread, Shape, Unit};
use super::{LoadedMachine, MachineInputError};
use evenkeel::topology::Arch;

/// What errors call the text.
const ORIGIN: &str = "machine";
/// The most entries of a list (distances, runs), far above what a machine of 8192 CPUs needs.
const ENTRIES_MAX: usize = 1 << 20;

/// Reads a machine in one line.
pub fn parse(text: &str) -> Result<LoadedMachine, MachineInputError> {
    let mut parser = Parser::new(text)?;
    let shape = if parser.is_synthetic() { parser.synthetic()? } else { parser.machine()? };
    shape
        .build(text.trim(), "one-line form")
        .map_err(|(blame, message)| parser.error_at(parser.blamed(blame), message))
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Number(u32),
    Word(String),
    Mark(char),
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// Tokens with their byte offsets; the last is [`Token::End`].
    tokens: Vec<(Token, usize)>,
    next: usize,
    /// Where options begin, to point at when they turn out impossible.
    places: Vec<(Blame, usize)>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, MachineInputError> {
        let mut tokens = Vec::new();
        let mut chars = text.char_indices().peekable();
        while let Some(&(start, c)) = chars.peek() {
            let mut take_while = |want: fn(char) -> bool| {
                let mut end = start;
                while let Some(&(i, c)) = chars.peek()
                    && want(c)
                {
                    end = i + c.len_utf8();
                    chars.next();
                }
                &text[start..end]
            };
            let token = if c.is_ascii_digit() {
                let digits = take_while(|c| c.is_ascii_digit());
                Token::Number(digits.parse().map_err(|_| {
                    MachineInputError::at_offset(
                        ORIGIN,
                        text,
                        start,
                        format!("the number {digits} is too big"),
                    )
                })?)
            } else if c.is_alphabetic() && c != '×' {
                // `4x446`: an x right before a digit is the times sign.
                let word = take_while(|c| c.is_alphanumeric() || c == '_');
                match word.strip_prefix(['x', 'X']) {
                    Some("") => Token::Mark('x'),
                    Some(digits)
                        if digits.chars().all(|c| c.is_ascii_digit())
                            && (digits != "86" || matches!(tokens.last(), Some((Token::Number(_), _)))) =>
                    {
                        tokens.push((Token::Mark('x'), start));
                        let number = digits.parse().map_err(|_| {
                            let message = format!("the number {digits} is too big");
                            MachineInputError::at_offset(ORIGIN, text, start + 1, message)
                        })?;
                        tokens.push((Token::Number(number), start + 1));
                        continue;
                    }
                    _ => Token::Word(word.to_lowercase()),
                }
            } else {
                chars.next();
                match c {
                    c if c.is_whitespace() => continue,
                    '×' | '*' => Token::Mark('x'),
                    c => Token::Mark(c),
                }
            };
            tokens.push((token, start));
        }
        tokens.push((Token::End, text.len()));
        Ok(Self { text, tokens, next: 0, places: Vec::new() })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn offset(&self) -> usize {
        self.tokens[self.next].1
    }

    fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    /// Takes the token if it is this one.
    fn accept(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        if found {
            self.advance();
        }
        found
    }

    fn mark(&mut self, mark: char) -> bool {
        self.accept(&Token::Mark(mark))
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(w) if w == word);
        if found {
            self.advance();
        }
        found
    }

    fn number(&mut self, what: &str) -> Result<u32, MachineInputError> {
        let Token::Number(number) = *self.peek() else { return Err(self.expected(what)) };
        self.advance();
        Ok(number)
    }

    fn error_at(&self, offset: usize, message: impl Into<String>) -> MachineInputError {
        TextError::at_offset(ORIGIN, self.text, offset, message).into()
    }

    fn expected(&self, what: &str) -> MachineInputError {
        let found = match self.peek() {
            Token::Number(number) => format!("`{number}`"),
            Token::Word(word) => format!("`{word}`"),
            Token::Mark(mark) => format!("`{}`", mark.escape_debug()),
            Token::End => String::from("the end of the text"),
        };
        self.error_at(self.offset(), format!("expected {what}, found {found}"))
    }

    fn blamed(&self, blame: Blame) -> usize {
        self.places.iter().rev().find(|(place, _)| *place == blame).map_or(0, |(_, offset)| *offset)
    }

    fn machine(&mut self) -> Result<Shape, MachineInputError> {
        let mut shape = Shape::default();
        self.places.push((Blame::Shape, self.offset()));
        let mut last: Option<Unit> = None;
        loop {
            let start = self.offset();
            let count = self.number("a count such as `2` in `2 sockets x 8 cores`")?;
            let at = self.offset();
            let (unit, cpus) = self.unit()?;
            if let Some(last) = last
                && unit <= last
            {
                if last == Unit::Thread && shape.counts[Unit::Thread as usize].is_none() {
                    let message = "nothing can be inside of cpus, which are cores of one thread: say `cores`";
                    return Err(self.error_at(at, message));
                }
                let (unit, last) = (unit.name(), last.name());
                return Err(self.error_at(
                    at,
                    format!(
                        "{unit} cannot be inside {last}: expected at most one each of sockets, nodes, dies, llc, \
                         clusters, cores, threads, in this order"
                    ),
                ));
            }
            if count == 0 {
                return Err(self.error_at(start, format!("expected at least 1 of {}, found 0", unit.name())));
            }
            if unit == Unit::Node {
                self.places.push((Blame::Nodes, start));
            }
            shape.counts[unit as usize] = Some(count);
            last = Some(if cpus { Unit::Thread } else { unit });
            if !self.mark('x') {
                break;
            }
        }
        while self.mark(',') {
            self.option(&mut shape)?;
        }
        match self.peek() {
            Token::End => Ok(shape),
            _ => Err(self.expected("`x` and the next level, `,` and an option, or the end")),
        }
    }

    /// A unit, and whether it is `cpus`.
    fn unit(&mut self) -> Result<(Unit, bool), MachineInputError> {
        let Token::Word(word) = self.peek() else {
            return Err(self.expected("a unit such as `sockets` or `cores`"));
        };
        let Some(unit) = unit_named(word) else {
            return Err(self.expected("a unit (sockets, nodes, dies, llc, clusters, cores, threads or cpus)"));
        };
        let cpus = matches!(word.as_str(), "cpu" | "cpus");
        self.advance();
        Ok((unit, cpus))
    }

    fn option(&mut self, shape: &mut Shape) -> Result<(), MachineInputError> {
        const OPTIONS: &str = "an option (nodes, distance, distances, ring, line, capacity, priority, numbering, x86, \
                               arm, reclaim, itmt, isolated or offline)";
        let start = self.offset();
        let Token::Word(word) = self.peek().clone() else { return Err(self.expected(OPTIONS)) };
        if let Some(place) = place_of(&word) {
            // Nodes may be a level as well; building the shape tells the two apart.
            if place != Blame::Nodes && self.places.iter().any(|(seen, _)| *seen == place) {
                return Err(self.error_at(start, format!("`{word}` says again what was said before")));
            }
            self.places.push((place, start));
        }
        self.advance();
        match word.as_str() {
            "nodes" | "node" | "numa" => shape.nodes = Some(self.nodes()?),
            "x86" | "x86_64" => shape.arch = Arch::X86,
            "arm" | "arm64" | "aarch64" | "generic" | "riscv" => shape.arch = Arch::Generic,
            "itmt" => shape.itmt = true,
            "distance" | "distances" if self.mark('[') => shape.distances = self.table()?,
            "distance" | "distances" => shape.distances = self.by_socket()?,
            "ring" | "line" => shape.distances = self.by_hops(word == "ring")?,
            "capacity" | "capacities" => shape.capacities = self.runs("a capacity, as in `4x446+4x1024`")?,
            "priority" | "priorities" => shape.priorities = self.runs("a priority, as in `4x60+4x40`")?,
            "numbering" => shape.interleaved = self.numbering()?,
            "isolated" => shape.isolated = self.cpulist()?,
            "offline" => shape.offline = self.cpulist()?,
            "reclaim" => shape.node_reclaim_distance = Some(self.number("a distance such as `reclaim 32`")?),
            _ => {
                self.next -= 1;
                return Err(self.expected(OPTIONS));
            }
        }
        Ok(())
    }

    fn nodes(&mut self) -> Result<NodeSpread, MachineInputError> {
        if self.word("per") {
            if !self.word("socket") && !self.word("package") {
                return Err(self.expected("`socket`, as in `nodes per socket 4`"));
            }
            return Ok(NodeSpread::PerSocket(self.number("the number of nodes of a socket")?));
        }
        Ok(NodeSpread::Total(self.number("the number of nodes, or `per socket` and a number")?))
    }

    fn numbering(&mut self) -> Result<bool, MachineInputError> {
        if self.word("interleaved") {
            return Ok(true);
        }
        if self.word("adjacent") {
            return Ok(false);
        }
        Err(self.expected("`adjacent` (siblings 2n, 2n+1) or `interleaved` (siblings n, n + half)"))
    }

    /// `10/20/30`, without the 10.
    fn remote_distances(&mut self) -> Result<Vec<u32>, MachineInputError> {
        let start = self.offset();
        let local = self.number("distances such as `10/21`")?;
        if local != 10 {
            return Err(self
                .error_at(start, format!("expected 10, the distance of a node to itself, found `{local}`")));
        }
        let mut remote = Vec::new();
        while self.mark('/') {
            remote.push(self.number("a distance")?);
        }
        Ok(remote)
    }

    fn by_socket(&mut self) -> Result<Distances, MachineInputError> {
        let start = self.offset();
        match *self.remote_distances()?.as_slice() {
            [] => Ok(Distances::BySocket { near: None, far: 20 }),
            [far] => Ok(Distances::BySocket { near: Some(far), far }),
            [near, far] => Ok(Distances::BySocket { near: Some(near), far }),
            _ => Err(self.error_at(
                start,
                "expected `10/other` or `10/same socket/other socket`; for more use `ring`, `line` or `distances [..]`",
            )),
        }
    }

    fn by_hops(&mut self, around: bool) -> Result<Distances, MachineInputError> {
        Ok(Distances::ByHops { hops: self.remote_distances()?, around })
    }

    /// `10 21; 21 10]`
    fn table(&mut self) -> Result<Distances, MachineInputError> {
        let (mut table, mut columns) = (Vec::new(), None);
        loop {
            let (start, before) = (self.offset(), table.len());
            while let Token::Number(distance) = *self.peek() {
                table.push(distance);
                self.advance();
            }
            let found = table.len() - before;
            let expected = *columns.get_or_insert(found);
            if found != expected || found == 0 {
                return Err(
                    self.error_at(start, format!("expected a row of {expected} distances, found {found}"))
                );
            }
            if self.mark(']') {
                return Ok(Distances::Table(table));
            }
            if !self.mark(';') {
                return Err(self.expected("a distance, `;` and the next row, or `]`"));
            }
        }
    }

    /// `4x446+4x1024`: counts and values.
    fn runs(&mut self, what: &str) -> Result<Vec<(u32, u32)>, MachineInputError> {
        let mut runs = Vec::new();
        loop {
            let first = self.number(what)?;
            runs.push(if self.mark('x') { (first, self.number(what)?) } else { (1, first) });
            if !self.mark('+') || runs.len() > ENTRIES_MAX {
                return Ok(runs);
            }
        }
    }

    /// `0-3,8`: as long as a number follows the comma.
    fn cpulist(&mut self) -> Result<String, MachineInputError> {
        let mut list = String::new();
        loop {
            list.push_str(&self.number("a CPU list such as `0-3,8`")?.to_string());
            if self.mark('-') {
                list.push('-');
                list.push_str(&self.number("the last CPU of the range")?.to_string());
            }
            if !matches!(
                (self.peek(), self.tokens.get(self.next + 1)),
                (Token::Mark(','), Some((Token::Number(_), _)))
            ) {
                return Ok(list);
            }
            self.advance();
            list.push(',');
        }
    }

    /// Whether the text begins like hwloc's synthetic form, with a word and a colon.
    fn is_synthetic(&self) -> bool {
        matches!(self.tokens.as_slice(), [(Token::Word(_), _), (Token::Mark(':'), _), ..])
    }

    fn synthetic(&mut self) -> Result<Shape, MachineInputError> {
        let mut shape = Shape::default();
        let mut last: Option<Unit> = None;
        self.places.push((Blame::Shape, self.offset()));
        while *self.peek() != Token::End {
            let at = self.offset();
            let Token::Word(word) = self.peek().clone() else {
                return Err(self.expected("a level such as `core:4`"));
            };
            let unit = match word.as_str() {
                "pack" | "package" | "socket" => Some(Unit::Socket),
                "numa" | "numanode" | "node" => Some(Unit::Node),
                "die" => Some(Unit::Die),
                "l3" | "l3cache" => Some(Unit::Llc),
                "l2" | "l2cache" => Some(Unit::Cluster),
                "core" => Some(Unit::Core),
                "pu" => Some(Unit::Thread),
                "l1" | "l1d" | "l1i" | "l1cache" | "l1dcache" | "l1icache" => None,
                _ => return Err(self.expected("pack, numa, die, l3, l2, l1, core or pu")),
            };
            self.advance();
            if !self.mark(':') {
                return Err(self.expected("`:` and a count"));
            }
            let count = self.number("a count")?;
            match unit {
                None if count != 1 => {
                    return Err(self.error_at(at, "more than one L1 cache in a level is not supported"));
                }
                None => {}
                Some(unit) if last.is_some_and(|last| unit <= last) => {
                    return Err(self.error_at(at, format!("{} come twice or too late", unit.name())));
                }
                Some(unit) => {
                    shape.counts[unit as usize] = Some(count);
                    last = Some(unit);
                }
            }
        }
        // An L2 that is the outermost cache is the last-level cache.
        if shape.counts[Unit::Llc as usize].is_none() {
            shape.counts[Unit::Llc as usize] = shape.counts[Unit::Cluster as usize].take();
        }
        // hwloc's sockets are what the text says: nodes without packages are in one.
        shape.counts[Unit::Socket as usize].get_or_insert(1);
        Ok(shape)
    }
}

/// What an option says something about, if that can turn out impossible.
fn place_of(option: &str) -> Option<Blame> {
    Some(match option {
        "nodes" | "node" | "numa" => Blame::Nodes,
        "distance" | "distances" | "ring" | "line" => Blame::Distances,
        "capacity" | "capacities" => Blame::Capacity,
        "priority" | "priorities" => Blame::Priority,
        "isolated" => Blame::Isolated,
        "offline" => Blame::Offline,
        _ => return None,
    })
}

fn unit_named(word: &str) -> Option<Unit> {
    Some(match word {
        "socket" | "sockets" | "package" | "packages" | "pkg" => Unit::Socket,
        "node" | "nodes" | "numa" => Unit::Node,
        "die" | "dies" => Unit::Die,
        "llc" | "llcs" | "l3" | "ccx" => Unit::Llc,
        "cluster" | "clusters" | "module" | "modules" | "l2" => Unit::Cluster,
        "core" | "cores" | "cpu" | "cpus" => Unit::Core,
        "thread" | "threads" => Unit::Thread,
        _ => return None,
    })
}
