//! A TOML text as a tree with places, in file order.
use crate::diagnostic::{InputError, Text};
use crate::tree::{Member, Node, Span, Value};
use toml::de::{DeTable, DeValue};

/// Parses a whole text.
pub(super) fn parse(text: &Text<'_>) -> Result<Node, InputError> {
    match DeTable::parse(text.as_str()) {
        Ok(table) => Ok(Node { span: table.span(), value: self::table(table.get_ref()) }),
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            let message = error.message().lines().next().unwrap_or("this is not TOML");
            let (found, expected) = message.split_once(", expected ").unwrap_or((message, "valid TOML"));
            Err(text.error(&span, found, expected))
        }
    }
}

fn table(table: &DeTable<'_>) -> Value {
    let member = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        Member { key: name.to_string(), key_span: key.span(), node: node(value.span(), value.get_ref()) }
    };
    let mut members: Vec<Member> = table.iter().map(member).collect();
    members.sort_by_key(|member| member.key_span.start);
    Value::Table(members)
}

fn node(span: Span, value: &DeValue<'_>) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Str(text.to_string()),
        DeValue::Integer(int) => match i64::from_str_radix(int.as_str(), int.radix()) {
            Ok(value) => Value::Int(value),
            Err(_) => Value::Number(int.to_string()),
        },
        DeValue::Float(float) => Value::Number(float.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| node(item.span(), item.get_ref())).collect())
        }
        DeValue::Table(table) => self::table(table),
    };
    Node { span, value }
}
