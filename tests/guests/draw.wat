;; Draws lots and looks at the clocks, sleeps for an hour, and prints all that it has seen as the
;; bytes in which it lies in memory:
;;   0  16 random bytes
;;  16  the time of day, and at 24 the monotonic clock
;;  32  the monotonic clock after an hour's sleep
;;  40  how many looks it takes until 10 us have passed
;;  48  how much of "standard input or an hour" has happened
;;  56  the monotonic clock at the end
(module
  (import "wasi_snapshot_preview1" "random_get"
    (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $check (param $error i32) (if (local.get $error) (then unreachable)))
  (func $look (param $clock i32) (param $to i32)
    (call $check (call $clock_time_get (local.get $clock) (i64.const 1) (local.get $to))))
  (func (export "_start")
    (local $start i64)
    (call $check (call $random_get (i32.const 1024) (i32.const 16)))
    (call $look (i32.const 0) (i32.const 1040))
    (call $look (i32.const 1) (i32.const 1048))
    ;; A subscription to the monotonic clock, in an hour.
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3_600_000_000_000))
    (call $check
      (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512)))
    (call $look (i32.const 1) (i32.const 1056))
    (local.set $start (i64.load (i32.const 1056)))
    (loop $again
      (i64.store (i32.const 1064) (i64.add (i64.load (i32.const 1064)) (i64.const 1)))
      (call $look (i32.const 1) (i32.const 512))
      (br_if $again
        (i64.lt_u
          (i64.sub (i64.load (i32.const 512)) (local.get $start))
          (i64.const 10_000))))
    ;; And one to reading standard input.
    (i32.store8 (i32.const 56) (i32.const 1))
    (call $check
      (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 2) (i32.const 1072)))
    (call $look (i32.const 1) (i32.const 1080))
    (i32.store (i32.const 512) (i32.const 1024))
    (i32.store (i32.const 516) (i32.const 64))
    (call $check
      (call $fd_write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))))
