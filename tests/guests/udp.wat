;; A WASI 0.2 command that sends "ping" to the ports of this machine that its arguments name, one
;; after the other, waits for what comes back from each and prints it; or prints that the datagram
;; was not sent, with the number of the error.
(component
  (import "wasi:io/error@0.2.6" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-type))
  (import "wasi:io/poll@0.2.6" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
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
  (import "wasi:cli/environment@0.2.6" (instance $environment
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:sockets/network@0.2.6" (instance $network
    (export "network" (type (sub resource)))
    (type $error-code' (enum
      "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
      "concurrency-conflict" "not-in-progress" "would-block" "invalid-state"
      "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable"
      "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large"
      "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"))
    (export "error-code" (type (eq $error-code')))
    (type $family' (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $family')))
    (type $v4' (tuple u8 u8 u8 u8))
    (export "ipv4-address" (type $v4 (eq $v4')))
    (type $v6' (tuple u16 u16 u16 u16 u16 u16 u16 u16))
    (export "ipv6-address" (type $v6 (eq $v6')))
    (type $ip' (variant (case "ipv4" $v4) (case "ipv6" $v6)))
    (export "ip-address" (type (eq $ip')))
    (type $at4' (record (field "port" u16) (field "address" $v4)))
    (export "ipv4-socket-address" (type $at4 (eq $at4')))
    (type $at6' (record
      (field "port" u16) (field "flow-info" u32) (field "address" $v6) (field "scope-id" u32)))
    (export "ipv6-socket-address" (type $at6 (eq $at6')))
    (type $at' (variant (case "ipv4" $at4) (case "ipv6" $at6)))
    (export "ip-socket-address" (type (eq $at')))))
  (alias export $network "network" (type $network-type))
  (alias export $network "error-code" (type $error-code))
  (alias export $network "ip-address-family" (type $family))
  (alias export $network "ip-address" (type $ip))
  (alias export $network "ip-socket-address" (type $at))
  (import "wasi:sockets/instance-network@0.2.6" (instance $instance-network
    (alias outer 1 $network-type (type $n'))
    (export "network" (type $n (eq $n')))
    (export "instance-network" (func (result (own $n))))))
  (import "wasi:sockets/udp@0.2.6" (instance $udp
    (alias outer 1 $network-type (type $n'))
    (export "network" (type $n (eq $n')))
    (alias outer 1 $error-code (type $c'))
    (export "error-code" (type $c (eq $c')))
    (alias outer 1 $at (type $at'))
    (export "ip-socket-address" (type $at'' (eq $at')))
    (alias outer 1 $pollable (type $p'))
    (export "pollable" (type $p (eq $p')))
    (type $in' (record (field "data" (list u8)) (field "remote-address" $at'')))
    (export "incoming-datagram" (type $in (eq $in')))
    (type $out' (record (field "data" (list u8)) (field "remote-address" (option $at''))))
    (export "outgoing-datagram" (type $out (eq $out')))
    (export "incoming-datagram-stream" (type $ins (sub resource)))
    (export "outgoing-datagram-stream" (type $outs (sub resource)))
    (export "udp-socket" (type $socket (sub resource)))
    (export "[method]udp-socket.start-bind"
      (func
        (param "self" (borrow $socket)) (param "network" (borrow $n))
        (param "local-address" $at'') (result (result (error $c)))))
    (export "[method]udp-socket.finish-bind"
      (func (param "self" (borrow $socket)) (result (result (error $c)))))
    (export "[method]udp-socket.stream"
      (func
        (param "self" (borrow $socket)) (param "remote-address" (option $at''))
        (result (result (tuple (own $ins) (own $outs)) (error $c)))))
    (export "[method]udp-socket.subscribe"
      (func (param "self" (borrow $socket)) (result (own $p))))
    (export "[method]incoming-datagram-stream.receive"
      (func
        (param "self" (borrow $ins)) (param "max-results" u64)
        (result (result (list $in) (error $c)))))
    (export "[method]incoming-datagram-stream.subscribe"
      (func (param "self" (borrow $ins)) (result (own $p))))
    (export "[method]outgoing-datagram-stream.check-send"
      (func (param "self" (borrow $outs)) (result (result u64 (error $c)))))
    (export "[method]outgoing-datagram-stream.send"
      (func
        (param "self" (borrow $outs)) (param "datagrams" (list $out))
        (result (result u64 (error $c)))))
    (export "[method]outgoing-datagram-stream.subscribe"
      (func (param "self" (borrow $outs)) (result (own $p))))))
  (alias export $udp "udp-socket" (type $udp-socket))
  (import "wasi:sockets/udp-create-socket@0.2.6" (instance $create
    (alias outer 1 $error-code (type $c'))
    (export "error-code" (type $c (eq $c')))
    (alias outer 1 $family (type $f'))
    (export "ip-address-family" (type $f (eq $f')))
    (alias outer 1 $udp-socket (type $t'))
    (export "udp-socket" (type $t (eq $t')))
    (export "create-udp-socket"
      (func (param "address-family" $f) (result (result (own $t) (error $c)))))))

  (core module $libc
    (memory (export "memory") 16)
    (global $free (mut i32) (i32.const 65536))
    ;; Nothing is ever given back.
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32)
      (result i32)
      (local $at i32)
      (local.set $at
        (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get $new)))
      (local.get $at))
    (data (i32.const 64) "send 000\n")
    (data (i32.const 80) "socket 000\n")
    (data (i32.const 96) "bind 000\n")
    (data (i32.const 112) "ping\n")
    ;; The datagram: its bytes, and some address of IPv4 whose port is yet to come.
    (data (i32.const 128)
      "\70\00\00\00\05\00\00\00" "\01\00\00\00" "\00\00\00\00" "\00\00\7f\00\00\01"))
  (core instance $libc (instantiate $libc))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
      (memory $libc "memory")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $get-arguments
    (canon lower (func $environment "get-arguments")
      (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $get-network
    (canon lower (func $instance-network "instance-network")))
  (core func $create
    (canon lower (func $create "create-udp-socket") (memory $libc "memory")))
  (core func $start-bind
    (canon lower (func $udp "[method]udp-socket.start-bind") (memory $libc "memory")))
  (core func $finish-bind
    (canon lower (func $udp "[method]udp-socket.finish-bind") (memory $libc "memory")))
  (core func $stream
    (canon lower (func $udp "[method]udp-socket.stream") (memory $libc "memory")))
  (core func $subscribe
    (canon lower (func $udp "[method]udp-socket.subscribe")))
  (core func $receive
    (canon lower (func $udp "[method]incoming-datagram-stream.receive")
      (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $subscribe-in
    (canon lower (func $udp "[method]incoming-datagram-stream.subscribe")))
  (core func $check-send
    (canon lower (func $udp "[method]outgoing-datagram-stream.check-send")
      (memory $libc "memory")))
  (core func $send
    (canon lower (func $udp "[method]outgoing-datagram-stream.send") (memory $libc "memory")))
  (core func $subscribe-out
    (canon lower (func $udp "[method]outgoing-datagram-stream.subscribe")))
  (core module $main
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "get-arguments" (func $get-arguments (param i32)))
    (import "host" "get-network" (func $get-network (result i32)))
    (import "host" "create" (func $create (param i32 i32)))
    (import "host" "start-bind" (func $start-bind (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "finish-bind" (func $finish-bind (param i32 i32)))
    (import "host" "stream" (func $stream (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "subscribe" (func $subscribe (param i32) (result i32)))
    (import "host" "receive" (func $receive (param i32 i64 i32)))
    (import "host" "subscribe-in" (func $subscribe-in (param i32) (result i32)))
    (import "host" "check-send" (func $check-send (param i32 i32)))
    (import "host" "send" (func $send (param i32 i32 i32 i32)))
    (import "host" "subscribe-out" (func $subscribe-out (param i32) (result i32)))
    (import "libc" "memory" (memory 1))
    (global $out (mut i32) (i32.const 0))
    ;; Writes a number below 1000 as three digits.
    (func $digits (param $at i32) (param $number i32)
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.div_u (local.get $number) (i32.const 100))))
      (i32.store8 offset=1 (local.get $at)
        (i32.add (i32.const 48)
          (i32.rem_u (i32.div_u (local.get $number) (i32.const 10)) (i32.const 10))))
      (i32.store8 offset=2 (local.get $at)
        (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10)))))
    (func $print (param $at i32) (param $length i32)
      (call $write (global.get $out) (local.get $at) (local.get $length) (i32.const 512)))
    (func $number (param $at i32) (param $left i32) (result i32)
      (local $number i32)
      (loop $next
        (if (local.get $left)
          (then
            (local.set $number
              (i32.add
                (i32.mul (local.get $number) (i32.const 10))
                (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $next))))
      (local.get $number))
    ;; Says ping to a port and prints what is said to that.
    (func $talk (param $in i32) (param $to i32) (param $port i32)
      (i32.store16 (i32.const 144) (local.get $port))
      (loop $wait
        (call $check-send (local.get $to) (i32.const 512))
        (if (i64.eqz (i64.load (i32.const 520)))
          (then
            (call $block (call $subscribe-out (local.get $to)))
            (br $wait))))
      (call $send (local.get $to) (i32.const 128) (i32.const 1) (i32.const 512))
      (if (i32.load8_u (i32.const 512))
        (then
          (call $digits (i32.const 69) (i32.load8_u (i32.const 520)))
          (call $print (i32.const 64) (i32.const 9))
          (return)))
      (loop $wait
        (call $block (call $subscribe-in (local.get $in)))
        (call $receive (local.get $in) (i64.const 1) (i32.const 512))
        (br_if $wait (i32.eqz (i32.load (i32.const 520)))))
      (call $print
        (i32.load (i32.load (i32.const 516))) (i32.load offset=4 (i32.load (i32.const 516)))))
    (func (export "run") (result i32)
      (local $strings i32) (local $left i32) (local $socket i32) (local $in i32) (local $to i32)
      (global.set $out (call $get-stdout))
      (call $get-arguments (i32.const 0))
      (local.set $strings (i32.load (i32.const 0)))
      (local.set $left (i32.load (i32.const 4)))
      (call $create (i32.const 0) (i32.const 512))
      (if (i32.load8_u (i32.const 512))
        (then
          (call $digits (i32.const 87) (i32.load8_u (i32.const 516)))
          (call $print (i32.const 80) (i32.const 11))
          (return (i32.const 1))))
      (local.set $socket (i32.load (i32.const 516)))
      (call $start-bind (local.get $socket) (call $get-network)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 512))
      (if (i32.eqz (i32.load8_u (i32.const 512)))
        (then
          (call $block (call $subscribe (local.get $socket)))
          (call $finish-bind (local.get $socket) (i32.const 512))))
      (if (i32.load8_u (i32.const 512))
        (then
          (call $digits (i32.const 101) (i32.load8_u (i32.const 513)))
          (call $print (i32.const 96) (i32.const 9))
          (return (i32.const 1))))
      (call $stream (local.get $socket)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 512))
      (if (i32.load8_u (i32.const 512)) (then (return (i32.const 1))))
      (local.set $in (i32.load (i32.const 516)))
      (local.set $to (i32.load (i32.const 520)))
      (loop $next
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (local.set $strings (i32.add (local.get $strings) (i32.const 8)))
        (if (local.get $left)
          (then
            (call $talk (local.get $in) (local.get $to)
              (call $number (i32.load (local.get $strings)) (i32.load offset=4 (local.get $strings))))
            (br $next))))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "block" (func $block))
      (export "get-arguments" (func $get-arguments))
      (export "get-network" (func $get-network))
      (export "create" (func $create))
      (export "start-bind" (func $start-bind))
      (export "finish-bind" (func $finish-bind))
      (export "stream" (func $stream))
      (export "subscribe" (func $subscribe))
      (export "receive" (func $receive))
      (export "subscribe-in" (func $subscribe-in))
      (export "check-send" (func $check-send))
      (export "send" (func $send))
      (export "subscribe-out" (func $subscribe-out))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
