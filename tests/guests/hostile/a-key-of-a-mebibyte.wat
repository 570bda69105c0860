;; Gives its state a key as long as its memory.
;; outcome: failed
;; says: exit code 1
;; grants: {"state": true}
(component
  (import "quarterjack:job/state@0.1.0" (instance $state
    (type $error' (variant
      (case "denied" string) (case "quota" string) (case "conflict") (case "unavailable" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string)
      (result (result (option (list u8)) (error $error)))))
    (export "set" (func (param "key" string) (param "value" (list u8))
      (result (result (error $error)))))))
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
  (core func $set (canon lower (func $state "set") (memory $bytes) (realloc $realloc)))
  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (memory.fill (i32.const 8192) (i32.const 0x61) (i32.const 50000))
      (call $set (i32.const 8192) (i32.const 50000) (i32.const 0) (i32.const 1) (i32.const 16))
      (i32.load8_u (i32.const 16))))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "memory" (memory $bytes))
      (export "set" (func $set))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
