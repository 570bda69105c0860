;; A WASI 0.2 command that asks its host for what the first letter of its first argument says;
;; see the table in `run`. What it learns it logs.
;;
;; How values lie in memory, by the canonical ABI (all offsets in bytes):
;;
;;   result<option<list<u8>>, error>: 0 discriminant; ok: 4 discriminant of the option, 8 address
;;     and length; err: 4 discriminant of the error, 8 address and length of its text
;;   result<_, error>, result<u64, …>: the same without the middle, or with the number at 8
(component
  (import "wasi:cli/environment@0.2.6" (instance $environment
    (export "get-arguments" (func (result (list string))))))
  ;; Not called: whoever imports files has its directories opened for it.
  (import "wasi:filesystem/types@0.2.6" (instance
    (export "descriptor" (type (sub resource)))))
  (import "quarterjack:job/state@0.1.0" (instance $state
    (type $error' (variant
      (case "denied" string) (case "quota" string) (case "conflict") (case "unavailable" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string)
      (result (result (option (list u8)) (error $error)))))
    (export "set" (func (param "key" string) (param "value" (list u8))
      (result (result (error $error)))))
    (export "checkpoint" (func (result (result (error $error)))))))
  (import "quarterjack:job/secrets@0.1.0" (instance $secrets
    (type $error' (variant (case "denied" string) (case "unavailable" string)))
    (export "error" (type $error (eq $error')))
    (export "secret" (type $secret (sub resource)))
    (export "[method]secret.reveal" (func (param "self" (borrow $secret)) (result (list u8))))
    (export "get" (func (param "name" string) (result (result (own $secret) (error $error)))))))
  (import "quarterjack:job/log@0.1.0" (instance $log
    (type $level' (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "message" string)
      (param "fields" (list (tuple string string)))))))
  (import "quarterjack:job/control@0.1.0" (instance $control
    (export "cancelled" (func (result bool)))
    (export "progress" (func
      (param "done" u64) (param "total" (option u64)) (param "note" string)))))
  (import "wasi:config/store@0.2.0-rc.1" (instance $config
    (type $error' (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
  (import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $level' (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "context" string)
      (param "message" string)))))
  (import "wasi:keyvalue/store@0.2.0-draft" (instance $keyvalue
    (export "bucket" (type $bucket (sub resource)))
    (type $error' (variant (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $error (eq $error')))
    (export "open" (func (param "identifier" string)
      (result (result (own $bucket) (error $error)))))
    (export "[method]bucket.get" (func (param "self" (borrow $bucket)) (param "key" string)
      (result (result (option (list u8)) (error $error)))))))
  (alias export $keyvalue "bucket" (type $bucket'))
  (alias export $keyvalue "error" (type $keyvalue-error'))
  (import "wasi:keyvalue/atomics@0.2.0-draft" (instance $atomics
    (alias outer 1 $bucket' (type $outer-bucket))
    (alias outer 1 $keyvalue-error' (type $outer-error))
    (export "bucket" (type $bucket (eq $outer-bucket)))
    (export "error" (type $error (eq $outer-error)))
    (export "increment" (func
      (param "bucket" (borrow $bucket)) (param "key" string) (param "delta" u64)
      (result (result u64 (error $error)))))))

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

  (core func $arguments (canon lower (func $environment "get-arguments")
    (memory $bytes) (realloc $realloc)))
  (core func $get (canon lower (func $state "get") (memory $bytes) (realloc $realloc)))
  (core func $set (canon lower (func $state "set") (memory $bytes) (realloc $realloc)))
  (core func $secret (canon lower (func $secrets "get") (memory $bytes) (realloc $realloc)))
  (core func $reveal (canon lower (func $secrets "[method]secret.reveal")
    (memory $bytes) (realloc $realloc)))
  (core func $checkpoint (canon lower (func $state "checkpoint")
    (memory $bytes) (realloc $realloc)))
  (core func $log (canon lower (func $log "log") (memory $bytes)))
  (core func $cancelled (canon lower (func $control "cancelled")))
  (core func $progress (canon lower (func $control "progress") (memory $bytes)))
  (core func $setting (canon lower (func $config "get") (memory $bytes) (realloc $realloc)))
  (core func $logging (canon lower (func $logging "log") (memory $bytes)))
  (core func $open (canon lower (func $keyvalue "open") (memory $bytes) (realloc $realloc)))
  (core func $value (canon lower (func $keyvalue "[method]bucket.get")
    (memory $bytes) (realloc $realloc)))
  (core func $increment (canon lower (func $atomics "increment")
    (memory $bytes) (realloc $realloc)))

  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "arguments" (func $arguments (param i32)))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32)))
    (import "host" "secret" (func $secret (param i32 i32 i32)))
    (import "host" "reveal" (func $reveal (param i32 i32)))
    (import "host" "checkpoint" (func $checkpoint (param i32)))
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    (import "host" "cancelled" (func $cancelled (result i32)))
    (import "host" "progress" (func $progress (param i64 i32 i64 i32 i32)))
    (import "host" "setting" (func $setting (param i32 i32 i32)))
    (import "host" "logging" (func $logging (param i32 i32 i32 i32 i32)))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "value" (func $value (param i32 i32 i32 i32)))
    (import "host" "increment" (func $increment (param i32 i32 i32 i64 i32)))

    (data (i32.const 1024) "n")
    (data (i32.const 1032) "n=?")
    (data (i32.const 1040) "greeting")
    (data (i32.const 1056) "hits")
    (data (i32.const 1064) "asked to end")
    (data (i32.const 1080) "reading")
    (data (i32.const 1200) "api-key")
    (data (i32.const 1096) "k?")
    (data (i32.const 1104) "conflict")
    (data (i32.const 1120) "nothing")
    (data (i32.const 1136) "the bell")
    (data (i32.const 1152) "rope")
    (data (i32.const 1160) "two metres")
    ;; A list of one field.
    (data (i32.const 1176) "\80\04\00\00\04\00\00\00\88\04\00\00\0a\00\00\00")

    ;; Logs a text at a level.
    (func $say (param $level i32) (param $text i32) (param $length i32)
      (call $log (local.get $level) (local.get $text) (local.get $length)
        (i32.const 0) (i32.const 0)))

    ;; Logs what an answer at 0 says, be it a value or an error.
    (func $say_answer
      (if (i32.load8_u (i32.const 0))
        (then
          (if (i32.eq (i32.load8_u (i32.const 4)) (i32.const 2))
            (then (call $say (i32.const 4) (i32.const 1104) (i32.const 8)))
            (else (call $say (i32.const 4)
              (i32.load (i32.const 8)) (i32.load (i32.const 12))))))
        (else
          (if (i32.load8_u (i32.const 4))
            (then (call $say (i32.const 2)
              (i32.load (i32.const 8)) (i32.load (i32.const 12))))
            (else (call $say (i32.const 2) (i32.const 1120) (i32.const 7)))))))

    ;; Counts one up in the state, logs the count, and gives its digit.
    (func $count (result i32)
      (local $n i32)
      (call $get (i32.const 1024) (i32.const 1) (i32.const 0))
      (local.set $n (i32.const 48))
      (if (i32.and (i32.eqz (i32.load8_u (i32.const 0))) (i32.load8_u (i32.const 4)))
        (then (local.set $n (i32.load8_u (i32.load (i32.const 8))))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (i32.store8 (i32.const 1034) (local.get $n))
      (call $set (i32.const 1024) (i32.const 1) (i32.const 1034) (i32.const 1) (i32.const 0))
      (call $say (i32.const 2) (i32.const 1032) (i32.const 3))
      (local.get $n))

    (func $is (param $letter i32) (param $wanted i32) (result i32)
      (i32.eq (local.get $letter) (local.get $wanted)))

    (func (export "run") (result i32)
      (local $letter i32) (local $i i32)
      ;; The first letter of the second argument: the first one is the program's name.
      (call $arguments (i32.const 0))
      (local.set $letter
        (i32.load8_u (i32.load (i32.add (i32.load (i32.const 0)) (i32.const 8)))))

      ;; c: counts, and fails with the third.
      (if (call $is (local.get $letter) (i32.const 99))
        (then (return (i32.eq (call $count) (i32.const 51)))))
      ;; k: counts, lands it, and traps.
      (if (call $is (local.get $letter) (i32.const 107))
        (then
          (drop (call $count))
          (call $checkpoint (i32.const 0))
          (unreachable)))
      ;; g: gets from the state, and logs the answer.
      (if (call $is (local.get $letter) (i32.const 103))
        (then
          (call $get (i32.const 1024) (i32.const 1) (i32.const 0))
          (call $say_answer)))
      ;; q: gives 10 keys a value of 100 bytes each; logs the first refusal.
      (if (call $is (local.get $letter) (i32.const 113))
        (then
          (loop $more
            (i32.store8 (i32.const 1097) (i32.add (i32.const 48) (local.get $i)))
            (call $set (i32.const 1096) (i32.const 2) (i32.const 2048) (i32.const 100)
              (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then (call $say_answer) (return (i32.const 0))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 10))))))
      ;; p: tells how far it has come, three times.
      (if (call $is (local.get $letter) (i32.const 112))
        (then
          (loop $more
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (call $progress (i64.extend_i32_u (local.get $i)) (i32.const 1) (i64.const 3)
              (i32.const 1080) (i32.const 7))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 3))))))
      ;; w: computes until it is asked to end, and ends.
      (if (call $is (local.get $letter) (i32.const 119))
        (then
          (loop $more (br_if $more (i32.eqz (call $cancelled))))
          (call $say (i32.const 2) (i32.const 1064) (i32.const 12))))
      ;; f: the same, and fails.
      (if (call $is (local.get $letter) (i32.const 102))
        (then
          (loop $more (br_if $more (i32.eqz (call $cancelled))))
          (return (i32.const 1))))
      ;; i: computes, and never asks.
      (if (call $is (local.get $letter) (i32.const 105))
        (then (loop $more (br $more))))
      ;; s: logs the setting `greeting`.
      (if (call $is (local.get $letter) (i32.const 115))
        (then
          (call $setting (i32.const 1040) (i32.const 8) (i32.const 0))
          (call $say_answer)))
      ;; v: adds 5 to `hits` in the bucket, and logs it.
      (if (call $is (local.get $letter) (i32.const 118))
        (then
          (call $open (i32.const 0) (i32.const 0) (i32.const 0))
          (if (i32.load8_u (i32.const 0)) (then (return (i32.const 1))))
          (local.set $i (i32.load (i32.const 4)))
          (call $increment (local.get $i) (i32.const 1056) (i32.const 4) (i64.const 5)
            (i32.const 0))
          (call $value (local.get $i) (i32.const 1056) (i32.const 4) (i32.const 0))
          (call $say_answer)))
      ;; x: has the secret `api-key` revealed, logs it, tells it as progress, and keeps it.
      (if (call $is (local.get $letter) (i32.const 120))
        (then
          (call $secret (i32.const 1200) (i32.const 7) (i32.const 0))
          (if (i32.load8_u (i32.const 0)) (then (call $say_answer) (return (i32.const 1))))
          (call $reveal (i32.load (i32.const 4)) (i32.const 16))
          (call $say (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20)))
          (call $progress (i64.const 1) (i32.const 0) (i64.const 0)
            (i32.load (i32.const 16)) (i32.load (i32.const 20)))
          (call $set (i32.const 1024) (i32.const 1)
            (i32.load (i32.const 16)) (i32.load (i32.const 20)) (i32.const 0))
          (call $say_answer)))
      ;; l: logs with a field, at each level, and in the portable way.
      (if (call $is (local.get $letter) (i32.const 108))
        (then
          (loop $more
            (call $log (local.get $i) (i32.const 1136) (i32.const 8)
              (i32.const 1176) (i32.const 1))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 5))))
          (call $logging (i32.const 5) (i32.const 1152) (i32.const 4)
            (i32.const 1136) (i32.const 8))))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "memory" (memory $bytes))
      (export "arguments" (func $arguments))
      (export "get" (func $get))
      (export "set" (func $set))
      (export "secret" (func $secret))
      (export "reveal" (func $reveal))
      (export "checkpoint" (func $checkpoint))
      (export "log" (func $log))
      (export "cancelled" (func $cancelled))
      (export "progress" (func $progress))
      (export "setting" (func $setting))
      (export "logging" (func $logging))
      (export "open" (func $open))
      (export "value" (func $value))
      (export "increment" (func $increment))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
