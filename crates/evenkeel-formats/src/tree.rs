//! What a JSON or TOML text says, before anybody asks what it means: values in file order with their places.
//!
//! Libraries for either format drop what the workload readers need (duplicate keys, key order, positions, keys
//! without a value), so both texts are brought into this one small tree, and the questions that need an error
//! message ("is this a whole number of that range?") are asked in one place.
use crate::diagnostic::{InputError, Text};
use core::ops::{Range, RangeInclusive};

/// Byte offsets in the text.
pub(crate) type Span = Range<usize>;

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A key that stands without a value.
    Absent,
    Null,
    Bool(bool),
    Int(i64),
    /// Any other number, as written.
    Number(String),
    Str(String),
    List(Vec<Node>),
    Table(Vec<Member>),
    /// A value that no reader has a use for, described.
    Other(&'static str),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
}

impl Node {
    /// What it is, to be read after "found" or "is".
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Absent => "nothing".into(),
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => format!("the number {value}"),
            Value::Number(text) => format!("the number {text}"),
            Value::Str(text) => format!("the text \"{}\"", shorten(text)),
            Value::List(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
            Value::Other(what) => (*what).into(),
        }
    }
}

/// The first characters of a text for a message, control characters escaped.
pub(crate) fn shorten(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        match character {
            _ if index == 40 => {
                shown.push('…');
                break;
            }
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// The member called `key`, if there is one; the first if there are several.
pub(crate) fn find<'a>(members: &'a [Member], key: &str) -> Option<&'a Member> {
    members.iter().find(|member| member.key == key)
}

impl Text<'_> {
    /// "`what` is X", expected Y, at the node.
    pub(crate) fn mismatch(&self, node: &Node, what: &str, expected: &str) -> InputError {
        self.error(&node.span, format!("`{what}` is {}", node.describe()), expected)
    }

    pub(crate) fn int(
        &self,
        node: &Node,
        what: &str,
        range: RangeInclusive<i64>,
        expected: &str,
    ) -> Result<i64, InputError> {
        match node.value {
            Value::Int(value) if range.contains(&value) => Ok(value),
            _ => Err(self.mismatch(node, what, expected)),
        }
    }

    pub(crate) fn string<'n>(
        &self,
        node: &'n Node,
        what: &str,
        expected: &str,
    ) -> Result<&'n str, InputError> {
        match &node.value {
            Value::Str(text) => Ok(text),
            _ => Err(self.mismatch(node, what, expected)),
        }
    }

    pub(crate) fn bool(&self, node: &Node, what: &str) -> Result<bool, InputError> {
        match node.value {
            Value::Bool(value) => Ok(value),
            _ => Err(self.mismatch(node, what, "true or false")),
        }
    }

    pub(crate) fn list<'n>(
        &self,
        node: &'n Node,
        what: &str,
        expected: &str,
    ) -> Result<&'n [Node], InputError> {
        match &node.value {
            Value::List(items) => Ok(items),
            _ => Err(self.mismatch(node, what, expected)),
        }
    }

    pub(crate) fn table<'n>(
        &self,
        node: &'n Node,
        what: &str,
        expected: &str,
    ) -> Result<&'n [Member], InputError> {
        match &node.value {
            Value::Table(members) => Ok(members),
            _ => Err(self.mismatch(node, what, expected)),
        }
    }

    /// An error for a key nobody knows in `where_found`: with the known one that looks most like it, or else with all of them.
    pub(crate) fn unknown_key<'k>(
        &self,
        member: &Member,
        where_found: &str,
        expected: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> InputError {
        let found = format!("unknown key `{}` in {where_found}", shorten(&member.key));
        let known: Vec<&str> = known.into_iter().collect();
        let error = self.error(&member.key_span, found, expected).suggest(&member.key, known.iter().copied());
        if error.suggestion.is_none() {
            return InputError { expected: format!("{expected}: {}", known.join(", ")).into(), ..error };
        }
        error
    }
}
