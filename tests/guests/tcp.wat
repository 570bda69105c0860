;; A WASI 0.2 command that looks up the host of its first argument, connects to its first IPv4
;; address at the port of its second one, says "ping" and prints all that comes back; or prints
;; which step failed, with the number of the error. With a third argument it makes sockets
;; without end instead.
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
    (export "input-stream" (type $input-stream (sub resource)))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $stream-error' (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "[method]input-stream.blocking-read"
      (func
        (param "self" (borrow $input-stream)) (param "len" u64)
        (result (result (list u8) (error $stream-error)))))
    (export "[method]output-stream.blocking-write-and-flush"
      (func
        (param "self" (borrow $output-stream)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "input-stream" (type $input-stream))
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
  (import "wasi:sockets/ip-name-lookup@0.2.6" (instance $names
    (alias outer 1 $network-type (type $n'))
    (export "network" (type $n (eq $n')))
    (alias outer 1 $error-code (type $c'))
    (export "error-code" (type $c (eq $c')))
    (alias outer 1 $ip (type $ip'))
    (export "ip-address" (type $i (eq $ip')))
    (alias outer 1 $pollable (type $p'))
    (export "pollable" (type $p (eq $p')))
    (export "resolve-address-stream" (type $stream (sub resource)))
    (export "resolve-addresses"
      (func
        (param "network" (borrow $n)) (param "name" string)
        (result (result (own $stream) (error $c)))))
    (export "[method]resolve-address-stream.resolve-next-address"
      (func
        (param "self" (borrow $stream)) (result (result (option $i) (error $c)))))
    (export "[method]resolve-address-stream.subscribe"
      (func (param "self" (borrow $stream)) (result (own $p))))))
  (import "wasi:sockets/tcp@0.2.6" (instance $tcp
    (alias outer 1 $network-type (type $n'))
    (export "network" (type $n (eq $n')))
    (alias outer 1 $error-code (type $c'))
    (export "error-code" (type $c (eq $c')))
    (alias outer 1 $at (type $at'))
    (export "ip-socket-address" (type $at'' (eq $at')))
    (alias outer 1 $pollable (type $p'))
    (export "pollable" (type $p (eq $p')))
    (alias outer 1 $input-stream (type $is'))
    (export "input-stream" (type $is (eq $is')))
    (alias outer 1 $output-stream (type $os'))
    (export "output-stream" (type $os (eq $os')))
    (export "tcp-socket" (type $socket (sub resource)))
    (export "[method]tcp-socket.start-connect"
      (func
        (param "self" (borrow $socket)) (param "network" (borrow $n))
        (param "remote-address" $at'') (result (result (error $c)))))
    (export "[method]tcp-socket.finish-connect"
      (func
        (param "self" (borrow $socket))
        (result (result (tuple (own $is) (own $os)) (error $c)))))
    (export "[method]tcp-socket.subscribe"
      (func (param "self" (borrow $socket)) (result (own $p))))))
  (alias export $tcp "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.6" (instance $create
    (alias outer 1 $error-code (type $c'))
    (export "error-code" (type $c (eq $c')))
    (alias outer 1 $family (type $f'))
    (export "ip-address-family" (type $f (eq $f')))
    (alias outer 1 $tcp-socket (type $t'))
    (export "tcp-socket" (type $t (eq $t')))
    (export "create-tcp-socket"
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
    (data (i32.const 64) "lookup 000\n")
    (data (i32.const 80) "connect 000\n")
    (data (i32.const 96) "socket 000\n")
    (data (i32.const 112) "ping\n"))
  (core instance $libc (instantiate $libc))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
      (memory $libc "memory")))
  (core func $read
    (canon lower (func $streams "[method]input-stream.blocking-read")
      (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $get-arguments
    (canon lower (func $environment "get-arguments")
      (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $get-network
    (canon lower (func $instance-network "instance-network")))
  (core func $resolve
    (canon lower (func $names "resolve-addresses")
      (memory $libc "memory")))
  (core func $next
    (canon lower (func $names "[method]resolve-address-stream.resolve-next-address")
      (memory $libc "memory")))
  (core func $subscribe-names
    (canon lower (func $names "[method]resolve-address-stream.subscribe")))
  (core func $create
    (canon lower (func $create "create-tcp-socket")
      (memory $libc "memory")))
  (core func $start-connect
    (canon lower (func $tcp "[method]tcp-socket.start-connect")
      (memory $libc "memory")))
  (core func $finish-connect
    (canon lower (func $tcp "[method]tcp-socket.finish-connect")
      (memory $libc "memory")))
  (core func $subscribe
    (canon lower (func $tcp "[method]tcp-socket.subscribe")))
  (core module $main
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "get-arguments" (func $get-arguments (param i32)))
    (import "host" "get-network" (func $get-network (result i32)))
    (import "host" "resolve" (func $resolve (param i32 i32 i32 i32)))
    (import "host" "next" (func $next (param i32 i32)))
    (import "host" "subscribe-names" (func $subscribe-names (param i32) (result i32)))
    (import "host" "create" (func $create (param i32 i32)))
    (import "host" "start-connect" (func $start-connect (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "finish-connect" (func $finish-connect (param i32 i32)))
    (import "host" "subscribe" (func $subscribe (param i32) (result i32)))
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
    ;; Prints all that a stream has to give.
    (func $copy (param $stream i32)
      (loop $more
        (call $read (local.get $stream) (i64.const 4096) (i32.const 512))
        (if (i32.eqz (i32.load8_u (i32.const 512)))
          (then
            (call $print (i32.load (i32.const 516)) (i32.load (i32.const 520)))
            (br $more)))))
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
    (func (export "run") (result i32)
      (local $strings i32) (local $network i32) (local $names i32) (local $socket i32)
      (global.set $out (call $get-stdout))
      (call $get-arguments (i32.const 0))
      (local.set $strings (i32.load (i32.const 0)))
      (if (i32.gt_u (i32.load (i32.const 4)) (i32.const 3))
        (then
          (loop $hoard
            (call $create (i32.const 0) (i32.const 512))
            (br_if $hoard (i32.eqz (i32.load8_u (i32.const 512)))))))
      (local.set $network (call $get-network))
      (call $resolve (local.get $network)
        (i32.load offset=8 (local.get $strings)) (i32.load offset=12 (local.get $strings))
        (i32.const 512))
      (if (i32.load8_u (i32.const 512))
        (then
          (call $digits (i32.const 71) (i32.load8_u (i32.const 516)))
          (call $print (i32.const 64) (i32.const 11))
          (return (i32.const 1))))
      (local.set $names (i32.load (i32.const 516)))
      (loop $next
        (call $block (call $subscribe-names (local.get $names)))
        (call $next (local.get $names) (i32.const 544))
        (if (i32.load8_u (i32.const 544))
          (then
            (call $digits (i32.const 71) (i32.load8_u (i32.const 546)))
            (call $print (i32.const 64) (i32.const 11))
            (return (i32.const 1))))
        (if (i32.eqz (i32.load8_u (i32.const 546))) (then (return (i32.const 1))))
        ;; An IPv6 address.
        (br_if $next (i32.load8_u (i32.const 548))))
      (call $create (i32.const 0) (i32.const 512))
      (if (i32.load8_u (i32.const 512))
        (then
          (call $digits (i32.const 103) (i32.load8_u (i32.const 516)))
          (call $print (i32.const 96) (i32.const 11))
          (return (i32.const 1))))
      (local.set $socket (i32.load (i32.const 516)))
      (call $start-connect (local.get $socket) (local.get $network) (i32.const 0)
        (call $number
          (i32.load offset=16 (local.get $strings)) (i32.load offset=20 (local.get $strings)))
        (i32.load8_u (i32.const 550)) (i32.load8_u (i32.const 551))
        (i32.load8_u (i32.const 552)) (i32.load8_u (i32.const 553))
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 512))
      (loop $wait
        (call $block (call $subscribe (local.get $socket)))
        (call $finish-connect (local.get $socket) (i32.const 512))
        (if (i32.load8_u (i32.const 512))
          (then
            ;; would-block
            (br_if $wait (i32.eq (i32.load8_u (i32.const 516)) (i32.const 8)))
            (call $digits (i32.const 88) (i32.load8_u (i32.const 516)))
            (call $print (i32.const 80) (i32.const 12))
            (return (i32.const 1)))))
      (call $write (i32.load (i32.const 520)) (i32.const 112) (i32.const 5) (i32.const 544))
      (call $copy (i32.load (i32.const 516)))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "read" (func $read))
      (export "block" (func $block))
      (export "get-arguments" (func $get-arguments))
      (export "get-network" (func $get-network))
      (export "resolve" (func $resolve))
      (export "next" (func $next))
      (export "subscribe-names" (func $subscribe-names))
      (export "create" (func $create))
      (export "start-connect" (func $start-connect))
      (export "finish-connect" (func $finish-connect))
      (export "subscribe" (func $subscribe))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
