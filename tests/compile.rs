//! Compiling plugins: in a process of its own, inside limits, gone with its host.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::support::{Host, Project};

/// A command of many functions, each with many instructions: valid, and slow to compile.
fn heavy(functions: usize, instructions: usize) -> Vec<u8> {
    let mut body = vec![0]; // no locals
    for at in 0..instructions {
        body.extend([0x41, u8::try_from(at % 64).unwrap()]); // i32.const
        body.extend(if at == 0 { &[0x45][..] } else { &[0x6a, 0x67] }); // then eqz, or add and clz
    }
    body.extend([0x1a, 0x0b]); // drop, end
    let mut entry = leb(body.len());
    entry.extend(&body);
    let mut code = leb(functions);
    for _ in 0..functions {
        code.extend(&entry);
    }
    let mut types = leb(functions);
    types.resize(types.len() + functions, 0);
    let mut export = vec![1, 6];
    export.extend(b"_start\0\0");
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    for (id, content) in [
        (1, vec![1, 0x60, 0, 0]),
        (3, types),
        (7, export),
        (10, code),
    ] {
        wasm.push(id);
        wasm.extend(leb(content.len()));
        wasm.extend(content);
    }
    wasm
}

pub(super) fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A component in a component, and so on.
fn nested(depth: usize) -> Vec<u8> {
    let mut inner: Vec<u8> = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..depth {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        outer.extend(leb(inner.len()));
        outer.extend(inner);
        inner = outer;
    }
    inner
}

/// A project where a quick job runs beside what is compiled.
fn project(settings: &str) -> Project {
    let project = Project::with(&["hello"]);
    project.jobs(&json!([
        { "id": "steady", "component": "hello.wasm", "trigger": "@every 300ms" },
    ]));
    project.write("quarterjack.toml", format!("[plugins]\n{settings}\n"));
    project
}

/// The processes that compile for a host.
fn children(host: &Host) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let compiles = String::from_utf8_lossy(&line).contains("compile-plugin");
        if compiles && state_and_parent(id).is_some_and(|(_, parent)| parent == host.id()) {
            found.push(id);
        }
    }
    found
}

/// The state of a process, `Z` once it has ended, and its parent.
fn state_and_parent(id: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

/// A host that compiles something for long, and the process that does it.
fn compiling() -> (Project, Host, u32) {
    let project = project("compile_memory = \"1GiB\"");
    let host = project.serve(&[]);
    host.record("steady").succeeded();
    project.write("plugins/bomb.wasm", heavy(40_000, 100));
    let mut child = 0;
    wait_until("a child", || {
        child = children(&host).first().copied().unwrap_or(0);
        child != 0
    });
    (project, host, child)
}

#[track_caller]
fn is_gone(child: u32) {
    wait_until("the end of the child", || {
        state_and_parent(child).is_none_or(|(state, _)| matches!(state, 'Z' | 'X'))
    });
}

#[test]
fn what_takes_too_long_is_given_up_and_tried_again_when_more_is_allowed() {
    let project = project("compile_timeout = \"10ms\"");
    // Compiled already, whatever the limit.
    let arguments = ["--cache", "code", "--config", "none"];
    project.record("hello", &arguments).succeeded();
    let host = project.serve(&["--refresh", "1s", "--cache", "code"]);
    host.record("steady").succeeded();
    let mark = host.mark();
    project.write("plugins/slow.wasm", heavy(300, 100));
    let rejected = host.plugin_from(mark, "plugin.rejected", "slow.wasm");
    let error = rejected.text("error");
    assert!(error.contains("longer than 10 ms to compile"), "{error}");
    assert!(error.contains("compile_timeout"), "{error}");
    host.fresh_record(host.mark(), "steady").succeeded();
    project.write("quarterjack.toml", "[plugins]\ncompile_timeout = \"1m\"\n");
    host.plugin_from(mark, "plugin.loaded", "slow.wasm");
    host.stop().in_order();
}

#[test]
fn what_takes_too_much_memory_is_given_up() {
    let project = project("compile_memory = \"64MiB\"");
    let host = project.serve(&[]);
    host.record("steady").succeeded();
    let mark = host.mark();
    // One function as large as any may be.
    project.write("plugins/large.wasm", heavy(1, 1_500_000));
    let rejected = host.plugin_from(mark, "plugin.rejected", "large.wasm");
    let error = rejected.text("error");
    assert!(
        error.contains("more than 64 MiB of memory to compile"),
        "{error}"
    );
    assert!(error.contains("compile_memory"), "{error}");
    host.fresh_record(host.mark(), "steady").succeeded();
    host.stop().in_order();
}

#[test]
fn a_file_that_is_too_large_is_not_even_read() {
    let project = project("max_size = \"1KiB\"");
    project.write("plugins/large.wasm", vec![0; 1025]);
    let host = project.serve(&[]);
    let error = host.plugin_from(0, "plugin.rejected", "large.wasm");
    assert!(error.text("error").contains("max_size"), "{error}");
    host.record("steady").succeeded();
    host.stop().in_order();
}

#[test]
fn components_nested_deeply_harm_nobody() {
    let project = project("compile_timeout = \"20s\"\ncompile_memory = \"512MiB\"");
    project.write("plugins/nested.wasm", nested(20_000));
    let host = project.serve(&[]);
    host.plugin_from(0, "plugin.rejected", "nested.wasm");
    host.record("steady").succeeded();
    host.stop().in_order();
}

#[test]
fn a_host_that_stops_leaves_no_child_behind() {
    let (_project, host, child) = compiling();
    host.stop().in_order();
    is_gone(child);
}

#[test]
fn a_host_that_is_killed_leaves_no_child_behind() {
    let (_project, host, child) = compiling();
    host.signal(Signal::KILL);
    is_gone(child);
}

#[test]
fn a_child_that_is_killed_is_told_of_and_the_host_goes_on() {
    let (_project, host, child) = compiling();
    let mark = host.mark();
    let child = rustix::process::Pid::from_raw(i32::try_from(child).unwrap()).unwrap();
    rustix::process::kill_process(child, Signal::KILL).unwrap();
    let rejected = host.plugin_from(mark, "plugin.rejected", "bomb.wasm");
    assert!(rejected.text("error").contains("killed"), "{rejected}");
    host.fresh_record(host.mark(), "steady").succeeded();
    host.stop().in_order();
}

#[test]
fn the_verb_that_compiles_is_not_for_people() {
    let project = Project::with(&[]);
    let help = project.run(&["--help"]).exits(0);
    assert!(!help.stdout.contains("compile-plugin"), "{help:#?}");
    // What is no WebAssembly is answered, not a failure of the compiler.
    let arguments = ["compile-plugin", "--memory=1073741824", "--cpu=10"];
    let answer = project.run(&arguments).exits(0);
    assert!(answer.stdout.contains("the file is empty"), "{answer:#?}");
}

#[test]
fn what_is_compiled_apart_runs_and_is_kept() {
    let project = Project::with(&["hello"]);
    let run = |cache: &str| {
        let arguments = ["run", "plugins/hello.wasm", "--json", "--cache", cache];
        let ended = project.run(&arguments).exits(0);
        // Neither that there is no child, nor that what was kept is of no use.
        assert!(ended.stderr.is_empty(), "{}", ended.stderr);
    };
    run("none");
    run("code");
    let kept = fs::read_dir(project.path("code")).unwrap().count();
    assert_eq!(kept, 3, "the code, its sum, and what the plugin imports");
    run("code");
}
