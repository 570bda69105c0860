;; Makes its output an exbibyte large.
;; outcome: succeeded
(module
  (import "wasi_snapshot_preview1" "fd_allocate"
    (func $fd_allocate (param i32 i64 i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.eqz (call $fd_allocate (i32.const 1) (i64.const 0) (i64.const 0x1000000000000000)))
      (then (unreachable)))))
