;; Has its environment written beyond its memory.
;; outcome: trapped|failed
(module
  (import "wasi_snapshot_preview1" "environ_get"
    (func $environ_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (call $environ_get (i32.const 65535) (i32.const 65535)) (then (unreachable)))))
