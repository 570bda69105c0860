;; Receives from what is no socket.
;; outcome: succeeded|failed|trapped
(module
  (import "wasi_snapshot_preview1" "sock_recv"
    (func $sock_recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.eqz (call $sock_recv (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8) (i32.const 12)))
      (then (unreachable)))))
