;; Says on standard error that it has begun, asks to be woken after as many milliseconds as its
;; first argument says, says that it has ended, with a control sequence, and leaves a word behind.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get"
    (func $args_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "begun\n")
  (data (i32.const 528) "\1b[31mended\n")
  (data (i32.const 544) "left\n")
  (func $write (param $stream i32) (param $text i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (local.get $stream) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (local $at i32) (local $digit i32) (local $millis i64)
    (call $write (i32.const 2) (i32.const 512) (i32.const 6))
    (drop (call $args_get (i32.const 256) (i32.const 1024)))
    (local.set $at (i32.load (i32.const 260)))
    (block $done
      (loop $next
        (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (br_if $done (i32.gt_u (local.get $digit) (i32.const 9)))
        (local.set $millis
          (i64.add
            (i64.mul (local.get $millis) (i64.const 10))
            (i64.extend_i32_u (local.get $digit))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    ;; Where the count of what was written is, the kind of what is waited for is to be: a clock.
    (i64.store (i32.const 0) (i64.const 0))
    (i64.store (i32.const 8) (i64.const 0))
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.mul (local.get $millis) (i64.const 1_000_000)))
    (drop (call $poll_oneoff (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
    (call $write (i32.const 2) (i32.const 528) (i32.const 11))
    (call $write (i32.const 1) (i32.const 544) (i32.const 5))))
