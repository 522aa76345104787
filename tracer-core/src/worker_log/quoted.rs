//! Strings as Go's `strconv.Quote` prints them.

/// Reads the quoted string at the beginning of `text`; returns it and the rest.
///
/// Go strings are bytes; invalid UTF-8 is replaced after unescaping.
pub(super) fn unquote(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut bytes = Vec::new();
    loop {
        let stop = rest.find(['"', '\\'])?;
        bytes.extend_from_slice(rest.get(..stop)?.as_bytes());
        rest = rest.get(stop..)?;
        if let Some(after) = rest.strip_prefix('"') {
            return Some((String::from_utf8_lossy(&bytes).into_owned(), after));
        }
        rest = escape(rest.strip_prefix('\\')?, &mut bytes)?;
    }
}

/// Decodes one escape, without its backslash; returns the rest.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let mut characters = text.chars();
    let kind = characters.next()?;
    let rest = characters.as_str();
    let plain = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => {
            let (value, rest) = hexadecimal(rest, 2)?;
            bytes.push(u8::try_from(value).ok()?);
            return Some(rest);
        }
        'u' | 'U' => {
            let (value, rest) = hexadecimal(rest, if kind == 'u' { 4 } else { 8 })?;
            let character = char::from_u32(value)?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    bytes.push(plain);
    Some(rest)
}

fn hexadecimal(text: &str, digits: usize) -> Option<(u32, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    let is_hexadecimal = number.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = u32::from_str_radix(number, 16).ok()?;
    is_hexadecimal.then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `strconv.Quote`, for strings that are UTF-8.
    fn quote(text: &str) -> String {
        let mut quoted = String::from("\"");
        for character in text.chars() {
            match character {
                '\x07' => quoted.push_str("\\a"),
                '\x08' => quoted.push_str("\\b"),
                '\x0c' => quoted.push_str("\\f"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\x0b' => quoted.push_str("\\v"),
                '\\' | '"' => quoted.extend(['\\', character]),
                '\0'..' ' | '\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(character))),
                '\u{80}'..'\u{a1}' => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
                '\u{e000}'..='\u{f8ff}' => {
                    quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
                }
                '\u{f0000}'.. => quoted.push_str(&format!("\\U{:08x}", u32::from(character))),
                _ => quoted.push(character),
            }
        }
        quoted + "\""
    }

    #[test]
    fn malformed_quoted_strings_are_refused() {
        for text in ["", "a", "\"", "\"a", r#""\"#, r#""\q""#, r#""\x4""#, r#""\x+4""#] {
            assert_eq!(unquote(text), None, "{text}");
        }
        assert_eq!(unquote(r#""\ud800""#), None);
        assert_eq!(unquote(r#""\U00110000""#), None);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced() {
        assert_eq!(unquote(r#""a\xffb" c"#), Some(("a\u{fffd}b".into(), " c")));
        assert_eq!(unquote(r#""\xc3\xa9""#), Some(("é".into(), "")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn quoted_strings_come_back(
            text in proptest::collection::vec(any::<char>(), 0..60),
            rest in prop_oneof![Just(""), Just(" next=1"), Just("\"")],
        ) {
            let text: String = text.into_iter().collect();
            let line = quote(&text) + rest;
            prop_assert_eq!(unquote(&line), Some((text, rest)));
        }

        #[test]
        fn every_byte_string_escaped_bytewise_comes_back(bytes: Vec<u8>) {
            let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            let expected = String::from_utf8_lossy(&bytes).into_owned();
            let quoted = format!("\"{escaped}\"");
            prop_assert_eq!(unquote(&quoted), Some((expected, "")));
        }
    }
}
