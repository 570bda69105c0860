;; Asks for the names of a thousand directories that it was not given.
;; outcome: succeeded
(module
  (import "wasi_snapshot_preview1" "fd_prestat_get"
    (func $fd_prestat_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $fd i32)
    (loop $more
      (if (i32.eqz (call $fd_prestat_get (local.get $fd) (i32.const 0)))
        (then (unreachable)))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $fd) (i32.const 1000))))))
