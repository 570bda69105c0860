//! Files made to hurt whoever reads them: small or large texts and bytes that grow without end, or
//! lead endlessly deep, once they are parsed, validated, compiled or linked. Each is answered
//! within the limits, by `inspect` in a process with little memory and time, and by a host beside
//! whose compiler a quick job goes on.

mod crafted;

use std::fmt::Write as _;

use serde_json::json;

use super::compile::leb;
use super::support::{Host, Project, Record};

/// What `inspect` may take: seconds of CPU time, KiB of addresses.
const INSPECT: &str = "ulimit -c 0 && ulimit -S -t 8 && ulimit -v 4194304";

/// The longest that anything said of a file may be, in bytes. A name alone may have 100 000.
const SAID: usize = 8 << 10;

/// The most bytes that a name may have.
const LONGEST_NAME: usize = 100_000;

/// A section of a binary.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut section = vec![id];
    section.extend(leb(content.len()));
    section.extend(content);
    section
}

/// A core module of these sections.
fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    sections.iter().for_each(|section| wasm.extend(section));
    wasm
}

/// So many times the same item, with their number before them.
fn times(count: usize, item: &[u8]) -> Vec<u8> {
    let mut content = leb(count);
    content.extend(item.repeat(count));
    content
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = leb(text.len());
    bytes.extend(text.as_bytes());
    bytes
}

/// A module of one function without parameters, of which this is the body with its locals, and
/// which is exported as `_start`.
fn command(body: &[u8]) -> Vec<u8> {
    commands(1, body)
}

/// The same with so many functions of the same body; the first one is exported.
fn commands(count: usize, body: &[u8]) -> Vec<u8> {
    let mut entry = leb(body.len());
    entry.extend(body);
    module(&[
        section(1, &[1, 0x60, 0, 0]),
        section(3, &times(count, &[0])),
        section(7, b"\x01\x06_start\0\0"),
        section(10, &times(count, &entry)),
    ])
}

/// Code in a body without locals.
fn body(parts: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![0];
    parts.iter().for_each(|part| body.extend(*part));
    body.push(0x0b);
    body
}

/// A component of this text, which has the export of a job besides.
fn component(text: &str) -> Vec<u8> {
    let text = format!(
        r#"(component {text}
            (core module $m (func (export "run")))
            (core instance $i (instantiate $m))
            (func (export "run") (canon lift (core func $i "run"))))"#
    );
    wat::parse_str(text).unwrap()
}

/// Text with a line for each of `1..=count`, of the one before and the one at hand.
fn lines(count: usize, line: impl Fn(usize, usize) -> String) -> String {
    (1..=count).fold(String::new(), |mut text, at| {
        let _ = writeln!(text, "{}", line(at - 1, at));
        text
    })
}

/// Components of which each instantiates the one before it twice.
fn doubling_instances(levels: usize) -> Vec<u8> {
    let first = r#"(component $c0 (core module $m) (core instance (instantiate $m)))"#;
    let more = lines(levels, |before, at| {
        format!(
            "(component $c{at} (alias outer 1 $c{before} (component $b))
                (instance (instantiate $b)) (instance (instantiate $b)))"
        )
    });
    component(&format!(
        "{first}\n{more}(instance (instantiate $c{levels}))"
    ))
}

/// Types of which each holds the one before it twice.
fn doubling_tuples(levels: usize) -> Vec<u8> {
    let types = lines(levels, |before, at| {
        format!("(type $t{at} (tuple $t{before} $t{before}))")
    });
    component(&format!(
        r#"(type $t0 (tuple u8 u8)) {types} (import "f" (func (param "x" $t{levels})))"#
    ))
}

/// Types of instances of which each exports the one before it twice.
fn doubling_instance_types(levels: usize) -> Vec<u8> {
    let types = lines(levels, |before, at| {
        format!(
            r#"(type $t{at} (instance (alias outer 1 $t{before} (type $b))
                (export "a" (instance (type $b))) (export "b" (instance (type $b)))))"#
        )
    });
    component(&format!(
        r#"(type $t0 (instance (export "f" (func)))) {types} (import "x" (instance (type $t{levels})))"#
    ))
}

/// Types of components of which each imports and exports the one before it.
fn doubling_component_types(levels: usize) -> Vec<u8> {
    let types = lines(levels, |before, at| {
        format!(
            r#"(type $t{at} (component (alias outer 1 $t{before} (type $b))
                (import "a" (component (type $b))) (export "b" (component (type $b)))))"#
        )
    });
    component(&format!("(type $t0 (component)) {types}"))
}

/// A type in a type, and so on.
fn chain(of: &str, depth: usize) -> String {
    lines(depth, |before, at| {
        format!("(type ${of}{at} (list ${of}{before}))")
    })
}

/// Two types, alike and so deep, that are compared.
fn deep_types_compared(depth: usize) -> Vec<u8> {
    let (inner, outer) = (chain("a", depth), chain("b", depth));
    component(&format!(
        r#"(component $c (type $a0 (list u8)) {inner} (import "f" (func (param "x" $a{depth}))))
            (type $b0 (list u8)) {outer} (import "f" (func $f (param "x" $b{depth})))
            (instance (instantiate $c (with "f" (func $f))))"#
    ))
}

/// A type so deep that holds a resource, which is another one for each instance.
fn deep_types_of_resources(depth: usize) -> Vec<u8> {
    let inner = chain("a", depth);
    component(&format!(
        r#"(component $c (import "r" (type $r (sub resource))) (type $a0 (list (own $r))) {inner}
                (import "f" (func (param "x" $a{depth}))) (export "g" (type $a{depth})))
            (import "r" (type $r (sub resource))) (type $a0 (list (own $r))) {inner}
            (import "f" (func $f (param "x" $a{depth})))
            (instance (instantiate $c (with "r" (type $r)) (with "f" (func $f))))"#
    ))
}

/// Components, each with so many instances of another one that has a large face.
fn large_instances(components: usize, instances: usize, exports: usize) -> Vec<u8> {
    let exports = lines(exports, |_, at| {
        format!(r#"(export "e{at}" (type (sub resource)))"#)
    });
    let instances = lines(instances, |_, at| {
        format!("(instance $i{at} (instantiate $c))")
    });
    let components = lines(components - 1, |_, at| {
        format!("(component $c{at} (alias outer 1 $c (component $c)) {instances})")
    });
    component(&format!(
        r#"(import "c" (component $c {exports})) {instances} {components}"#
    ))
}

/// Types of components in one another.
fn nested_types(depth: usize) -> Vec<u8> {
    // Of one declaration: a type; in the end a primitive type.
    let mut types = [0x41, 1, 1].repeat(depth);
    types.push(0x7f);
    let mut content = leb(1);
    content.extend(types);
    let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
    wasm.extend(section(7, &content));
    wasm
}

/// A component with so many core modules, each empty.
fn many_modules(count: usize) -> Vec<u8> {
    let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
    wasm.extend(section(1, &module(&[])).repeat(count));
    wasm
}

/// Imports with names as long as they may be, in a command.
fn long_imports(count: usize) -> Vec<u8> {
    let mut imports = leb(count);
    for at in 0..count {
        imports.extend(name("env"));
        let ballast = "x".repeat(LONGEST_NAME - 4);
        imports.extend(name(&format!("{at:04}{ballast}")));
        imports.extend([0, 0]);
    }
    module(&[
        section(1, &[1, 0x60, 0, 0]),
        section(2, &imports),
        section(7, b"\x01\x06_start\0\0"),
    ])
}

/// A name as long as it may be, of two exports.
fn one_long_export_twice() -> Vec<u8> {
    let mut export = name(&"x".repeat(LONGEST_NAME));
    export.extend([0, 0]);
    module(&[
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(7, &times(2, &export)),
        section(10, &[1, 2, 0, 0x0b]),
    ])
}

/// As many types as there may be, in a command.
fn a_million_types() -> Vec<u8> {
    module(&[
        section(1, &times(1_000_000, &[0x60, 0, 0])),
        section(3, &[1, 0]),
        section(7, b"\x01\x06_start\0\0"),
        section(10, &[1, 2, 0, 0x0b]),
    ])
}

/// A command whose code opens something again and again, and closes it all in the end.
fn nested_code(depth: usize, open: &[u8]) -> Vec<u8> {
    command(&body(&[&open.repeat(depth), &[0x0b].repeat(depth)]))
}

/// Exports with names as long as they may be; nothing that starts.
fn long_exports(count: usize) -> Vec<u8> {
    let mut exports = leb(count);
    for at in 10_000..10_000 + count {
        exports.extend(name(&at.to_string().repeat(LONGEST_NAME / 5)));
        exports.extend([0, 0]);
    }
    module(&[
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(7, &exports),
        section(10, &[1, 2, 0, 0x0b]),
    ])
}

/// Many short exports besides `_start`.
fn many_exports(count: usize) -> Vec<u8> {
    let mut exports = leb(count + 1);
    exports.extend(b"\x06_start\0\0");
    for at in 0..count {
        exports.extend(name(&at.to_string()));
        exports.extend([0, 0]);
    }
    module(&[
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(7, &exports),
        section(10, &[1, 2, 0, 0x0b]),
    ])
}

/// Tables of a jump, as long as they may be.
fn jump_tables(count: usize) -> Vec<u8> {
    let targets = 65_519;
    let mut jump = vec![0x41, 0, 0x0e]; // i32.const 0, br_table
    jump.extend(times(targets, &[0]));
    jump.push(0);
    let mut code = vec![0x02, 0x40]; // block
    code.extend(&jump);
    code.push(0x0b);
    command(&body(&[&code.repeat(count)]))
}

/// A table filled with one function, so many times.
fn elements(count: usize) -> Vec<u8> {
    let mut table = vec![1, 0x70, 0];
    table.extend(leb(count));
    let mut elements = vec![1, 0, 0x41, 0, 0x0b]; // one segment, from 0 on
    elements.extend(times(count, &[0]));
    module(&[
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(4, &table),
        section(7, b"\x01\x06_start\0\0"),
        section(9, &elements),
        section(10, &[1, 2, 0, 0x0b]),
    ])
}

/// A segment of data of which the file has not a byte.
fn absent_data(bytes: usize) -> Vec<u8> {
    let mut data = vec![1, 0, 0x41, 0, 0x0b];
    data.extend(leb(bytes));
    let mut wasm = module(&[section(5, &[1, 0, 1])]);
    wasm.push(11);
    wasm.extend(leb(data.len() + bytes));
    wasm.extend(data);
    wasm
}

/// A section that nobody reads, in a sound command.
fn custom(bytes: usize) -> Vec<u8> {
    let mut content = name("x");
    content.resize(content.len() + bytes, 0);
    let mut wasm = command(&body(&[]));
    wasm.extend(section(0, &content));
    wasm
}

/// What becomes of a bomb.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It is a plugin.
    Loads,
    /// It is none, for a reason that holds this.
    Refused(&'static str),
}

use End::{Loads, Refused};

/// A name, what makes the file, what `inspect` says of it, and what a host does.
type Bomb = (&'static str, Box<dyn Fn() -> Vec<u8>>, End, End);

/// The bombs: their names, what `inspect` says of them (it compiles nothing), what the host does.
fn bombs() -> Vec<Bomb> {
    let mut bombs: Vec<Bomb> = vec![
        (
            "instances-doubled",
            Box::new(|| doubling_instances(30)),
            Loads,
            Refused("compile_memory"),
        ),
        (
            "instances-doubled-a-little",
            Box::new(|| doubling_instances(12)),
            Loads,
            Refused("more than a job may have"),
        ),
        (
            "tuples-doubled",
            Box::new(|| doubling_tuples(40)),
            Refused("type size"),
            Refused("type size"),
        ),
        (
            "tuples-doubled-a-little",
            Box::new(|| doubling_tuples(17)),
            Loads,
            Refused("imports `f`"),
        ),
        (
            "instance-types-doubled",
            Box::new(|| doubling_instance_types(40)),
            Refused("type size"),
            Refused("type size"),
        ),
        (
            "instance-types-doubled-a-little",
            Box::new(|| doubling_instance_types(15)),
            Loads,
            Refused("imports `x`"),
        ),
        (
            "component-types-doubled",
            Box::new(|| doubling_component_types(40)),
            Refused("type size"),
            Refused("type size"),
        ),
        (
            "deep-types-compared",
            Box::new(|| deep_types_compared(5_000)),
            Refused("too deep"),
            Refused("too deep"),
        ),
        (
            "deep-types-of-resources",
            Box::new(|| deep_types_of_resources(5_000)),
            Refused("too deep"),
            Refused("too deep"),
        ),
        (
            "large-instances",
            Box::new(|| large_instances(1, 999, 900)),
            Loads,
            Refused("compile_memory"),
        ),
        (
            "large-instances-everywhere",
            Box::new(|| large_instances(100, 999, 900)),
            Refused("longer than"),
            Refused("compile_"),
        ),
        (
            "nested-types",
            Box::new(|| nested_types(10_000)),
            Refused("too deeply"),
            Refused("too deeply"),
        ),
        (
            "types-nested-a-million-times",
            Box::new(|| nested_types(1_000_000)),
            Refused("too deeply"),
            Refused("too deeply"),
        ),
        (
            "many-modules",
            Box::new(|| many_modules(100_000)),
            Refused("exceeds limit"),
            Refused("exceeds limit"),
        ),
        (
            "long-imports",
            Box::new(|| long_imports(200)),
            Loads,
            Refused("188 more"),
        ),
        (
            "long-exports",
            Box::new(|| long_exports(60)),
            Refused("48 more"),
            Refused("48 more"),
        ),
        (
            "one-long-export-twice",
            Box::new(one_long_export_twice),
            Refused("duplicate"),
            Refused("duplicate"),
        ),
        (
            "many-exports",
            Box::new(|| many_exports(100_000)),
            Loads,
            Loads,
        ),
        (
            "a-million-functions",
            Box::new(|| commands(1_000_000, &body(&[]))),
            Loads,
            Refused("compile_"),
        ),
        ("a-million-types", Box::new(a_million_types), Loads, Loads),
        (
            "many-locals",
            Box::new(|| commands(2_000, &[1, 0xd0, 0x86, 0x03, 0x7b, 0x0b])),
            Loads,
            Refused("compile_"),
        ),
        (
            "jump-tables",
            Box::new(|| jump_tables(110)),
            Loads,
            Refused("compile_"),
        ),
        (
            "blocks",
            Box::new(|| nested_code(1_000_000, &[0x02, 0x40])),
            Loads,
            Refused("compile_"),
        ),
        (
            "ifs",
            Box::new(|| nested_code(400_000, &[0x41, 0, 0x04, 0x40])),
            Loads,
            Refused("compile_"),
        ),
        (
            "elements",
            Box::new(|| elements(9_000_000)),
            Loads,
            Refused("compile_memory"),
        ),
        (
            "absent-data",
            Box::new(|| absent_data(1_000_000_000)),
            Refused("cut short"),
            Refused("cut short"),
        ),
        (
            "custom-section",
            Box::new(|| custom(64 << 20)),
            Loads,
            Loads,
        ),
    ];
    bombs.extend(crafted::bombs());
    bombs
}

/// What is wrong with an answer, if anything is. Which bomb meets a limit of time depends on the
/// machine: that is never wrong.
fn judge(name: &str, who: &str, expected: End, seen: Result<(), &str>) -> Option<String> {
    let wrong = match (expected, seen) {
        (Loads, Ok(())) => false,
        (_, Err(error)) if error.contains("takes longer than") && error.len() <= SAID => false,
        (Refused(words), Err(error)) => {
            !error.contains(words) || error.len() > SAID || error.is_empty()
        }
        _ => true,
    };
    let seen = seen.map_err(|error| (error.len(), error.chars().take(300).collect::<String>()));
    wrong.then(|| format!("{name}: {who}: {seen:?}"))
}

#[test]
fn bombs_are_inspected_within_bounds() {
    let project = Project::with(&[]);
    let mut wrong = Vec::new();
    for (name, bytes, expected, _) in bombs() {
        let file = format!("{name}.wasm");
        project.write(&file, bytes());
        let ended = project.run_limited(INSPECT, &["inspect", &file]);
        match ended.code {
            Some(0) => wrong.extend(judge(name, "inspect", expected, Ok(()))),
            Some(1) => wrong.extend(judge(name, "inspect", expected, Err(&ended.stderr))),
            _ => wrong.push(format!("{name}: inspect died: {}", ended.stderr)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A host with limits that the bombs meet soon, beside which a quick job runs.
fn host() -> (Project, Host) {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([
        { "id": "bystander", "component": "hello.wasm", "trigger": "@every 300ms" },
    ]));
    let settings = "[plugins]\ncompile_timeout = \"5s\"\ncompile_memory = \"256MiB\"\n";
    project.write("quarterjack.toml", settings);
    let host = project.serve(&["--refresh", "1s", "--cache", "none"]);
    (project, host)
}

#[test]
fn bombs_are_loaded_or_refused_while_a_job_goes_on() {
    let (project, host) = host();
    host.record("bystander").succeeded();
    let mut wrong = Vec::new();
    for (name, bytes, _, expected) in bombs() {
        let mark = host.mark();
        let file = format!("{name}.wasm");
        project.replace(&format!("plugins/{file}"), bytes());
        let end = host.wait(&format!("an answer about {name}"), mark, |event| {
            event.of_plugin("plugin.loaded", &file) || event.of_plugin("plugin.rejected", &file)
        });
        let seen = if end.is("plugin.loaded") {
            Ok(())
        } else {
            Err(end.text("error"))
        };
        wrong.extend(judge(name, "host", expected, seen));
        host.fresh_record(host.mark(), "bystander").succeeded();
        std::fs::remove_file(project.path(&format!("plugins/{file}"))).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // It ran all the while. On a machine that is busy with all of this a run may take longer than
    // until the next one, now and then.
    let events = host.events();
    let of = |name: &str| events.iter().filter(|it| it.of(name, "bystander")).count();
    let (ran, skipped) = (of("run.finished"), of("run.skipped"));
    assert!(skipped * 5 < ran, "{skipped} skipped, {ran} ran");
    let peak = host.peak_kib() >> 10;
    assert!(peak < 512, "the host had {peak} MiB");
    host.stop().in_order();
}

#[test]
fn what_traps_is_told_of_in_short() {
    let project = Project::with(&[]);
    let names: Vec<String> = (0..3).map(|at| at.to_string().repeat(90_000)).collect();
    let wasm = wat::parse_str(format!(
        r#"(module (func $a{a} unreachable) (func $b{b} (call $a{a}))
            (func $c{c} (export "_start") (call $b{b})))"#,
        a = names[0],
        b = names[1],
        c = names[2],
    ));
    project.write("plugins/long.wasm", wasm.unwrap());
    let record: Record = project.record("long", &[]);
    let error = record.text("error");
    assert!(
        error.contains("(in a000") && error.contains("... < c222"),
        "{error}"
    );
    assert!(error.len() < SAID, "{} bytes", error.len());
}
