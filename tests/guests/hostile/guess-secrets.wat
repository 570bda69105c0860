;; Asks for one secret after the other that it is not granted.
;; outcome: succeeded
;; denied: 200
(component
  (import "quarterjack:job/secrets@0.1.0" (instance $secrets
    (type $error' (variant (case "denied" string) (case "unavailable" string)))
    (export "error" (type $error (eq $error')))
    (export "secret" (type $secret (sub resource)))
    (export "get" (func (param "name" string) (result (result (own $secret) (error $error)))))))
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
  (core func $get (canon lower (func $secrets "get") (memory $bytes) (realloc $realloc)))
  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (func (export "run") (result i32)
      (local $n i32)
      (loop $again
        (i32.store8 (i32.const 2048) (i32.add (i32.const 97) (i32.rem_u (local.get $n) (i32.const 26))))
        (call $get (i32.const 2048) (i32.const 1) (i32.const 16))
        (if (i32.eqz (i32.load8_u (i32.const 16))) (then (unreachable)))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $n) (i32.const 200))))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "memory" (memory $bytes))
      (export "get" (func $get))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
