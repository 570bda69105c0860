use std::cmp::Reverse;

use super::*;
use crate::secret::forms::DROPPED;
use crate::secret::matcher::MOST_BETWEEN;
use proptest::prelude::*;

fn redactor(secrets: &[(&str, &[u8])]) -> Arc<Redactor> {
    let secrets: Vec<(Arc<str>, Secret)> = secrets
        .iter()
        .map(|(name, value)| ((*name).into(), Secret::new(value.to_vec()).unwrap()))
        .collect();
    let pairs = secrets.iter().map(|(name, secret)| (name, secret));
    Arc::new(Redactor::new(pairs).unwrap().unwrap())
}

fn clean(redactor: &Redactor, text: &str) -> String {
    redactor.redact_text(text.to_owned())
}

#[test]
fn a_secret_gives_way_to_its_name() {
    let redactor = redactor(&[("api-key", b"hunter22"), ("db", b"p&s/ w\xc3\xb6rd\"")]);
    let text = r#"plain hunter22 and p&s/ wörd"
base64 aHVudGVyMjI=, inside ZzpodW50ZXIyMjp4
url ?k=p%26s%2F+w%C3%B6rd%22&l=p%26s/%20w%c3%b6rd%22
hex 68756e7465723232 68756E7465723232
json "p&s/ wörd\"" "p\u0026s\/ w\u00f6rd\"" 
hunter2 hunter 22"#;
    insta::assert_snapshot!(clean(&redactor, text), @r#"
    plain [secret api-key] and [secret db]
    base64 [secret api-key], inside Zzp[secret api-key]jp4
    url ?k=[secret db]&l=[secret db]
    hex [secret api-key] [secret api-key]
    json "[secret db]" "[secret db]" 
    hunter2 hunter 22
    "#);
    assert_eq!(redactor.name_of_first(b"x hunter22"), Some("api-key"));
    assert_eq!(redactor.name_of_first(b"x hunter2"), None);
    assert_eq!(format!("{redactor:?}"), r#"Redactor ["api-key", "db"]"#);
}

#[test]
fn the_longest_of_those_that_begin_first_is_found() {
    let redactor = redactor(&[
        ("short", b"abcd"),
        ("long", b"abcdefgh"),
        ("late", b"cdefg"),
    ]);
    let cleaned = |text| clean(&redactor, text);
    assert_eq!(cleaned("abcdefgh"), "[secret long]");
    assert_eq!(cleaned("abcdefg"), "[secret short]efg");
    assert_eq!(cleaned("xcdefgh"), "x[secret late]h");
    assert_eq!(cleaned("abcabcdabcd"), "abc[secret short][secret short]");
}

#[test]
fn the_lines_of_a_key_are_found_one_by_one() {
    let key = b"-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n";
    let redactor = redactor(&[("key", key)]);
    let cleaned = clean(&redactor, "1: hkiG9w0BAQEFAASC\r\n2: MIIBVgIBADANBgkq;");
    assert_eq!(cleaned, "1: [secret key]\r\n2: [secret key];");
    let whole = String::from_utf8(key.to_vec()).unwrap();
    assert_eq!(clean(&redactor, &whole), "[secret key]");
}

#[test]
fn a_line_of_a_secret_does_not_hide_the_whole() {
    let redactor = redactor(&[("key", b"\nabcd1234\nxyz")]);
    assert_eq!(clean(&redactor, "\nabcd1234\nxyz"), "[secret key]");
    assert_eq!(clean(&redactor, "\nabcd1234\nxy!"), "\n[secret key]\nxy!");
    let mut stream = Stream::new(redactor);
    assert_eq!(stream.push(b"\nabcd1234\nx"), b"");
    assert_eq!(stream.push(b"yz"), b"");
    assert_eq!(stream.finish(), b"[secret key]");
}

#[test]
fn a_secret_that_is_no_text_leaves_text_behind() {
    // The second half of an `é` is the first byte of the secret.
    let redactor = redactor(&[("bytes", b"\xa9abc")]);
    assert_eq!(clean(&redactor, "xéabc"), "x\u{fffd}[secret bytes]");
}

#[test]
fn base64_may_be_broken_into_lines_and_digits_set_apart() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let secret = b"sk_live_4eC39HqLyjWDarjtT1zdp7dc";
    let redactor = redactor(&[("api-key", secret)]);
    for before in 0..90 {
        for after in [0, 1, 50] {
            let text = [&vec![b'.'; before][..], secret, &vec![b'.'; after]].concat();
            let letters = STANDARD.encode(text);
            for columns in [64, 76] {
                for end in ["\n", "\r\n", "\n    ", "\\n", "\\r\\n"] {
                    let lines: Vec<&str> = letters
                        .as_bytes()
                        .chunks(columns)
                        .map(|line| std::str::from_utf8(line).unwrap())
                        .collect();
                    let wrapped = lines.join(end);
                    let cleaned = clean(&redactor, &wrapped);
                    let left: String = cleaned.split("[secret api-key]").collect();
                    // Two letters at each side may belong to its neighbours, too, and a few may be left on
                    // the line before.
                    let kept = letters.len() - (secret.len() * 8 / 6) - 1;
                    let left = left.replace(end, "");
                    assert!(left.len() <= kept + 2 + DROPPED, "{wrapped}\n{cleaned}");
                    assert_eq!(
                        cleaned.matches("[secret").count(),
                        1,
                        "{wrapped}\n{cleaned}"
                    );
                }
            }
        }
    }
    let hex: Vec<String> = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    for apart in [":", "-", " ", "", "\n", ": ", "\\n"] {
        let digits = hex.join(apart);
        let mixed = digits.replace('b', "B");
        for text in [
            &digits,
            &digits.to_uppercase().replace("\\N", "\\n"),
            &mixed,
        ] {
            let cleaned = clean(&redactor, &format!("0x{text}, ok"));
            assert_eq!(cleaned, "0x[secret api-key], ok", "{text}");
        }
    }
    // Far apart is apart.
    let far = hex.join(&" ".repeat(MOST_BETWEEN + 1));
    assert_eq!(clean(&redactor, &far), far);
}

#[test]
fn what_stands_between_letters_is_held_back_with_them() {
    let mut stream = Stream::new(redactor(&[("key", b"hunter22")]));
    let mut pushed = |text: &str| String::from_utf8(stream.push(text.as_bytes())).unwrap();
    // The beginning is too short for a line to be held back.
    assert_eq!(pushed("some a\n"), "some a\n");
    assert_eq!(pushed("x aHVu"), "x ");
    assert_eq!(pushed("dGV\r"), "");
    assert_eq!(pushed("\n"), "");
    assert_eq!(pushed("yMjI="), "");
    assert_eq!(pushed("!68:75"), "[secret key]!");
    assert_eq!(pushed(":6E"), "");
    assert_eq!(pushed(":xx"), "68:75:6E:xx");
    assert_eq!(pushed("68 75"), "");
    assert_eq!(pushed(&" ".repeat(MOST_BETWEEN)), "");
    assert_eq!(
        pushed(" "),
        format!("68 75{}", " ".repeat(MOST_BETWEEN + 1))
    );
    assert_eq!(stream.finish(), b"");
}

#[test]
fn a_stream_holds_back_only_what_may_become_a_secret() {
    let mut stream = Stream::new(redactor(&[("key", b"hunter22")]));
    let mut pushed = |text: &str| String::from_utf8(stream.push(text.as_bytes())).unwrap();
    assert_eq!(pushed("hello "), "hello ");
    assert_eq!(pushed("to the hunt"), "to the ");
    assert_eq!(pushed("ing"), "hunting");
    assert_eq!(pushed(" hunter2"), " ");
    assert_eq!(pushed("2!"), "[secret key]!");
    assert_eq!(pushed("hu"), "");
    assert_eq!(stream.finish(), b"hu");
}

#[test]
fn a_form_that_may_yet_be_longer_waits() {
    let mut stream = Stream::new(redactor(&[("short", b"abcd"), ("long", b"abcdefgh")]));
    assert_eq!(stream.push(b"abcd"), b"");
    assert_eq!(stream.push(b"efg"), b"");
    assert_eq!(stream.push(b"abcdx"), b"[secret short]efg[secret short]x");
    assert_eq!(stream.push(b"abcdef"), b"");
    assert_eq!(stream.finish(), b"[secret short]ef");
}

#[test]
fn nothing_is_made_of_no_secrets_and_no_automaton_of_too_many() {
    assert!(Redactor::new([]).unwrap().is_none());
    let names: Vec<Arc<str>> = (0..40).map(|number| format!("n{number}").into()).collect();
    let values: Vec<Secret> = (0..40)
        .map(|seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let value = std::iter::repeat_with(|| random.alphanumeric() as u8);
            Secret::new(value.take(super::super::LONGEST).collect()).unwrap()
        })
        .collect();
    assert_eq!(
        Redactor::new(names.iter().zip(&values)).unwrap_err(),
        TooLarge
    );
}

/// The letters of a text as forms written so see it, with their places: nothing in the place of what
/// no form goes over. Of a form that begins before `from` nothing is known.
fn letters(
    text: &[u8],
    from: usize,
    forms: &[(Vec<u8>, Writing)],
    writing: Writing,
) -> Vec<(Option<u8>, usize)> {
    let forms = || forms.iter().filter(|(_, it)| *it == writing);
    let (mut letters, mut gap, mut at) = (Vec::new(), 0, from);
    while at < text.len() {
        let byte = match writing {
            Writing::Hex => text[at].to_ascii_lowercase(),
            _ => text[at],
        };
        let passed = match (writing, &text[at..]) {
            (Writing::Exact, _) => 0,
            (_, [b'\\', b'n' | b'r' | b't', ..]) => 2,
            (_, [b'\\', b'/', ..]) => 1,
            (_, [b'\r' | b'\n' | b'\t' | b' ', ..]) => 1,
            (Writing::Hex, [b':' | b'-', ..]) => 1,
            _ => 0,
        };
        if passed == 0 {
            gap = 0;
            letters.push((Some(byte), at));
            at += 1;
            continue;
        }
        let seen: Vec<Option<u8>> = letters.iter().map(|(letter, _)| *letter).collect();
        let depth = |form: &[u8]| {
            let form: Vec<Option<u8>> = form.iter().copied().map(Some).collect();
            let all = 0..=form.len().min(seen.len());
            all.filter(|length| seen.ends_with(&form[..*length])).max()
        };
        let depth = forms().filter_map(|(form, _)| depth(form)).max().unwrap();
        gap += passed;
        if gap > MOST_BETWEEN || depth < writing.least_before() {
            letters.push((None, at));
            gap = 0;
            // What would have been escaped stands for itself.
            at += 1;
        } else {
            at += passed;
        }
    }
    letters
}

/// All forms of all parts of a secret.
fn all_forms(value: &[u8]) -> Vec<(Vec<u8>, Writing)> {
    let mut all = Vec::new();
    for part in parts(value) {
        let forms = forms(part);
        all.extend(forms.plain.into_iter().map(|it| (it, Writing::Exact)));
        all.extend(forms.base64.into_iter().map(|it| (it, Writing::Base64)));
        all.push((forms.hex, Writing::Hex));
    }
    all
}

/// What the redactor promises, in the plainest way to write it down.
fn plainly(secrets: &[(String, Vec<u8>)], text: &[u8]) -> Vec<u8> {
    let forms: Vec<((Vec<u8>, Writing), &str)> = secrets
        .iter()
        .flat_map(|(name, value)| {
            let forms = all_forms(value).into_iter();
            forms.map(|form| (form, name.as_str()))
        })
        .collect();
    let only: Vec<(Vec<u8>, Writing)> = forms.iter().map(|(form, _)| form.clone()).collect();
    let (mut clean, mut done) = (Vec::new(), 0);
    loop {
        let mut found: Vec<(usize, Reverse<usize>, &str)> = Vec::new();
        for writing in [Writing::Exact, Writing::Base64, Writing::Hex] {
            let letters = letters(text, done, &only, writing);
            for ((form, _), name) in forms.iter().filter(|((_, it), _)| *it == writing) {
                let is_here = |window: &&[(Option<u8>, usize)]| {
                    let all = window.iter().map(|(letter, _)| *letter);
                    all.eq(form.iter().copied().map(Some))
                };
                found.extend(letters.windows(form.len()).find(is_here).map(|window| {
                    let (first, last) = (window[0].1, window[form.len() - 1].1);
                    (first, Reverse(last + 1), *name)
                }));
            }
        }
        let Some((start, Reverse(end), name)) = found.into_iter().min() else {
            clean.extend_from_slice(&text[done..]);
            return clean;
        };
        clean.extend_from_slice(&text[done..start]);
        clean.extend_from_slice(format!("[secret {name}]").as_bytes());
        done = end;
    }
}

/// A form as it may be written.
fn spread(form: &[u8], writing: Writing, gap: &[u8], every: usize) -> Vec<u8> {
    match writing {
        Writing::Exact => form.to_vec(),
        _ => form.chunks(every).collect::<Vec<_>>().join(gap),
    }
}

/// Secrets of few different letters, so that they overlap with one another and with themselves,
/// and a text in which they and their beginnings are frequent.
fn secrets_and_text() -> impl Strategy<Value = (Vec<(String, Vec<u8>)>, Vec<u8>)> {
    let letters = prop::sample::select(&b"aab/ \"\n\xc3\xa4\xff"[..]);
    let value = prop::collection::vec(letters.clone(), 4..14)
        .prop_filter("a secret", |value| Secret::new(value.clone()).is_ok());
    prop::collection::vec(value, 1..4).prop_flat_map(move |values| {
        let secrets: Vec<(String, Vec<u8>)> = values
            .into_iter()
            .enumerate()
            .map(|(number, value)| (format!("n{number}"), value))
            .collect();
        let gaps = ["", "\r\n", "\n", " ", ":", "\\n", "\\/", "\n \t  ", "\\"];
        let all: Vec<Vec<u8>> = secrets
            .iter()
            .flat_map(|(_, value)| all_forms(value))
            .flat_map(|(form, writing)| {
                let spread = move |(number, gap): (usize, &str)| {
                    spread(&form, writing, gap.as_bytes(), 1 + number % 5)
                };
                gaps.into_iter().enumerate().map(spread)
            })
            .collect();
        let beginning = (prop::sample::select(all.clone()), 0.0..1.0).prop_map(|(form, share)| {
            let length = (form.len() as f64 * share) as usize;
            form[..length].to_vec()
        });
        let piece = prop_oneof![
            prop::sample::select(all),
            beginning,
            prop::collection::vec(letters.clone(), 0..6),
        ];
        let text = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
        (Just(secrets), text)
    })
}

proptest! {
    #[test]
    fn a_stream_gives_the_same_however_the_text_is_cut(
        (secrets, text) in secrets_and_text(),
        cuts in prop::collection::vec(0..12_usize, 1..20),
    ) {
        let values: Vec<(&str, &[u8])> = secrets
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let redactor = redactor(&values);
        let whole = redactor.redact(&text).into_owned();
        prop_assert_eq!(&whole, &plainly(&secrets, &text));

        let longest = redactor.matchers.iter().map(Matcher::longest).max().unwrap();
        let longest = longest * (1 + MOST_BETWEEN);
        let mut stream = Stream::new(redactor.clone());
        let mut streamed = Vec::new();
        let mut rest = text.as_slice();
        for cut in cuts.into_iter().cycle() {
            // A cut of nothing at all is one, too; the last one takes the rest.
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            streamed.extend(stream.push(piece));
            prop_assert!(stream.held.len() < longest.max(1) * 2);
            rest = after;
            if cut == 0 {
                let (piece, after) = rest.split_at(rest.len().min(1));
                streamed.extend(stream.push(piece));
                rest = after;
            }
            if rest.is_empty() {
                break;
            }
        }
        streamed.extend(stream.finish());
        prop_assert_eq!(&streamed, &whole);

        // Between what was put in their place, no form is left.
        let mut left = vec![whole];
        for (name, _) in &secrets {
            let blot = format!("[secret {name}]").into_bytes();
            left = left.iter().flat_map(|text| split(text, &blot)).collect();
        }
        for text in left {
            prop_assert_eq!(redactor.name_of_first(&text), None);
        }
    }
}

fn split(text: &[u8], at: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(place) = rest.windows(at.len()).position(|window| window == at) {
        pieces.push(rest[..place].to_vec());
        rest = &rest[place + at.len()..];
    }
    pieces.push(rest.to_vec());
    pieces
}
