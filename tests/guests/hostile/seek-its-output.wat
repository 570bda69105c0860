;; Goes back in its output.
;; outcome: succeeded
(module
  (import "wasi_snapshot_preview1" "fd_seek"
    (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.eqz (call $fd_seek (i32.const 1) (i64.const -1) (i32.const 1) (i32.const 8)))
      (then (unreachable)))))
