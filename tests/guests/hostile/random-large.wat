;; Asks for more random bytes in one call than the host gives.
;; outcome: failed|trapped
(module
  (import "wasi_snapshot_preview1" "random_get"
    (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 512)
  (func (export "_start")
    (if (call $random_get (i32.const 0) (i32.const 33554432)) (then (unreachable)))))
