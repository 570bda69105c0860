;; Accepts connections on what is no socket.
;; outcome: succeeded|failed|trapped
(module
  (import "wasi_snapshot_preview1" "sock_accept"
    (func $sock_accept (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $fd i32)
    (loop $more
      (if (i32.eqz (call $sock_accept (local.get $fd) (i32.const 0) (i32.const 0)))
        (then (unreachable)))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $fd) (i32.const 64))))))
