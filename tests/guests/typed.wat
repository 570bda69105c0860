;; A job with the typed interface, which does what the first letter of its parameters (a JSON
;; string) says; see the table in `run`.
;;
;; How values lie in memory, by the canonical ABI (all offsets in bytes):
;;
;;   run-context, 112 bytes, passed as a pointer, as it has more than 16 flat values:
;;     0 job-id (address, length), 8 run-id, 16 attempt, 20 max-attempts, 24 cause,
;;     32 scheduled-at (8 seconds, 4 nanoseconds, 4 unused), 48 started-at, 64 deadline,
;;     80 last-success (discriminant, and at 88 the instant), 104 params
;;   result<option<output>, failure>, 32 bytes, returned as a pointer:
;;     0 discriminant
;;     ok:  8 discriminant of the option, 12 of the output, 16 address and length
;;     err: 8 message (address, length), 16 discriminant of retry, 24 milliseconds
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

  (core module $job
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 4096))
    (data (i32.const 64) "{\"struck\": [1, 2]}")
    (data (i32.const 128) "plain words")
    (data (i32.const 192) "\00\01\fe\ff")
    (data (i32.const 256) "{\"struck\": ")
    (data (i32.const 320) "the bell rope is missing")

    ;; Gives out memory and takes none back: the instance lives for one run.
    (func (export "cabi_realloc")
      (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
      (result i32)
      (local $at i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (global.set $free (i32.add (local.get $at) (local.get $size)))
      (block $enough
        (loop $more
          (br_if $enough
            (i32.le_u (global.get $free)
              (i32.mul (memory.size) (i32.const 65536))))
          (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
          (br $more)))
      (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
      (local.get $at))

    ;; ok(some(output)), at address 0.
    (func $return (param $kind i32) (param $address i32) (param $length i32) (result i32)
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store8 (i32.const 8) (i32.const 1))
      (i32.store8 (i32.const 12) (local.get $kind))
      (i32.store (i32.const 16) (local.get $address))
      (i32.store (i32.const 20) (local.get $length))
      (i32.const 0))
    ;; err(failure), at address 0.
    (func $fail (param $retry i32) (param $milliseconds i64) (result i32)
      (i32.store8 (i32.const 0) (i32.const 1))
      (i32.store (i32.const 8) (i32.const 320))
      (i32.store (i32.const 12) (i32.const 24))
      (i32.store8 (i32.const 16) (local.get $retry))
      (i64.store (i32.const 24) (local.get $milliseconds))
      (i32.const 0))
    (func $deeper (param i32) (result i32)
      (i32.add (call $deeper (local.get 0)) (i32.const 1)))

    (func (export "run") (param $context i32) (result i32)
      (local $letter i32)
      (local.set $letter
        (i32.load8_u offset=1 (i32.load offset=104 (local.get $context))))
      ;; json, text, bytes
      (if (i32.eq (local.get $letter) (i32.const 106))
        (then (return (call $return (i32.const 0) (i32.const 64) (i32.const 18)))))
      (if (i32.eq (local.get $letter) (i32.const 116))
        (then (return (call $return (i32.const 1) (i32.const 128) (i32.const 11)))))
      (if (i32.eq (local.get $letter) (i32.const 98))
        (then (return (call $return (i32.const 2) (i32.const 192) (i32.const 4)))))
      ;; malformed json
      (if (i32.eq (local.get $letter) (i32.const 109))
        (then (return (call $return (i32.const 0) (i32.const 256) (i32.const 11)))))
      ;; echo: the parameters; raw: the context as it lies in memory; id, run id
      (if (i32.eq (local.get $letter) (i32.const 101))
        (then (return (call $return (i32.const 0)
          (i32.load offset=104 (local.get $context))
          (i32.load offset=108 (local.get $context))))))
      (if (i32.eq (local.get $letter) (i32.const 114))
        (then (return (call $return (i32.const 2) (local.get $context) (i32.const 112)))))
      (if (i32.eq (local.get $letter) (i32.const 105))
        (then (return (call $return (i32.const 1)
          (i32.load offset=0 (local.get $context))
          (i32.load offset=4 (local.get $context))))))
      (if (i32.eq (local.get $letter) (i32.const 73))
        (then (return (call $return (i32.const 1)
          (i32.load offset=8 (local.get $context))
          (i32.load offset=12 (local.get $context))))))
      ;; failures: never, policy, after
      (if (i32.eq (local.get $letter) (i32.const 110))
        (then (return (call $fail (i32.const 0) (i64.const 0)))))
      (if (i32.eq (local.get $letter) (i32.const 112))
        (then (return (call $fail (i32.const 1) (i64.const 0)))))
      (if (i32.eq (local.get $letter) (i32.const 97))
        (then (return (call $fail (i32.const 2) (i64.const 90_000)))))
      ;; unreachable, spin, deep recursion
      (if (i32.eq (local.get $letter) (i32.const 117)) (then unreachable))
      (if (i32.eq (local.get $letter) (i32.const 115)) (then (loop $again (br $again))))
      (if (i32.eq (local.get $letter) (i32.const 100))
        (then (drop (call $deeper (i32.const 0)))))
      ;; grow until refused, and then say that it failed
      (if (i32.eq (local.get $letter) (i32.const 103))
        (then
          (block $refused
            (loop $more
              (br_if $refused (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
              (br $more)))
          (return (call $fail (i32.const 1) (i64.const 0)))))
      ;; wild: a text that lies outside of memory
      (if (i32.eq (local.get $letter) (i32.const 119))
        (then (return (call $return (i32.const 1) (i32.const -16) (i32.const 1024)))))
      ;; anything else: ok(none)
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store8 (i32.const 8) (i32.const 0))
      (i32.const 0)))
  (core instance $job (instantiate $job))
  (type $signature (func
    (param "context" $run-context)
    (result (result (option $output) (error $failure)))))
  (func $run (type $signature)
    (canon lift (core func $job "run")
      (memory $job "memory") (realloc (func $job "cabi_realloc"))))
  (export "run" (func $run)))
