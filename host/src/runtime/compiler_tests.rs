use super::*;
use crate::runtime::plugin::tests::{command, engine};

fn limits() -> PluginSettings {
    PluginSettings {
        compile_memory: 1 << 30,
        compile_timeout: Duration::from_secs(90),
        ..PluginSettings::default()
    }
}

fn said(status: i32, complaint: &str) -> String {
    let status = ExitStatus::from_raw(status);
    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
    failed(Task::Compile, Some(status), complaint, &error, &limits()).to_string()
}

#[test]
fn how_a_child_died_is_told_in_words() {
    let killed = Signal::KILL.as_raw();
    let aborted = Signal::ABORT.as_raw();
    insta::assert_snapshot!(
        [
            said(aborted, "memory allocation of 123 bytes failed"),
            said(Signal::XCPU.as_raw(), ""),
            said(killed, ""),
            said(aborted, "thread 'main' has overflowed its stack"),
            said(1 << 8, "error: cannot\n"),
            said(2 << 8, ""),
        ].join("\n"), @"
    it does not compile: it needs more than 1 GiB of memory to compile; allow more with `compile_memory` under [plugins] in quarterjack.toml, or build it smaller
    it does not compile: it takes longer than 1 min 30 s to compile; allow more with `compile_timeout` under [plugins] in quarterjack.toml, or build it smaller
    it does not compile: the compiler was killed from outside, perhaps because the machine has too little memory; touch the file to try again
    it does not compile: it is nested too deeply for the compiler
    it does not compile: the compiler failed (exit status: 1): error: cannot
    it does not compile: the compiler failed (exit status: 2)
    ");
}

#[test]
fn code_made_by_a_child_fits_the_host() {
    // The two engines differ in their pools alone.
    let hash = |engine: &wasmtime::Engine| {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    };
    let (host, child) = (engine(), engine::compile_only(Kind::Calls).unwrap());
    assert_eq!(hash(host.wasmtime()), hash(&child));
    let (face, code) = compile_and_serialize(&command("x")).unwrap();
    assert_eq!(face.shape(), Some(Shape::CoreCommand));
    let code = Code::adopt(host.wasmtime(), &code, false).unwrap();
    assert!(matches!(code, Code::Module(_)));
}

#[test]
fn an_answer_must_be_whole() {
    let face = Face {
        shape: "typed".into(),
        imports: vec!["wasi:cli/stdout@0.2.6".into()],
    };
    let bytes = 3;
    let line = |face, bytes| {
        let answer = serde_json::to_vec(&Answer::Compiled { face, bytes }).unwrap();
        [GREETING, &*answer, b"\n"].concat()
    };
    let mut whole = line(face, bytes);
    whole.extend(b"abc");
    let (answer, code) = read_answer(&*whole).unwrap();
    assert_eq!(code, b"abc");
    let compiled = taken(Task::Compile, answer, code, &limits()).map_err(|error| error.to_string());
    assert_eq!(compiled.unwrap().face.shape(), Some(Shape::Typed));
    for length in 0..whole.len() {
        let silence = read_answer(&whole[..length]).unwrap_err();
        let greeted = length >= GREETING.len();
        assert_eq!(matches!(silence, Silence::Broken(_)), greeted, "{length}");
    }
    let bytes = MAX_CODE + 1;
    let face = Face {
        shape: String::new(),
        imports: Vec::new(),
    };
    assert_eq!(face.shape(), None);
    let (answer, _) = read_answer(&*line(face, bytes)).unwrap();
    assert!(matches!(answer, Answer::TooMuch(why) if why.contains("256 MiB")));
}

#[test]
fn no_more_children_than_cores_and_none_once_stopped() {
    let Compiler::Child(children) = Compiler::child() else {
        panic!("no child");
    };
    let places: Vec<_> = (0..children.most).map(|_| children.enter()).collect();
    assert!(places.iter().all(Result::is_ok));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| children.enter().err());
        Compiler::Child(children.clone()).stop();
        assert!(matches!(
            waiting.join().unwrap(),
            Some(PluginError::Stopping)
        ));
    });
}
