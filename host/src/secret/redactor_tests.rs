use super::*;
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
fn a_secret_that_is_no_text_leaves_text_behind() {
    // The second half of an `é` is the first byte of the secret.
    let redactor = redactor(&[("bytes", b"\xa9abc")]);
    assert_eq!(clean(&redactor, "xéabc"), "x\u{fffd}[secret bytes]");
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

/// What the redactor promises, in the plainest way to write it down.
fn plainly(secrets: &[(String, Vec<u8>)], text: &[u8]) -> Vec<u8> {
    let forms: Vec<(Vec<u8>, &str)> = secrets
        .iter()
        .flat_map(|(name, value)| {
            let forms = parts(value).into_iter().flat_map(forms);
            forms.map(|form| (form, name.as_str()))
        })
        .collect();
    let mut clean = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let here = forms
            .iter()
            .filter(|(form, _)| text[at..].starts_with(form));
        let mut longest: Option<&(Vec<u8>, &str)> = None;
        for form in here {
            if longest.is_none_or(|longest| form.0.len() > longest.0.len()) {
                longest = Some(form);
            }
        }
        match longest {
            Some((form, name)) => {
                clean.extend_from_slice(format!("[secret {name}]").as_bytes());
                at += form.len();
            }
            None => {
                clean.push(text[at]);
                at += 1;
            }
        }
    }
    clean
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
        let all: Vec<Vec<u8>> = secrets
            .iter()
            .flat_map(|(_, value)| parts(value).into_iter().flat_map(forms))
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

        let longest = redactor.automaton.max_pattern_len();
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
