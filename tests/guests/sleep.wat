;; Says good night, and asks to be woken in an hour: blocked in the host, computing nothing.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "good night\n")
  (func (export "_start")
    (i32.store (i32.const 200) (i32.const 512))
    (i32.store (i32.const 204) (i32.const 11))
    (drop (call $fd_write (i32.const 1) (i32.const 200) (i32.const 1) (i32.const 208)))
    ;; A subscription of 48 bytes: user data, kind 0 (a clock), clock 1 (monotonic), then the
    ;; time in nanoseconds, its precision, and the flag for a relative time.
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3_600_000_000_000))
    (drop (call $poll_oneoff (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))
