;; Tells of progress without end.
;; outcome: timed_out
;; limits: {"timeout": "300ms", "fuel": "unlimited"}
(component
  (import "quarterjack:job/control@0.1.0" (instance $control
    (export "progress" (func
      (param "done" u64) (param "total" (option u64)) (param "note" string)))))
  (core module $memory
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 8192))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
      (global.set $free (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $bytes))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $progress (canon lower (func $control "progress") (memory $bytes)))
  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "progress" (func $progress (param i64 i32 i64 i32 i32)))
    (func (export "run") (result i32)
      (local $n i64)
      (loop $again
        (local.set $n (i64.add (local.get $n) (i64.const 1)))
        (call $progress (local.get $n) (i32.const 1) (i64.const 0) (i32.const 1024) (i32.const 50000))
        (br $again))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "memory" (memory $bytes))
      (export "progress" (func $progress))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
