;; A WASI 0.2 command that keeps two numbers of one byte in its state, and adds one to both. It
;; fails where it does not find them equal: then one of two has landed without the other.
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
    ;; Gives out memory and takes none back: the instance lives for one run.
    (func (export "realloc")
      (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
      (result i32)
      (local $at i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (global.set $free (i32.add (local.get $at) (local.get $size)))
      (local.get $at)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $bytes))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $get (canon lower (func $state "get") (memory $bytes) (realloc $realloc)))
  (core func $set (canon lower (func $state "set") (memory $bytes) (realloc $realloc)))
  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32)))
    (data (i32.const 1024) "ab")
    ;; The number at a key of one letter, 0 where there is none.
    (func $number (param $key i32) (result i32)
      (call $get (local.get $key) (i32.const 1) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (if (result i32) (i32.load8_u (i32.const 4))
        (then (i32.load8_u (i32.load (i32.const 8))))
        (else (i32.const 0))))
    (func $keep (param $key i32)
      (call $set (local.get $key) (i32.const 1) (i32.const 2048) (i32.const 1) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable)))
    (func (export "run") (result i32)
      (local $a i32)
      (local.set $a (call $number (i32.const 1024)))
      (if (i32.ne (local.get $a) (call $number (i32.const 1025))) (then (return (i32.const 1))))
      (i32.store8 (i32.const 2048) (i32.add (local.get $a) (i32.const 1)))
      (call $keep (i32.const 1024))
      (call $keep (i32.const 1025))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "memory" (memory $bytes))
      (export "get" (func $get))
      (export "set" (func $set))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
