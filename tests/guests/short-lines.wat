;; Prints a million lines with nothing in them on standard error.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $left i32)
    (memory.fill (i32.const 1024) (i32.const 10) (i32.const 20000))
    (i32.store (i32.const 0) (i32.const 1024))
    (local.set $left (i32.const 50))
    (loop $more
      (i32.store (i32.const 4) (i32.const 20000))
      (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))))
