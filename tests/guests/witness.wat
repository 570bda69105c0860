;; A WASI 0.1 command that appends its environment to /data/witness: one line of strings, each
;; ended by a zero byte, written in one piece.
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "witness")
  (func $must (param $errno i32)
    (if (local.get $errno) (then unreachable)))
  (func (export "_start")
    ;; The count of the strings at 16, their bytes at 20; the strings from 4096 on.
    (call $must (call $sizes (i32.const 16) (i32.const 20)))
    (call $must (call $environ (i32.const 1024) (i32.const 4096)))
    (i32.store8 (i32.add (i32.const 4096) (i32.load (i32.const 20))) (i32.const 10))
    ;; Made if it is not there (1), to be written (64), at its end (1).
    (call $must (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 7)
      (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 1) (i32.const 24)))
    (i32.store (i32.const 32) (i32.const 4096))
    (i32.store (i32.const 36) (i32.add (i32.load (i32.const 20)) (i32.const 1)))
    (call $must (call $write (i32.load (i32.const 24)) (i32.const 32) (i32.const 1) (i32.const 40)))
    (if (i32.ne (i32.load (i32.const 40)) (i32.load (i32.const 36))) (then unreachable))))
