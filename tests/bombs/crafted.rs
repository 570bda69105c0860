//! Bombs made by hand that no toolchain would make: in the outermost cases of the format, or with
//! what is sound for a parser and too much for a compiler.

use super::End::{Loads, Refused};
use super::{Bomb, body, command, component, lines, module, name, section, times};
use crate::compile::leb;

/// As [`super::doubling_instances`], of components with nothing in them.
fn doubling_nothing(levels: usize) -> Vec<u8> {
    let more = lines(levels, |before, at| {
        format!(
            "(component $c{at} (alias outer 1 $c{before} (component $b))
                (instance (instantiate $b)) (instance (instantiate $b)))"
        )
    });
    component(&format!(
        "(component $c0) {more} (instance (instantiate $c{levels}))"
    ))
}

/// Components in each other, each of which instantiates the one that it holds.
fn nested_instances(depth: usize) -> Vec<u8> {
    let header = b"\0asm\x0d\0\x01\0".to_vec();
    (0..depth).fold(header.clone(), |inner, _| {
        let instance = section(5, &[1, 0, 0, 0]);
        [header.clone(), section(4, &inner), instance].concat()
    })
}

/// Types of instances in each other, as a section of types has them.
fn nested_instance_types(depth: usize) -> Vec<u8> {
    let mut content = vec![1];
    content.extend([0x42, 1, 1].repeat(depth));
    content.extend([0x42, 0]);
    let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
    wasm.extend(section(7, &content));
    wasm
}

/// A type of many fields that crosses from one component to another: the code between them
/// copies each.
fn crossing(levels: usize) -> Vec<u8> {
    let types = lines(levels, |before, at| {
        format!("(type $t{at} (tuple $t{before} $t{before}))")
    });
    let types = format!("(type $t0 (tuple u8 string)) {types}");
    let memory = r#"(memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)"#;
    component(&format!(
        r#"(component $callee
            {types}
            (core module $m {memory} (func (export "f") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "v" $t{levels})
                (canon lift (core func $i "f") (memory $i "memory") (realloc (func $i "realloc")))))
        (component $caller
            {types}
            (import "f" (func $f (param "v" $t{levels})))
            (core module $libc {memory})
            (core instance $libc (instantiate $libc))
            (core func $f (canon lower (func $f)
                (memory $libc "memory") (realloc (func $libc "realloc"))))
            (core module $m (import "" "f" (func (param i32))))
            (core instance (instantiate $m (with "" (instance (export "f" (func $f)))))))
        (instance $callee (instantiate $callee))
        (instance (instantiate $caller (with "f" (func $callee "f"))))"#
    ))
}

/// Types of functions that all differ, so that none can stand for another.
fn different_types(count: usize) -> Vec<u8> {
    let mut types = leb(count + 1);
    types.extend([0x60, 0, 0]);
    for at in 0..count {
        types.extend([0x60, 24]);
        types.extend((0..24).map(|bit| if at >> bit & 1 == 0 { 0x7f } else { 0x7e }));
        types.push(0);
    }
    module(&[
        section(1, &types),
        section(3, &[1, 0]),
        section(7, b"\x01\x06_start\0\0"),
        section(10, &[1, 2, 0, 0x0b]),
    ])
}

/// A command that imports functions under these names.
fn importing(names: impl ExactSizeIterator<Item = String>) -> Vec<u8> {
    let count = names.len();
    let mut imports = leb(count);
    for field in names {
        imports.extend(name("wasi_snapshot_preview1"));
        imports.extend(name(&field));
        imports.extend([0, 1]);
    }
    let mut export = b"\x01\x06_start\0".to_vec();
    export.extend(leb(count));
    module(&[
        section(1, &[2, 0x60, 0, 0, 0x60, 0, 1, 0x7f]),
        section(2, &imports),
        section(3, &[1, 0]),
        section(7, &export),
        section(10, &[1, 2, 0, 0x0b]),
    ])
}

/// Locals that all live at once, around a loop: each must be kept somewhere.
fn live_locals(count: usize) -> Vec<u8> {
    let mut code = vec![1];
    code.extend(leb(count));
    code.extend([0x7e, 0x03, 0x40]); // of type i64; loop
    for at in 0..count {
        for index in [at, (at + 7) % count] {
            code.push(0x20); // local.get
            code.extend(leb(index));
        }
        code.extend([0x7c, 0x21]); // i64.add, local.set
        code.extend(leb((at + 1) % count));
    }
    code.extend([0x0c, 0, 0x0b, 0x0b]); // br 0, end, end
    command(&code)
}

/// One jump to one of so many places.
fn jump_table(targets: usize) -> Vec<u8> {
    command(&body(&[&[0x41, 0, 0x0e], &times(targets, &[0]), &[0]]))
}

/// The same, in a function with a name.
fn named(text: &str, mut wasm: Vec<u8>) -> Vec<u8> {
    let mut content = name("name");
    let functions = [vec![1, 0], name(text)].concat();
    content.extend(section(1, &functions));
    wasm.extend(section(0, &content));
    wasm
}

/// A value that hangs on so many instructions.
fn deep_value(depth: usize) -> Vec<u8> {
    let (constants, products) = ([0x41, 5].repeat(depth), [0x6c].repeat(depth - 1));
    command(&body(&[&constants, &products, &[0x1a]]))
}

/// Memories with two bytes of data so far from each other: an image of each would be large.
fn images(count: usize, last: usize) -> Vec<u8> {
    let modules = lines(count, |_, at| {
        format!(
            r#"(core module $m{at} (memory 256)
                (data (i32.const 0) "a") (data (i32.const {last}) "z"))"#
        )
    });
    component(&modules)
}

/// A section that claims to hold as many items as the format can say.
fn claimed(id: u8) -> Vec<u8> {
    module(&[section(id, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0])])
}

/// A section that claims all that the format can say, behind a sound command.
fn claimed_section() -> Vec<u8> {
    [command(&body(&[])), vec![0, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat()
}

/// The bombs, as [`super::bombs`] has them.
pub(super) fn bombs() -> Vec<Bomb> {
    let mut bombs: Vec<Bomb> = vec![
        (
            "nothing-doubled",
            Box::new(|| doubling_nothing(30)),
            Loads,
            Refused("compile_"),
        ),
        (
            "nested-instances",
            Box::new(|| nested_instances(10_000)),
            Refused("too deeply"),
            Refused("too deeply"),
        ),
        (
            "nested-instance-types",
            Box::new(|| nested_instance_types(10_000_000)),
            Refused("too deeply"),
            Refused("too deeply"),
        ),
        (
            "crossing",
            Box::new(|| crossing(12)),
            Loads,
            Refused("does not fit the host: type-checking export func `run`"),
        ),
        (
            "types-that-differ",
            Box::new(|| different_types(200_000)),
            Loads,
            Refused("compile_"),
        ),
        (
            "one-import-often",
            Box::new(|| importing((0..100_000).map(|_| "sched_yield".to_owned()))),
            Loads,
            Refused("more than a job may have"),
        ),
        (
            "long-names-of-wasi",
            Box::new(|| importing((0..200).map(|at| format!("{at}{}", "x".repeat(99_000))))),
            Loads,
            Refused("the names of what it imports"),
        ),
        (
            "a-long-name-of-wasi",
            Box::new(|| importing((0..1).map(|_| "x".repeat(99_000)))),
            Loads,
            Refused("does not fit the host"),
        ),
        (
            "live-locals",
            Box::new(|| live_locals(50_000)),
            Loads,
            Refused("compile_"),
        ),
        (
            "jump-table",
            Box::new(|| jump_table(7_000_000)),
            Loads,
            Refused("br_table"),
        ),
        (
            "jump-table-with-a-name",
            Box::new(|| named(&"x".repeat(99_000), jump_table(7_000_000))),
            Loads,
            Refused("does not compile"),
        ),
        (
            "deep-value",
            Box::new(|| deep_value(500_000)),
            Loads,
            Refused("compile_"),
        ),
        (
            "sparse-images",
            Box::new(|| images(900, 15 << 20)),
            Loads,
            Refused("does not fit the host: type-checking export func `run`"),
        ),
        (
            "small-images",
            Box::new(|| images(900, 1_000_000)),
            Loads,
            Refused("compile_"),
        ),
        (
            "claimed-section",
            Box::new(claimed_section),
            Refused("cut short"),
            Refused("cut short"),
        ),
    ];
    for (name, id) in [
        ("claimed-types", 1),
        ("claimed-imports", 2),
        ("claimed-functions", 3),
        ("claimed-globals", 6),
        ("claimed-exports", 7),
        ("claimed-elements", 9),
    ] {
        let refused = Refused("not valid WebAssembly");
        bombs.push((name, Box::new(move || claimed(id)), refused, refused));
    }
    bombs
}
