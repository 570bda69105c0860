;; Gives way without end.
;; outcome: timed_out
;; says: limit: timeout 300 ms
;; limits: {"timeout": "300ms", "fuel": "unlimited"}
(module
  (import "wasi_snapshot_preview1" "sched_yield"
    (func $sched_yield (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $more (drop (call $sched_yield)) (br $more))))
