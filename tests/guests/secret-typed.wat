;; A job with the typed interface that asks for the secret `token` and lets it slip in the way that
;; the first letter of its parameters (a JSON string) says; see the table in `run`. Answers of the
;; host that are texts it logs.
;;
;; How values lie in memory is told in `typed` and `capabilities`; and for a secret:
;;
;;   result<own<secret>, error>: 0 discriminant; ok: 4 handle; err: 4 discriminant of the error,
;;     8 address and length of its text
(component
  (import "quarterjack:job/types@0.1.0" (instance $types
    (type $instant' (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "instant" (type $instant (eq $instant')))
    (type $milliseconds' u64)
    (export "milliseconds" (type $milliseconds (eq $milliseconds')))
    (type $cause' (enum "schedule" "manual" "api" "catch-up" "upstream"))
    (export "cause" (type $cause (eq $cause')))
    (type $run-context' (record
      (field "job-id" string)
      (field "run-id" string)
      (field "attempt" u32)
      (field "max-attempts" u32)
      (field "cause" $cause)
      (field "scheduled-at" $instant)
      (field "started-at" $instant)
      (field "deadline" $instant)
      (field "last-success" (option $instant))
      (field "params" string)))
    (export "run-context" (type (eq $run-context')))
    (type $output' (variant
      (case "json" string) (case "text" string) (case "bytes" (list u8))))
    (export "output" (type (eq $output')))
    (type $retry' (variant (case "never") (case "by-policy") (case "after" $milliseconds)))
    (export "retry" (type $retry (eq $retry')))
    (type $failure' (record (field "message" string) (field "retry" $retry)))
    (export "failure" (type (eq $failure')))))
  (alias export $types "run-context" (type $run-context'))
  (alias export $types "output" (type $output'))
  (alias export $types "failure" (type $failure'))
  (import "run-context" (type $run-context (eq $run-context')))
  (import "output" (type $output (eq $output')))
  (import "failure" (type $failure (eq $failure')))

  (import "quarterjack:job/secrets@0.1.0" (instance $secrets
    (export "secret" (type $secret (sub resource)))
    (type $error' (variant (case "denied" string) (case "unavailable" string)))
    (export "error" (type $error (eq $error')))
    (export "[method]secret.reveal" (func (param "self" (borrow $secret)) (result (list u8))))
    (export "get" (func (param "name" string) (result (result (own $secret) (error $error)))))))
  (import "quarterjack:job/state@0.1.0" (instance $state
    (type $error' (variant
      (case "denied" string) (case "quota" string) (case "conflict") (case "unavailable" string)))
    (export "error" (type $error (eq $error')))
    (export "set" (func (param "key" string) (param "value" (list u8))
      (result (result (error $error)))))))
  (import "quarterjack:job/log@0.1.0" (instance $log
    (type $level' (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "message" string)
      (param "fields" (list (tuple string string)))))))
  (import "quarterjack:job/control@0.1.0" (instance $control
    (export "progress" (func
      (param "done" u64) (param "total" (option u64)) (param "note" string)))))

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

  (core func $get (canon lower (func $secrets "get") (memory $bytes) (realloc $realloc)))
  (core func $reveal (canon lower (func $secrets "[method]secret.reveal")
    (memory $bytes) (realloc $realloc)))
  (core func $set (canon lower (func $state "set") (memory $bytes) (realloc $realloc)))
  (core func $log (canon lower (func $log "log") (memory $bytes)))
  (core func $progress (canon lower (func $control "progress") (memory $bytes)))

  (core module $job
    (import "host" "memory" (memory 1))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "reveal" (func $reveal (param i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32)))
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    (import "host" "progress" (func $progress (param i64 i32 i64 i32 i32)))

    (data (i32.const 1024) "token")
    (data (i32.const 1032) "key")
    (data (i32.const 1040) "{\"token\": \"")
    (data (i32.const 1056) "\"}")

    ;; ok(some(output)), at address 0.
    (func $return (param $kind i32) (param $address i32) (param $length i32) (result i32)
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store8 (i32.const 8) (i32.const 1))
      (i32.store8 (i32.const 12) (local.get $kind))
      (i32.store (i32.const 16) (local.get $address))
      (i32.store (i32.const 20) (local.get $length))
      (i32.const 0))
    ;; Logs the text of an error at 64, if there is one.
    (func $say_error
      (if (i32.load8_u (i32.const 64))
        (then (call $log (i32.const 3)
          (i32.load (i32.const 72)) (i32.load (i32.const 76)) (i32.const 0) (i32.const 0)))))
    (func $is (param $letter i32) (param $wanted i32) (result i32)
      (i32.eq (local.get $letter) (local.get $wanted)))

    (func (export "run") (param $context i32) (result i32)
      (local $letter i32) (local $value i32) (local $length i32)
      (local.set $letter
        (i32.load8_u offset=1 (i32.load offset=104 (local.get $context))))
      ;; ok(none), at 0, unless something else is said.
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store8 (i32.const 8) (i32.const 0))
      (call $get (i32.const 1024) (i32.const 5) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (call $say_error) (return (i32.const 0))))
      (call $reveal (i32.load (i32.const 68)) (i32.const 64))
      (local.set $value (i32.load (i32.const 64)))
      (local.set $length (i32.load (i32.const 68)))
      (i32.store8 (i32.const 64) (i32.const 0))

      ;; j: returns JSON with it; t: returns it as text; b: as bytes.
      (if (call $is (local.get $letter) (i32.const 106))
        (then
          (memory.copy (i32.const 2048) (i32.const 1040) (i32.const 11))
          (memory.copy (i32.const 2059) (local.get $value) (local.get $length))
          (memory.copy (i32.add (i32.const 2059) (local.get $length))
            (i32.const 1056) (i32.const 2))
          (return (call $return (i32.const 0) (i32.const 2048)
            (i32.add (local.get $length) (i32.const 13))))))
      (if (call $is (local.get $letter) (i32.const 116))
        (then (return (call $return (i32.const 1) (local.get $value) (local.get $length)))))
      (if (call $is (local.get $letter) (i32.const 98))
        (then (return (call $return (i32.const 2) (local.get $value) (local.get $length)))))
      ;; f: fails with it.
      (if (call $is (local.get $letter) (i32.const 102))
        (then
          (i32.store8 (i32.const 0) (i32.const 1))
          (i32.store (i32.const 8) (local.get $value))
          (i32.store (i32.const 12) (local.get $length))
          (i32.store8 (i32.const 16) (i32.const 1))
          (return (i32.const 0))))
      ;; l: logs it, and as the value of a field.
      (if (call $is (local.get $letter) (i32.const 108))
        (then
          (i32.store (i32.const 128) (i32.const 1024))
          (i32.store (i32.const 132) (i32.const 5))
          (i32.store (i32.const 136) (local.get $value))
          (i32.store (i32.const 140) (local.get $length))
          (call $log (i32.const 2) (local.get $value) (local.get $length)
            (i32.const 128) (i32.const 1))))
      ;; p: tells it as what it is doing.
      (if (call $is (local.get $letter) (i32.const 112))
        (then (call $progress (i64.const 1) (i32.const 1) (i64.const 3)
          (local.get $value) (local.get $length))))
      ;; k: takes it for a key of the state; v: for a value.
      (if (call $is (local.get $letter) (i32.const 107))
        (then (call $set (local.get $value) (local.get $length)
          (i32.const 1032) (i32.const 3) (i32.const 64))))
      (if (call $is (local.get $letter) (i32.const 118))
        (then (call $set (i32.const 1032) (i32.const 3)
          (local.get $value) (local.get $length) (i32.const 64))))
      ;; d: asks for a secret of that name.
      (if (call $is (local.get $letter) (i32.const 100))
        (then (call $get (local.get $value) (local.get $length) (i32.const 64))))
      (call $say_error)
      (i32.const 0)))
  (core instance $job (instantiate $job
    (with "host" (instance
      (export "memory" (memory $bytes))
      (export "get" (func $get))
      (export "reveal" (func $reveal))
      (export "set" (func $set))
      (export "log" (func $log))
      (export "progress" (func $progress))))))
  (type $signature (func
    (param "context" $run-context)
    (result (result (option $output) (error $failure)))))
  (func $run (type $signature)
    (canon lift (core func $job "run") (memory $bytes) (realloc $realloc)))
  (export "run" (func $run)))
