//! JSON as rt-app's users write it: with comments, trailing commas, duplicate keys, and keys without a value.
//!
//! Left out: what rt-app's own parser would not take either (unquoted keys, hexadecimal numbers).
use crate::diagnostic::{InputError, Text};
use crate::tree::{Member, Node, Span, Value, shorten};

/// Deeper nesting is refused; workloads need five levels.
const DEPTH_MAX: u32 = 64;

/// Parses a whole text.
pub(super) fn parse(text: &Text<'_>) -> Result<Node, InputError> {
    let mut parser = Parser { text, input: text.as_str(), at: 0 };
    if parser.input.starts_with('\u{feff}') {
        parser.at = '\u{feff}'.len_utf8();
    }
    parser.skip_blanks()?;
    let node = parser.value(0)?;
    parser.skip_blanks()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.unexpected("the end of the file after the outermost `}`")),
    }
}

struct Parser<'a> {
    text: &'a Text<'a>,
    input: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.input.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// The whole character at the present place.
    fn here(&self) -> Span {
        let length = self.input[self.at..].chars().next().map_or(0, char::len_utf8);
        self.at..self.at + length
    }

    fn unexpected(&self, expected: &str) -> InputError {
        let span = self.here();
        let found = match &self.input[span.clone()] {
            "" => "the file ends here".to_owned(),
            character => format!("unexpected `{}`", shorten(character)),
        };
        self.text.error(&span, found, expected)
    }

    fn skip_blanks(&mut self) -> Result<(), InputError> {
        loop {
            let rest = &self.input[self.at..];
            if let Some(comment) = rest.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    let span = self.at..self.at + 2;
                    return Err(self.text.error(&span, "this comment never ends", "`*/`"));
                };
                self.at += length + 4;
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with([' ', '\t', '\r', '\n', '\u{b}', '\u{c}']) {
                self.at += 1;
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: u32) -> Result<Node, InputError> {
        let start = self.at;
        if depth > DEPTH_MAX {
            return Err(self.text.error(&self.here(), "nested too deeply", "at most 64 levels"));
        }
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"' | b'\'') => Value::Str(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.word()?,
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Node { span: start..self.at, value })
    }

    fn object(&mut self, depth: u32) -> Result<Value, InputError> {
        let open = self.at;
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.skip_blanks()?;
            if self.take(b'}') {
                return Ok(Value::Table(members));
            }
            if !matches!(self.peek(), Some(b'"' | b'\'')) {
                return Err(self.unclosed(open, "a key in double quotes, or `}`"));
            }
            members.push(self.member(depth)?);
            self.skip_blanks()?;
            if !self.take(b',') && self.peek() != Some(b'}') {
                return Err(self.unclosed(open, "`,` or `}`"));
            }
        }
    }

    /// `"key": value`, or `"key"` alone.
    fn member(&mut self, depth: u32) -> Result<Member, InputError> {
        let start = self.at;
        let key = self.string()?;
        let key_span = start..self.at;
        self.skip_blanks()?;
        let node = match self.peek() {
            Some(b':') => {
                self.at += 1;
                self.skip_blanks()?;
                self.value(depth + 1)?
            }
            Some(b',' | b'}') => Node { span: key_span.clone(), value: Value::Absent },
            _ => return Err(self.unexpected("`:` and a value after the key")),
        };
        Ok(Member { key, key_span, node })
    }

    fn array(&mut self, depth: u32) -> Result<Value, InputError> {
        let open = self.at;
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_blanks()?;
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            if self.peek().is_none() {
                return Err(self.unclosed(open, "`]`"));
            }
            items.push(self.value(depth + 1)?);
            self.skip_blanks()?;
            if !self.take(b',') && self.peek() != Some(b']') {
                return Err(self.unclosed(open, "`,` or `]`"));
            }
        }
    }

    /// At the end of the file the bracket that was never closed is the better place to show.
    fn unclosed(&self, open: usize, expected: &str) -> InputError {
        if self.peek().is_some() {
            return self.unexpected(expected);
        }
        let bracket = &self.input[open..=open];
        self.text.error(&(open..open + 1), format!("this `{bracket}` is never closed"), expected)
    }

    fn string(&mut self) -> Result<String, InputError> {
        let start = self.at;
        let quote = self.input[start..].chars().next().unwrap_or('"');
        self.at += 1;
        let mut content = String::new();
        loop {
            let Some(character) = self.input[self.at..].chars().next().filter(|&c| c != '\n') else {
                let found = "this text has no closing quote";
                return Err(self.text.error(&(start..self.at), found, format!("`{quote}` on the same line")));
            };
            let from = self.at;
            self.at += character.len_utf8();
            match character {
                _ if character == quote => return Ok(content),
                '\\' => content.push(self.escape(from)?),
                _ => content.push(character),
            }
        }
    }

    /// The character an escape sequence means; the backslash at `from` has been taken.
    fn escape(&mut self, from: usize) -> Result<char, InputError> {
        let Some(letter) = self.input[self.at..].chars().next() else {
            return Err(self.unexpected("the rest of an escape sequence"));
        };
        self.at += letter.len_utf8();
        let meaning = match letter {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            '"' | '\'' | '\\' | '/' => Some(letter),
            // Halves of surrogate pairs have no meaning of their own and no use in a workload.
            'u' => self
                .input
                .get(self.at..self.at + 4)
                .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
                .map(|hex| {
                    self.at += 4;
                    u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
                }),
            _ => None,
        };
        meaning.ok_or_else(|| {
            let expected = "one of \\n \\t \\r \\b \\f \\\" \\\\ \\/ \\uXXXX";
            self.text.error(&(from..self.at), "unknown escape sequence", expected)
        })
    }

    fn number(&mut self) -> Result<Value, InputError> {
        let is_number = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = self.input[self.at..].bytes().take_while(|&byte| is_number(byte)).count();
        let written = &self.input[self.at..self.at + length];
        let span = self.at..self.at + length;
        self.at += length;
        let digits = written.strip_prefix('-').unwrap_or(written);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
            let int = written.parse().map(Value::Int);
            return Ok(int.unwrap_or_else(|_| Value::Number(written.to_owned())));
        }
        match written.parse::<f64>() {
            Ok(_) => Ok(Value::Number(written.to_owned())),
            Err(_) => {
                Err(self.text.error(&span, format!("`{}` is not a number", shorten(written)), "a number"))
            }
        }
    }

    fn word(&mut self) -> Result<Value, InputError> {
        let length =
            self.input[self.at..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let span = self.at..self.at + length;
        let word = &self.input[span.clone()];
        self.at += length;
        match word.to_ascii_lowercase().as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            _ => {
                let found = format!("`{}` stands without quotes", shorten(word));
                Err(self.text.error(&span, found, "a number, text in double quotes, true or false"))
            }
        }
    }
}
