;; Writes 100 MiB, in pieces of 64 KiB, to the stream that its first argument names: 1 or 2.
(module
  (import "wasi_snapshot_preview1" "args_get"
    (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (local $stream i32) (local $pieces i32)
    (drop (call $args_get (i32.const 64) (i32.const 1024)))
    (local.set $stream (i32.sub (i32.load8_u (i32.load (i32.const 68))) (i32.const 48)))
    (memory.fill (i32.const 65536) (i32.const 46) (i32.const 65536))
    (local.set $pieces (i32.const 1600))
    (loop $next
      (i32.store (i32.const 0) (i32.const 65536))
      (i32.store (i32.const 4) (i32.const 65536))
      (block $written
        (loop $rest
          (if (call $fd_write (local.get $stream) (i32.const 0) (i32.const 1) (i32.const 8))
            (then unreachable))
          ;; A host may take less than all at once.
          (i32.store (i32.const 0)
            (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 8))))
          (i32.store (i32.const 4)
            (i32.sub (i32.load (i32.const 4)) (i32.load (i32.const 8))))
          (br_if $rest (i32.load (i32.const 4)))))
      (local.set $pieces (i32.sub (local.get $pieces) (i32.const 1)))
      (br_if $next (local.get $pieces)))))
