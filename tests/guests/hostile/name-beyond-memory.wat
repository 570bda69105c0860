;; Opens a file whose name lies beyond its memory.
;; outcome: succeeded|failed|trapped
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.eqz (call $path_open (i32.const 3) (i32.const 0) (i32.const 65530) (i32.const 1000)
        (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
      (then (unreachable)))))
