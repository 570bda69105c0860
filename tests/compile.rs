//! Compiling plugins apart from the host: what takes too much of it takes nothing of the host.

use serde_json::json;

use super::support::Project;

/// A sound module that takes long and much to compile: many functions, each of which keeps eight
/// locals alive over many steps. Written byte by byte: as text it would take longer to
/// read than to compile.
fn bomb(functions: u32, steps: u32) -> Vec<u8> {
    let mut body = vec![1, 8, 0x7e]; // eight locals of type i64
    for step in 0..steps {
        let (to, from) = ((step % 8) as u8, ((step + 3) % 8) as u8);
        // local.get from, local.get to, i64.const 5, i64.rotl, i64.add, local.set to
        body.extend([0x20, from, 0x20, to, 0x42, 5, 0x89, 0x7c, 0x21, to]);
    }
    body.push(0x0b);
    let mut bodies = leb(functions);
    for _ in 0..functions {
        bodies.extend(leb(body.len() as u32));
        bodies.extend(&body);
    }
    let mut kinds = leb(functions);
    kinds.resize(kinds.len() + functions as usize, 0);
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    for (id, content) in [
        (1, vec![1, 0x60, 0, 0]), // one type: a function without parameters and results
        (3, kinds),
        (5, vec![1, 0, 1]), // a memory of one page
        (7, b"\x02\x06_start\0\0\x06memory\x02\0".to_vec()),
        (10, bodies),
    ] {
        wasm.push(id);
        wasm.extend(leb(content.len() as u32));
        wasm.extend(content);
    }
    wasm
}

/// A number as WebAssembly writes it.
fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// A project whose operator allows compiling little, and that keeps no compiled code.
fn project(plugins: &str) -> Project {
    let project = Project::with(&["hello"]);
    project.write("quarterjack.toml", format!("[plugins]\n{plugins}\n"));
    project.jobs(&json!([
        {"id": "hello", "component": "hello.wasm", "trigger": {"interval": "100ms"}},
        {"id": "bomb", "component": "bomb.wasm", "trigger": "@manually", "run_on_start": true},
    ]));
    project
}

/// A bomb is refused for this reason while the host goes on.
#[track_caller]
fn is_refused(project: &Project, bomb: &[u8], words: &[&str]) {
    let host = project.serve(&["--cache", "none"]);
    let mark = host.mark();
    project.replace("plugins/bomb.wasm", bomb);
    let event = host.plugin_from(mark, "plugin.rejected", "bomb.wasm");
    for word in words {
        assert!(event.text("error").contains(word), "{event}");
    }
    host.fresh_record(host.mark(), "hello").succeeded();
}

#[test]
fn a_plugin_that_takes_too_much_memory_to_compile_is_refused() {
    let project = project("compile_memory = \"64MiB\"");
    is_refused(
        &project,
        &bomb(2, 200_000),
        &[
            "it needs more than 64 MiB of memory to compile",
            "compile_memory",
        ],
    );
}

#[test]
fn a_plugin_that_takes_too_long_to_compile_is_refused() {
    let project = project("compile_timeout = \"2s\"");
    is_refused(
        &project,
        &bomb(8, 200_000),
        &["it takes longer than 2 s to compile", "compile_timeout"],
    );
}

#[test]
fn a_file_that_is_too_large_is_not_even_read() {
    let project = project("max_size = \"16KiB\"");
    let words = ["more than the 16 KiB that a plugin may have"];
    is_refused(&project, &bomb(1, 2_000), &words);
}

#[test]
fn what_is_compiled_apart_runs_and_is_kept() {
    let project = Project::with(&["hello"]);
    let run = |cache: &str| {
        let arguments = ["run", "plugins/hello.wasm", "--json", "--cache", cache];
        project.run(&arguments).exits(0)
    };
    run("none").says(&[]);
    run("code");
    let kept = std::fs::read_dir(project.path("code")).unwrap().count();
    assert_eq!(kept, 2, "the code and its sum");
    let again = run("code");
    assert!(again.stderr.is_empty(), "{}", again.stderr);
}
