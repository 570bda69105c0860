//! The forms in which a secret may turn up in a text: as it is, and as programs write it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The shortest line of a longer secret that is one for itself.
const SHORTEST_LINE: usize = 8;

/// How many letters of a form of Base64 may be on the line before the rest: that is a form, too.
pub(super) const DROPPED: usize = 2;

/// The fewest letters of such a rest.
const SHORTEST_REST: usize = 6;

/// The parts of a secret that are secret for themselves: the whole of it, and each of its lines
/// that is long enough, without white space around it.
pub(super) fn parts(secret: &[u8]) -> BTreeSet<&[u8]> {
    let lines = secret
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| line.len() >= SHORTEST_LINE);
    lines.chain([secret]).collect()
}

/// All forms of a part of a secret, each once, by the way in which they may be written.
#[derive(Debug, Default)]
pub(super) struct Forms {
    /// Written just so.
    pub(super) plain: BTreeSet<Vec<u8>>,
    /// Base64, which may be broken into lines.
    pub(super) base64: BTreeSet<Vec<u8>>,
    /// Hexadecimal digits in lower case, which may be written in either and set apart.
    pub(super) hex: Vec<u8>,
}

/// All forms of a part of a secret.
pub(super) fn forms(value: &[u8]) -> Forms {
    let mut forms = Forms::default();
    forms.plain.insert(value.to_vec());
    percent_encoded(value, &mut forms.plain);
    if let Ok(text) = std::str::from_utf8(value) {
        escaped(text, &mut forms.plain);
    }
    in_base64(value, &mut forms.base64);
    let mut digits = String::with_capacity(value.len() * 2);
    for byte in value {
        push_hex(&mut digits, *byte, false);
    }
    forms.hex = digits.into_bytes();
    forms
}

fn push_hex(to: &mut String, byte: u8, upper: bool) {
    // Writing to a String cannot fail.
    let _ = match upper {
        true => write!(to, "{byte:02X}"),
        false => write!(to, "{byte:02x}"),
    };
}

/// Base64 of the secret inside a longer text. Three bytes become four letters, so what precedes
/// the secret decides by which of three ways its bits fall into letters; the letters that it
/// shares with its neighbours are not certain, and are left out. Where the text ends with the
/// secret, the last letter is certain after all, and padding may follow. Where a line ends after the
/// first letters, the rest is found.
fn in_base64(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(value);
            let letters = engine.encode(&bytes).into_bytes();
            let first = (before * 8).div_ceil(6);
            let certain = bytes.len() * 8 / 6;
            let mut padded = letters.clone();
            let mut ends = vec![certain];
            if certain < letters.len() {
                padded.resize(letters.len().next_multiple_of(4), b'=');
                ends.extend([letters.len(), padded.len()]);
            }
            for end in ends {
                forms.extend(padded.get(first..end).map(<[u8]>::to_vec));
                let rests = (1..=DROPPED).filter_map(|dropped| padded.get(first + dropped..end));
                let rests = rests.filter(|rest| rest.len() >= SHORTEST_REST);
                forms.extend(rests.map(<[u8]>::to_vec));
            }
        }
    }
}

/// Percent-encoding: who encodes it decides which characters need it.
fn percent_encoded(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    /// The marks that are left as they are, besides letters and digits.
    const LEFT: [&[u8]; 5] = [
        b"-._~",                 // RFC 3986
        b"-._~/",                // the same, for paths
        b"-._~!'()*",            // encodeURIComponent
        b"-._~!'()*;,/?:@&=+$#", // encodeURI
        b"-._*",                 // forms
    ];
    for upper in [true, false] {
        for plus in [true, false] {
            let encode = |keeps: &dyn Fn(u8) -> bool| {
                let mut text = Vec::with_capacity(value.len() * 3);
                for byte in value {
                    match byte {
                        b' ' if plus => text.push(b'+'),
                        byte if keeps(*byte) => text.push(*byte),
                        byte => {
                            let mut code = String::from("%");
                            push_hex(&mut code, *byte, upper);
                            text.extend_from_slice(code.as_bytes());
                        }
                    }
                }
                text
            };
            forms.insert(encode(&|_| false));
            for left in LEFT {
                forms.insert(encode(&|byte| {
                    byte.is_ascii_alphanumeric() || left.contains(&byte)
                }));
            }
        }
    }
}

/// How a text stands between quotes.
#[derive(Clone, Copy)]
struct Quoting {
    /// Only ASCII: the rest as `\u` and four digits.
    ascii: bool,
    /// Digits of `\u` in upper case.
    upper: bool,
    /// `\/` for `/`.
    slash: bool,
    /// Nothing that ends a script: `<`, `>` and `&` as `\u`.
    script: bool,
}

/// The text inside of quotes: as JSON has it, in the ways that writers of JSON differ, and as
/// Rust prints it for programmers.
fn escaped(text: &str, forms: &mut BTreeSet<Vec<u8>>) {
    for choice in 0..16_u8 {
        let quoting = Quoting {
            ascii: choice & 1 != 0,
            upper: choice & 2 != 0,
            slash: choice & 4 != 0,
            script: choice & 8 != 0,
        };
        forms.insert(in_json(text, quoting).into_bytes());
    }
    let printed = format!("{text:?}");
    let inside = printed.get(1..printed.len() - 1).unwrap_or_default();
    forms.insert(inside.as_bytes().to_vec());
}

fn in_json(text: &str, quoting: Quoting) -> String {
    let mut json = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '/' if quoting.slash => json.push_str("\\/"),
            '<' | '>' | '&' if quoting.script => push_unicode(&mut json, letter, quoting.upper),
            letter if letter < ' ' => push_unicode(&mut json, letter, quoting.upper),
            letter if quoting.ascii && letter > '~' => {
                push_unicode(&mut json, letter, quoting.upper);
            }
            letter => json.push(letter),
        }
    }
    json
}

/// `\u` and four digits, for each unit of UTF-16.
fn push_unicode(to: &mut String, letter: char, upper: bool) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        to.push_str("\\u");
        for byte in unit.to_be_bytes() {
            push_hex(to, byte, upper);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(value: &str) -> Vec<String> {
        let forms = forms(value.as_bytes());
        let mut all = forms.plain;
        all.extend(forms.base64);
        all.insert(forms.hex);
        all.into_iter()
            .map(|form| String::from_utf8(form).unwrap())
            .collect()
    }

    #[test]
    fn the_forms_of_a_secret() {
        insta::assert_snapshot!(texts("p/ä w?").join("\n"), @r"
        %70%2F%C3%A4%20%77%3F
        %70%2F%C3%A4+%77%3F
        %70%2f%c3%a4%20%77%3f
        %70%2f%c3%a4+%77%3f
        /DpCB3P
        /DpCB3Pw
        /DpCB3Pw==
        702fc3a420773f
        8OkIHc/
        8OkIHc_
        Avw6Qgdz
        Avw6Qgdz8
        Avw6Qgdz8=
        C/DpCB3P
        C/DpCB3Pw
        C/DpCB3Pw==
        C_DpCB3P
        C_DpCB3Pw
        C_DpCB3Pw==
        L8OkIHc/
        L8OkIHc_
        _DpCB3P
        _DpCB3Pw
        _DpCB3Pw==
        cC/DpCB3P
        cC/DpCB3Pw
        cC/DpCB3Pw==
        cC_DpCB3P
        cC_DpCB3Pw
        cC_DpCB3Pw==
        p%2F%C3%A4%20w%3F
        p%2F%C3%A4+w%3F
        p%2f%c3%a4%20w%3f
        p%2f%c3%a4+w%3f
        p/%C3%A4%20w%3F
        p/%C3%A4%20w?
        p/%C3%A4+w%3F
        p/%C3%A4+w?
        p/%c3%a4%20w%3f
        p/%c3%a4%20w?
        p/%c3%a4+w%3f
        p/%c3%a4+w?
        p/\u00E4 w?
        p/\u00e4 w?
        p/ä w?
        p\/\u00E4 w?
        p\/\u00e4 w?
        p\/ä w?
        vw6Qgdz
        vw6Qgdz8
        vw6Qgdz8=
        w6Qgdz
        w6Qgdz8
        w6Qgdz8=
        wL8OkIHc/
        wL8OkIHc_
        ");
    }

    #[test]
    fn every_line_that_is_long_enough_is_secret_for_itself() {
        let key = b"-----BEGIN-----\r\nshort\n  0123456789  \n";
        let parts: Vec<_> = parts(key)
            .into_iter()
            .map(|part| part.escape_ascii().to_string())
            .collect();
        insta::assert_snapshot!(parts.join("\n"), @r"
        -----BEGIN-----
        -----BEGIN-----\r\nshort\n  0123456789  \n
        0123456789
        ");
        // What is one line is one part.
        assert_eq!(super::parts(b"one line").len(), 1);
    }

    fn holds(text: &[u8], forms: &Forms) -> bool {
        let all = forms.plain.iter().chain(&forms.base64).chain([&forms.hex]);
        all.into_iter()
            .any(|form| text.windows(form.len()).any(|window| window == form))
    }

    proptest! {
        /// Whatever is around it, a secret is found in what encoders of all kinds make of it.
        #[test]
        fn a_secret_is_found_however_it_is_encoded(
            before in "\\PC{0,8}",
            secret in "[ -~äß¼\n\t\u{1}😀]{4,20}",
            after in "\\PC{0,8}",
        ) {
            use base64::engine::general_purpose::{STANDARD, URL_SAFE};
            let forms = forms(secret.as_bytes());
            let text = format!("{before}{secret}{after}");
            let ends = format!("{before}{secret}");
            for text in [&text, &ends] {
                let encoded = [
                    STANDARD.encode(text),
                    URL_SAFE.encode(text),
                    STANDARD_NO_PAD.encode(text),
                    URL_SAFE_NO_PAD.encode(text),
                    serde_json::to_string(text).unwrap(),
                    format!("{text:?}"),
                    text.bytes().map(|byte| format!("{byte:02x}")).collect(),
                    text.bytes().map(|byte| format!("%{byte:02X}")).collect(),
                ];
                for encoded in encoded {
                    prop_assert!(holds(encoded.as_bytes(), &forms), "{encoded}");
                }
            }
        }

        #[test]
        fn no_form_is_so_short_that_it_comes_up_by_chance(
            secret in proptest::collection::vec(any::<u8>(), 4..20),
        ) {
            let Forms { plain, base64, hex } = forms(&secret);
            for form in plain.into_iter().chain(base64).chain([hex]) {
                prop_assert!(form.len() >= 4, "{form:?}");
            }
        }
    }
}
