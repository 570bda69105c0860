;; Opens a file beneath each of a thousand descriptors that it was not given.
;; outcome: succeeded
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "etc/passwd")
  (func (export "_start")
    (local $fd i32)
    (loop $more
      (if (i32.eqz (call $path_open (local.get $fd) (i32.const 1) (i32.const 1024) (i32.const 10)
          (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
        (then (unreachable)))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $fd) (i32.const 1000))))))
