;; A WASI 0.2 command that draws lots, looks at the clocks and waits for hours, and prints all that
;; it has seen as the bytes in which it lies in memory:
;;   0  random, at 8 insecure, at 16 the insecure seed (16 bytes)
;;  32  seconds of the time of day, at 40 its nanoseconds
;;  48  the monotonic clock, and at 56 after an hour's wait
;;  64  which of "in an hour" and "in two hours" is first: how many, at 68 the first of them
;;  72  the monotonic clock after it
;;  80  how often a timer of 5 us is not ready
(component
  (import "wasi:io/error@0.2.6" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-type))
  (import "wasi:io/poll@0.2.6" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
    (export "[method]pollable.ready" (func (param "self" (borrow $pollable)) (result bool)))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.6" (instance $streams
    (alias outer 1 $error-type (type $e'))
    (export "error" (type $e (eq $e')))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $stream-error' (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func
        (param "self" (borrow $output-stream)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output-stream))
  (import "wasi:cli/stdout@0.2.6" (instance $stdout
    (alias outer 1 $output-stream (type $os'))
    (export "output-stream" (type $os (eq $os')))
    (export "get-stdout" (func (result (own $os))))))
  (import "wasi:random/random@0.2.6" (instance $random
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:random/insecure@0.2.6" (instance $insecure
    (export "get-insecure-random-u64" (func (result u64)))))
  (import "wasi:random/insecure-seed@0.2.6" (instance $seed
    (export "insecure-seed" (func (result (tuple u64 u64))))))
  (import "wasi:clocks/wall-clock@0.2.6" (instance $wall
    (type $datetime' (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $datetime')))
    (export "now" (func (result $datetime)))))
  (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
    (alias outer 1 $pollable (type $p'))
    (export "pollable" (type $p (eq $p')))
    (type $instant' u64)
    (export "instant" (type $instant (eq $instant')))
    (type $duration' u64)
    (export "duration" (type $duration (eq $duration')))
    (export "now" (func (result $instant)))
    (export "subscribe-duration" (func (param "when" $duration) (result (own $p))))))

  (core module $libc
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 2048)))
  (core instance $libc (instantiate $libc))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
      (memory $libc "memory")))
  (core func $get-random (canon lower (func $random "get-random-u64")))
  (core func $get-insecure (canon lower (func $insecure "get-insecure-random-u64")))
  (core func $get-seed (canon lower (func $seed "insecure-seed") (memory $libc "memory")))
  (core func $day (canon lower (func $wall "now") (memory $libc "memory")))
  (core func $now (canon lower (func $clock "now")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $ready (canon lower (func $poll "[method]pollable.ready")))
  (core func $poll-all
    (canon lower (func $poll "poll") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $drop (canon resource.drop $pollable))
  (core module $main
    (import "libc" "memory" (memory 1))
    (import "host" "get-stdout" (func $get_stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "random" (func $random (result i64)))
    (import "host" "insecure" (func $insecure (result i64)))
    (import "host" "seed" (func $seed (param i32)))
    (import "host" "day" (func $day (param i32)))
    (import "host" "now" (func $now (result i64)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "ready" (func $ready (param i32) (result i32)))
    (import "host" "poll" (func $poll (param i32 i32 i32)))
    (import "host" "drop" (func $drop (param i32)))
    (func (export "run") (result i32)
      (local $timer i32)
      (i64.store (i32.const 1024) (call $random))
      (i64.store (i32.const 1032) (call $insecure))
      (call $seed (i32.const 1040))
      (call $day (i32.const 1056))
      (i64.store (i32.const 1072) (call $now))
      (local.set $timer (call $subscribe (i64.const 3_600_000_000_000)))
      (call $block (local.get $timer))
      (call $drop (local.get $timer))
      (i64.store (i32.const 1080) (call $now))
      (i32.store (i32.const 512) (call $subscribe (i64.const 3_600_000_000_000)))
      (i32.store (i32.const 516) (call $subscribe (i64.const 7_200_000_000_000)))
      (call $poll (i32.const 512) (i32.const 2) (i32.const 528))
      (i32.store (i32.const 1088) (i32.load (i32.const 532)))
      (i32.store (i32.const 1092) (i32.load (i32.load (i32.const 528))))
      (i64.store (i32.const 1096) (call $now))
      ;; Its handle takes the place of one that is gone.
      (call $drop (i32.load (i32.const 512)))
      (local.set $timer (call $subscribe (i64.const 5_000)))
      (block $done
        (loop $again
          (br_if $done (call $ready (local.get $timer)))
          (i64.store (i32.const 1104) (i64.add (i64.load (i32.const 1104)) (i64.const 1)))
          (br $again)))
      (call $write (call $get_stdout) (i32.const 1024) (i32.const 88) (i32.const 0))
      (i32.load8_u (i32.const 0))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "random" (func $get-random))
      (export "insecure" (func $get-insecure))
      (export "seed" (func $get-seed))
      (export "day" (func $day))
      (export "now" (func $now))
      (export "subscribe" (func $subscribe))
      (export "block" (func $block))
      (export "ready" (func $ready))
      (export "poll" (func $poll-all))
      (export "drop" (func $drop))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
