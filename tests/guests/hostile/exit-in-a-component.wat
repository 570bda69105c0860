;; Exits from within.
;; outcome: failed
;; says: exit code 1
(component
  (import "wasi:cli/exit@0.2.6" (instance $exit
    (export "exit" (func (param "status" (result))))))
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
  (core func $exit (canon lower (func $exit "exit")))
  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "exit" (func $exit (param i32)))
    (func (export "run") (result i32)
      (call $exit (i32.const 1))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "memory" (memory $bytes))
      (export "exit" (func $exit))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
