;; Waits for a hundred million things in one call.
;; outcome: trapped|failed
(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 100000000) (i32.const 8)) (then (unreachable)))))
