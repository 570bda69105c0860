;; Opens buckets without end and closes none.
;; outcome: failed
;; says: limit: 256 open files
;; grants: {"state": true}
(component
  (import "wasi:keyvalue/store@0.2.0-draft" (instance $keyvalue
    (export "bucket" (type $bucket (sub resource)))
    (type $error' (variant (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $error (eq $error')))
    (export "open" (func (param "identifier" string)
      (result (result (own $bucket) (error $error)))))))
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
  (core func $open (canon lower (func $keyvalue "open") (memory $bytes) (realloc $realloc)))
  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (func (export "run") (result i32)
      (loop $again
        (call $open (i32.const 0) (i32.const 0) (i32.const 16))
        (br $again))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "memory" (memory $bytes))
      (export "open" (func $open))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
