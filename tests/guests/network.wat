;; A WASI 0.2 command that tries the two doors of the network: it makes a TCP socket, and it
;; looks up a name. It prints for each the error, the character at its number from `0` on, or
;; `-` if it was let through, and fails if both are refused.
(component
  (import "wasi:io/error@0.2.6" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-type))
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
    (export "ip-address-family" (type (eq $family')))))
  (alias export $network "network" (type $network-type))
  (alias export $network "error-code" (type $error-code))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/instance-network@0.2.6" (instance $instance-network
    (alias outer 1 $network-type (type $n'))
    (export "network" (type $n (eq $n')))
    (export "instance-network" (func (result (own $n))))))
  (import "wasi:sockets/ip-name-lookup@0.2.6" (instance $names
    (alias outer 1 $network-type (type $n'))
    (export "network" (type $n (eq $n')))
    (alias outer 1 $error-code (type $c'))
    (export "error-code" (type $c (eq $c')))
    (export "resolve-address-stream" (type $stream (sub resource)))
    (export "resolve-addresses"
      (func
        (param "network" (borrow $n)) (param "name" string)
        (result (result (own $stream) (error $c)))))))
  (import "wasi:sockets/tcp@0.2.6" (instance $tcp
    (export "tcp-socket" (type (sub resource)))))
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
    (memory (export "memory") 1)
    (data (i32.const 64) "localhost")
    (data (i32.const 96) "tcp ?, names ?\n"))
  (core instance $libc (instantiate $libc))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
      (memory $libc "memory")))
  (core func $get-network (canon lower (func $instance-network "instance-network")))
  (core func $resolve
    (canon lower (func $names "resolve-addresses") (memory $libc "memory")))
  (core func $create
    (canon lower (func $create "create-tcp-socket") (memory $libc "memory")))
  (core module $main
    (import "host" "get-stdout" (func $get_stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "get-network" (func $get_network (result i32)))
    (import "host" "resolve" (func $resolve (param i32 i32 i32 i32)))
    (import "host" "create" (func $create (param i32 i32)))
    (import "libc" "memory" (memory 1))
    ;; The character for the result at an address: its discriminant, and at 4 its error.
    (func $verdict (param $result i32) (result i32)
      (if (result i32) (i32.load8_u (local.get $result))
        (then (i32.add (i32.const 48) (i32.load8_u offset=4 (local.get $result))))
        (else (i32.const 45))))
    (func (export "run") (result i32)
      (call $create (i32.const 0) (i32.const 0))
      (i32.store8 (i32.const 100) (call $verdict (i32.const 0)))
      (call $resolve (call $get_network) (i32.const 64) (i32.const 9) (i32.const 16))
      (i32.store8 (i32.const 109) (call $verdict (i32.const 16)))
      (call $write (call $get_stdout) (i32.const 96) (i32.const 15) (i32.const 32))
      (i32.and (i32.load8_u (i32.const 0)) (i32.load8_u (i32.const 16)))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "get-network" (func $get-network))
      (export "resolve" (func $resolve))
      (export "create" (func $create))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
