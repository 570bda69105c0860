;; Takes memory, page by page, until it is refused. What it then does is its first argument:
;; `t` traps, `e` exits with 1, anything else goes on and says so.
(module
  (import "wasi_snapshot_preview1" "args_get"
    (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "went on\n")
  (func (export "_start")
    (local $choice i32)
    (drop (call $args_get (i32.const 64) (i32.const 1024)))
    (local.set $choice (i32.load8_u (i32.load (i32.const 68))))
    (block $refused
      (loop $more
        (br_if $refused (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
        (br $more)))
    (if (i32.eq (local.get $choice) (i32.const 116)) (then unreachable))
    (if (i32.eq (local.get $choice) (i32.const 101)) (then (call $proc_exit (i32.const 1))))
    (i32.store (i32.const 0) (i32.const 512))
    (i32.store (i32.const 4) (i32.const 8))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
