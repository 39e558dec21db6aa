//! Task groups: `[[group]]` tables, and the whole tree in one line of text.
//!
//! ```toml
//! [[group]]
//! path = "/web/front"     # groups on the way that are not declared have the defaults
//! weight = 200            # cpu.weight, 1 to 10000; or `shares`, cpu.shares, 2 to 262144; or `idle = true`
//! max = "20ms/100ms"      # at most so much CPU time in each period; without a period: of 100ms; or "max"
//! burst = "5ms"           # what of it may be kept for later
//! ```
//! says the same as
//! ```toml
//! groups = "web{front(weight=200 max=20ms/100ms burst=5ms)}"
//! ```
//! In that line a group is its name, then in brackets what is set of it, then in braces the groups in it:
//! `a(weight=200){b c(idle)} d`. Blanks separate, commas may.
use super::Reader;
use super::values::parse_duration;
use crate::diagnostic::InputError;
use crate::tree::{Member, Node, Span, Value, find, shorten};
use evenkeel::time::Ns;
use evenkeel::workload::{Bandwidth, GroupSettings, GroupShare, GroupSpec, group_path};

/// The keys that say how a group competes.
pub(super) const SETTING_KEYS: [&str; 5] = ["weight", "shares", "idle", "max", "burst"];
/// How deep groups may be nested.
const DEPTH_MAX: usize = 64;
/// How many groups may be declared.
const GROUPS_MAX: usize = 65_536;

const A_WEIGHT: &str = "a weight from 1 to 10000";
const SOME_SHARES: &str = "shares from 2 to 262144";
const A_LIMIT: &str = "\"max\", or CPU time and its period, such as \"20ms/100ms\"";
const A_PATH: &str = "the path of a group, such as `/a/b`";

/// Settings with the places that a message about their combination points to.
#[derive(Default)]
struct Given {
    settings: GroupSettings,
    share: Option<Span>,
    idle: Option<Span>,
    max: Option<Span>,
    burst: Option<(Ns, Span)>,
}

impl Reader<'_> {
    /// `[[group]]` and `groups`, in file order.
    pub(super) fn groups(&self, members: &[Member]) -> Result<Vec<GroupSpec>, InputError> {
        let mut groups = Vec::new();
        for member in members {
            match member.key.as_str() {
                "group" => {
                    for node in self.text.list(&member.node, "group", "tables headed [[group]]")? {
                        self.group(node, &mut groups)?;
                    }
                }
                "groups" => self.group_tree(&member.node, &mut groups)?,
                _ => {}
            }
        }
        Ok(groups)
    }

    fn group(&self, node: &Node, groups: &mut Vec<GroupSpec>) -> Result<(), InputError> {
        let members = self.text.table(node, "group", "a table headed [[group]]")?;
        let known = || ["path"].into_iter().chain(SETTING_KEYS);
        if let Some(member) = members.iter().find(|member| !known().any(|key| key == member.key)) {
            return Err(self.text.unknown_key(member, "[[group]]", "a key of a group", known()));
        }
        let Some(path) = find(members, "path") else {
            return Err(self.text.error(&node.span, "[[group]] has no `path`", "`path = \"/a\"`"));
        };
        let text = self.path(&path.node, "path")?;
        let given = self.group_settings(members)?;
        self.declare(groups, &text, given.settings, &path.node.span)
    }

    /// The path of a group, without a slash at the end.
    pub(super) fn path(&self, node: &Node, what: &str) -> Result<String, InputError> {
        let text = self.text.string(node, what, A_PATH)?;
        match group_path(text) {
            Some(names) => Ok(format!("/{}", names.join("/"))),
            None => Err(self.text.mismatch(node, what, A_PATH)),
        }
    }

    fn declare(
        &self,
        groups: &mut Vec<GroupSpec>,
        path: &str,
        settings: GroupSettings,
        span: &Span,
    ) -> Result<(), InputError> {
        if path == "/" {
            let found = "the root group is always there and has no settings";
            return Err(self.text.error(span, found, "the path of a group below it, such as `/a`"));
        }
        if path.matches('/').count() > DEPTH_MAX {
            return Err(self.text.error(
                span,
                "groups are nested too deep",
                format!("at most {DEPTH_MAX} levels"),
            ));
        }
        if let Some(first) = groups.iter().find(|group| group.path == path) {
            let line = first.origin.map_or(0, |origin| origin.line);
            let found = format!("group `{}` is declared a second time", shorten(path));
            return Err(self.text.error(
                span,
                found,
                format!("one declaration; the first is on line {line}"),
            ));
        }
        if groups.len() >= GROUPS_MAX {
            return Err(self.text.error(span, "too many groups", format!("at most {GROUPS_MAX}")));
        }
        let origin = Some(self.text.origin(span.start));
        groups.push(GroupSpec { path: path.to_owned(), settings, origin });
        Ok(())
    }

    /// The settings among the members of a table.
    pub(super) fn group_settings_of(&self, members: &[Member]) -> Result<GroupSettings, InputError> {
        Ok(self.group_settings(members)?.settings)
    }

    fn group_settings(&self, members: &[Member]) -> Result<Given, InputError> {
        let mut given = Given::default();
        for member in members {
            let (key, node) = (member.key.as_str(), &member.node);
            match key {
                "weight" => {
                    let weight = self.text.int(node, key, GroupShare::WEIGHTS, A_WEIGHT)?;
                    self.share(&mut given, GroupShare::Weight(weight as u32), &member.key_span)?;
                }
                "shares" => {
                    let shares = self.text.int(node, key, GroupShare::SHARES, SOME_SHARES)?;
                    self.share(&mut given, GroupShare::Shares(shares as u32), &member.key_span)?;
                }
                "idle" => {
                    given.settings.idle = Some(self.text.bool(node, key)?);
                    given.idle = Some(member.key_span.clone());
                }
                "max" => {
                    let text = self.text.string(node, key, A_LIMIT)?;
                    let limit = parse_limit(text).ok_or_else(|| self.text.mismatch(node, key, A_LIMIT))?;
                    given.settings.bandwidth = Some(limit);
                    given.max = Some(node.span.clone());
                }
                "burst" => given.burst = Some((self.duration(node, key)?, node.span.clone())),
                _ => {}
            }
        }
        self.settle(given)
    }

    fn share(&self, given: &mut Given, share: GroupShare, span: &Span) -> Result<(), InputError> {
        if given.share.is_some() {
            let found = "both `weight` and `shares`, or one of them twice";
            return Err(self.text.error(span, found, "one of them"));
        }
        given.settings.share = Some(share);
        given.share = Some(span.clone());
        Ok(())
    }

    /// Puts together what belongs together.
    fn settle(&self, mut given: Given) -> Result<Given, InputError> {
        if let (Some(true), Some(span)) = (given.settings.idle, &given.share) {
            let found = "a group of the idle kind has no weight";
            return Err(self.text.error(span, found, "`idle`, or a weight"));
        }
        if let Some((burst, span)) = &given.burst {
            match &mut given.settings.bandwidth {
                Some(limit) => limit.burst = *burst,
                None => {
                    let found = "`burst` without `max`";
                    return Err(self.text.error(span, found, "the limit it belongs to, `max`"));
                }
            }
        }
        if let (Some(limit), Some(span)) = (given.settings.bandwidth, &given.max)
            && let Some(fault) = limit.fault()
        {
            let span =
                given.burst.as_ref().filter(|_| fault.contains("burst")).map_or(span, |(_, span)| span);
            return Err(self.text.error(span, "this limit is not possible", fault));
        }
        Ok(given)
    }

    /// The tree in one text.
    fn group_tree(&self, node: &Node, groups: &mut Vec<GroupSpec>) -> Result<(), InputError> {
        let expected = "a tree of groups in quotes, such as \"a(weight=200){b c(max=20ms/100ms)}\"";
        let text = self.text.string(node, "groups", expected)?;
        let mut tree = Tree { reader: self, node, base: self.inside(node, text), text, at: 0 };
        let mut path = vec![String::new()];
        loop {
            match tree.next() {
                None if path.len() == 1 => return Ok(()),
                None => return Err(tree.error(text.len(), "the text ends inside a group", "`}`")),
                Some((at, "}")) if path.len() == 1 => {
                    return Err(tree.error(at, "a `}` too many", "the name of a group"));
                }
                Some((_, "}")) => {
                    path.pop();
                }
                Some((at, name)) if is_punctuation(name) => {
                    return Err(tree.error(at, format!("`{name}` without a group"), "the name of a group"));
                }
                Some((at, name)) => {
                    let above = path.last().map_or("", String::as_str);
                    let full = format!("{above}/{name}");
                    if group_path(&full).is_none_or(|names| names.last() != Some(&name)) {
                        let found = format!("`{}` is no name of a group", shorten(name));
                        return Err(tree.error(at, found, "a name without `/`"));
                    }
                    let span = tree.span(at, name.len());
                    let settings = tree.settings()?;
                    self.declare(groups, &full, settings, &span)?;
                    if tree.take("{") {
                        path.push(full);
                    }
                }
            }
        }
    }

    /// Where in the file the text of a node begins, if it stands there as it is.
    fn inside(&self, node: &Node, text: &str) -> Option<usize> {
        let begins =
            |start: &usize| self.text.as_str().get(*start..).is_some_and(|rest| rest.starts_with(text));
        (1..=5).map(|quotes| node.span.start + quotes).find(begins)
    }
}

/// A text of groups being read.
struct Tree<'a, 'n> {
    reader: &'a Reader<'a>,
    node: &'n Node,
    /// Where in the file it begins.
    base: Option<usize>,
    text: &'n str,
    at: usize,
}

impl<'n> Tree<'_, 'n> {
    /// The next word or mark, with its place in the text.
    fn next(&mut self) -> Option<(usize, &'n str)> {
        let rest = self.text[self.at..].trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let at = self.text.len() - rest.len();
        let first = rest.chars().next()?;
        let ends = |c: char| c.is_whitespace() || c == ',' || is_mark(c);
        let length = if is_mark(first) { first.len_utf8() } else { rest.find(ends).unwrap_or(rest.len()) };
        self.at = at + length;
        Some((at, &rest[..length]))
    }

    /// Takes a mark if it is the next thing.
    fn take(&mut self, mark: &str) -> bool {
        let before = self.at;
        if self.next().is_some_and(|(_, word)| word == mark) {
            return true;
        }
        self.at = before;
        false
    }

    /// What stands in brackets behind a name.
    fn settings(&mut self) -> Result<GroupSettings, InputError> {
        let mut members = Vec::new();
        if !self.take("(") {
            return Ok(GroupSettings::default());
        }
        loop {
            match self.next() {
                None => return Err(self.error(self.text.len(), "the text ends inside brackets", "`)`")),
                Some((_, ")")) => break,
                Some((at, word)) if is_punctuation(word) => {
                    return Err(self.error(at, format!("`{word}` inside brackets"), "a setting or `)`"));
                }
                Some((at, word)) => members.push(self.setting(at, word)?),
            }
        }
        self.reader.group_settings_of(&members)
    }

    /// `weight=200` as the member of a table that says the same.
    fn setting(&self, at: usize, word: &str) -> Result<Member, InputError> {
        let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
        let value_span = self.span(at + key.len() + 1, word.len().saturating_sub(key.len() + 1));
        let value = match (key, value) {
            ("idle", None) => Value::Bool(true),
            ("idle", Some("true")) => Value::Bool(true),
            ("idle", Some("false")) => Value::Bool(false),
            ("weight" | "shares", Some(value)) => {
                value.parse().map_or_else(|_| Value::Str(value.to_owned()), Value::Int)
            }
            (_, Some(value)) => Value::Str(value.to_owned()),
            (_, None) if SETTING_KEYS.contains(&key) => {
                return Err(self.error(at, format!("`{key}` without a value"), format!("`{key}=...`")));
            }
            (_, None) => Value::Absent,
        };
        let member = Member {
            key: key.to_owned(),
            key_span: self.span(at, key.len()),
            node: Node { span: value_span, value },
        };
        if !SETTING_KEYS.contains(&key) {
            let text = self.reader.text;
            return Err(text.unknown_key(&member, "a group", "a setting of a group", SETTING_KEYS));
        }
        Ok(member)
    }

    fn span(&self, at: usize, length: usize) -> Span {
        self.base.map_or(self.node.span.clone(), |base| base + at..base + at + length)
    }

    fn error(&self, at: usize, found: impl Into<Box<str>>, expected: impl Into<Box<str>>) -> InputError {
        self.reader.text.error(&self.span(at, 1), found, expected)
    }
}

fn is_mark(c: char) -> bool {
    matches!(c, '(' | ')' | '{' | '}')
}

fn is_punctuation(word: &str) -> bool {
    word.chars().all(is_mark)
}

/// `max`, `20ms/100ms`, `20ms`, `max/50ms`.
fn parse_limit(text: &str) -> Option<Bandwidth> {
    let (quota, period) = text.split_once('/').map_or((text, None), |(quota, period)| (quota, Some(period)));
    let quota = match quota.trim() {
        "max" => None,
        quota => Some(parse_duration(quota)?),
    };
    let period = match period {
        Some(period) => parse_duration(period.trim())?,
        None => Bandwidth::UNLIMITED.period,
    };
    Some(Bandwidth { quota, period, burst: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel::time::MS;

    #[test]
    fn limits_have_a_period_of_100_ms_unless_they_say() {
        let limit = |quota, period| Some(Bandwidth { quota, period, burst: 0 });
        assert_eq!(parse_limit("20ms/100ms"), limit(Some(20 * MS), 100 * MS));
        assert_eq!(parse_limit("20ms / 50ms"), limit(Some(20 * MS), 50 * MS));
        assert_eq!(parse_limit("1.5ms"), limit(Some(1_500_000), 100 * MS));
        assert_eq!(parse_limit("max"), limit(None, 100 * MS));
        for bad in ["", "20", "20ms/", "/100ms", "max/max", "1ms/2ms/3ms"] {
            assert_eq!(parse_limit(bad), None, "{bad}");
        }
    }
}
