;; Has its arguments written beyond its memory.
;; outcome: trapped|failed
(module
  (import "wasi_snapshot_preview1" "args_get"
    (func $args_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (call $args_get (i32.const -8) (i32.const -4)) (then (unreachable)))))
