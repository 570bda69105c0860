;; Says one line on stdout and one on stderr, and returns.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "hello from the tower\n")
  (data (i32.const 96) "one line of log\n")
  (func $print (param $fd i32) (param $text i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $length))
    (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))
      (then unreachable)))
  (func (export "_start")
    (call $print (i32.const 1) (i32.const 64) (i32.const 21))
    (call $print (i32.const 2) (i32.const 96) (i32.const 16))))
