;; Waits for nothing at all.
;; outcome: succeeded
(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.eqz (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8))) (then (unreachable)))))
