;; Exits before its entry is called.
;; outcome: failed
;; says: exit code 3
(module
  (import "wasi_snapshot_preview1" "proc_exit"
    (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func $first (call $proc_exit (i32.const 3)))
  (start $first)
  (func (export "_start")
    (unreachable)))
