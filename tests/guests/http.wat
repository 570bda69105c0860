;; A WASI 0.2 command that sends GET requests, one for every three of its arguments (the scheme,
;; the authority, the path), and prints of each the status and the body, or the number of the
;; error. It first tries to name another host in the headers, and traps if it may.
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
  (import "wasi:http/types@0.2.6" (instance $types
    (alias outer 1 $input-stream (type $is'))
    (export "input-stream" (type $is (eq $is')))
    (alias outer 1 $pollable (type $p'))
    (export "pollable" (type $p (eq $p')))
    (type $scheme' (variant (case "HTTP") (case "HTTPS") (case "other" string)))
    (export "scheme" (type $scheme (eq $scheme')))
    (type $dns' (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns (eq $dns')))
    (type $alert' (record
      (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $alert (eq $alert')))
    (type $size' (record
      (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size')))
    (type $code' (variant
      (case "DNS-timeout")
      (case "DNS-error" $dns)
      (case "destination-not-found")
      (case "destination-unavailable")
      (case "destination-IP-prohibited")
      (case "destination-IP-unroutable")
      (case "connection-refused")
      (case "connection-terminated")
      (case "connection-timeout")
      (case "connection-read-timeout")
      (case "connection-write-timeout")
      (case "connection-limit-reached")
      (case "TLS-protocol-error")
      (case "TLS-certificate-error")
      (case "TLS-alert-received" $alert)
      (case "HTTP-request-denied")
      (case "HTTP-request-length-required")
      (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid")
      (case "HTTP-request-URI-invalid")
      (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32))
      (case "HTTP-request-header-size" (option $size))
      (case "HTTP-request-trailer-section-size" (option u32))
      (case "HTTP-request-trailer-size" $size)
      (case "HTTP-response-incomplete")
      (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $size)
      (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32))
      (case "HTTP-response-trailer-size" $size)
      (case "HTTP-response-transfer-coding" (option string))
      (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout")
      (case "HTTP-upgrade-failed")
      (case "HTTP-protocol-error")
      (case "loop-detected")
      (case "configuration-error")
      (case "internal-error" (option string))))
    (export "error-code" (type $code (eq $code')))
    (type $header-error' (variant
      (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $header-error (eq $header-error')))
    (export "fields" (type $fields (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append"
      (func
        (param "self" (borrow $fields)) (param "name" string) (param "value" (list u8))
        (result (result (error $header-error)))))
    (export "outgoing-request" (type $request (sub resource)))
    (export "[constructor]outgoing-request"
      (func (param "headers" (own $fields)) (result (own $request))))
    (export "[method]outgoing-request.set-scheme"
      (func
        (param "self" (borrow $request)) (param "scheme" (option $scheme)) (result (result))))
    (export "[method]outgoing-request.set-authority"
      (func
        (param "self" (borrow $request)) (param "authority" (option string)) (result (result))))
    (export "[method]outgoing-request.set-path-with-query"
      (func
        (param "self" (borrow $request)) (param "path-with-query" (option string))
        (result (result))))
    (export "request-options" (type $options (sub resource)))
    (export "incoming-body" (type $body (sub resource)))
    (export "[method]incoming-body.stream"
      (func (param "self" (borrow $body)) (result (result (own $is)))))
    (export "incoming-response" (type $response (sub resource)))
    (export "[method]incoming-response.status"
      (func (param "self" (borrow $response)) (result u16)))
    (export "[method]incoming-response.consume"
      (func (param "self" (borrow $response)) (result (result (own $body)))))
    (export "future-incoming-response" (type $future (sub resource)))
    (export "[method]future-incoming-response.subscribe"
      (func (param "self" (borrow $future)) (result (own $p))))
    (export "[method]future-incoming-response.get"
      (func
        (param "self" (borrow $future))
        (result (option (result (result (own $response) (error $code)))))))))
  (alias export $types "outgoing-request" (type $request))
  (alias export $types "request-options" (type $options))
  (alias export $types "future-incoming-response" (type $future))
  (alias export $types "error-code" (type $code))
  (import "wasi:http/outgoing-handler@0.2.6" (instance $handler
    (alias outer 1 $request (type $request'))
    (export "outgoing-request" (type $r (eq $request')))
    (alias outer 1 $options (type $options'))
    (export "request-options" (type $o (eq $options')))
    (alias outer 1 $future (type $future'))
    (export "future-incoming-response" (type $f (eq $future')))
    (alias outer 1 $code (type $code'))
    (export "error-code" (type $c (eq $code')))
    (export "handle"
      (func
        (param "request" (own $r)) (param "options" (option (own $o)))
        (result (result (own $f) (error $c)))))))

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
    (data (i32.const 64) "error 000\nhostinternal.example"))
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
  (core func $fields
    (canon lower (func $types "[constructor]fields")))
  (core func $append
    (canon lower (func $types "[method]fields.append")
      (memory $libc "memory")))
  (core func $request
    (canon lower (func $types "[constructor]outgoing-request")))
  (core func $set-scheme
    (canon lower (func $types "[method]outgoing-request.set-scheme")
      (memory $libc "memory")))
  (core func $set-authority
    (canon lower (func $types "[method]outgoing-request.set-authority")
      (memory $libc "memory")))
  (core func $set-path
    (canon lower (func $types "[method]outgoing-request.set-path-with-query")
      (memory $libc "memory")))
  (core func $handle
    (canon lower (func $handler "handle")
      (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $subscribe
    (canon lower (func $types "[method]future-incoming-response.subscribe")))
  (core func $get
    (canon lower (func $types "[method]future-incoming-response.get")
      (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $status
    (canon lower (func $types "[method]incoming-response.status")))
  (core func $consume
    (canon lower (func $types "[method]incoming-response.consume")
      (memory $libc "memory")))
  (core func $stream
    (canon lower (func $types "[method]incoming-body.stream")
      (memory $libc "memory")))
  (core module $main
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "get-arguments" (func $get-arguments (param i32)))
    (import "host" "fields" (func $fields (result i32)))
    (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "host" "request" (func $request (param i32) (result i32)))
    (import "host" "set-scheme" (func $set-scheme (param i32 i32 i32 i32 i32) (result i32)))
    (import "host" "set-authority" (func $set-authority (param i32 i32 i32 i32) (result i32)))
    (import "host" "set-path" (func $set-path (param i32 i32 i32 i32) (result i32)))
    (import "host" "handle" (func $handle (param i32 i32 i32 i32)))
    (import "host" "subscribe" (func $subscribe (param i32) (result i32)))
    (import "host" "get" (func $get (param i32 i32)))
    (import "host" "status" (func $status (param i32) (result i32)))
    (import "host" "consume" (func $consume (param i32 i32)))
    (import "host" "stream" (func $stream (param i32 i32)))
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
    (func $failed (param $code i32)
      (call $digits (i32.const 70) (local.get $code))
      (call $print (i32.const 64) (i32.const 10)))
    ;; Sends the request of the three strings at an address.
    (func $fetch (param $strings i32)
      (local $fields i32) (local $request i32) (local $future i32) (local $response i32)
      (local.set $fields (call $fields))
      (call $append (local.get $fields)
        (i32.const 74) (i32.const 4) (i32.const 78) (i32.const 16) (i32.const 512))
      (if (i32.eqz (i32.load8_u (i32.const 512))) (then unreachable))
      (local.set $request (call $request (local.get $fields)))
      ;; "https" is longer than "http".
      (drop (call $set-scheme (local.get $request) (i32.const 1)
        (i32.eq (i32.load offset=4 (local.get $strings)) (i32.const 5))
        (i32.const 0) (i32.const 0)))
      (drop (call $set-authority (local.get $request) (i32.const 1)
        (i32.load offset=8 (local.get $strings)) (i32.load offset=12 (local.get $strings))))
      (drop (call $set-path (local.get $request) (i32.const 1)
        (i32.load offset=16 (local.get $strings)) (i32.load offset=20 (local.get $strings))))
      (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 512))
      (if (i32.load8_u (i32.const 512))
        (then (call $failed (i32.load8_u (i32.const 520))) (return)))
      (local.set $future (i32.load (i32.const 520)))
      (call $block (call $subscribe (local.get $future)))
      (call $get (local.get $future) (i32.const 512))
      (if (i32.load8_u (i32.const 528))
        (then (call $failed (i32.load8_u (i32.const 536))) (return)))
      (local.set $response (i32.load (i32.const 536)))
      (call $digits (i32.const 128) (call $status (local.get $response)))
      (i32.store8 (i32.const 131) (i32.const 32))
      (call $print (i32.const 128) (i32.const 4))
      (call $consume (local.get $response) (i32.const 512))
      (call $stream (i32.load (i32.const 516)) (i32.const 512))
      (call $copy (i32.load (i32.const 516)))
      (i32.store8 (i32.const 128) (i32.const 10))
      (call $print (i32.const 128) (i32.const 1)))
    (func (export "run") (result i32)
      (local $strings i32) (local $left i32)
      (global.set $out (call $get-stdout))
      (call $get-arguments (i32.const 0))
      ;; The first is the program's name.
      (local.set $strings (i32.add (i32.load (i32.const 0)) (i32.const 8)))
      (local.set $left (i32.div_u (i32.sub (i32.load (i32.const 4)) (i32.const 1)) (i32.const 3)))
      (loop $next
        (if (local.get $left)
          (then
            (call $fetch (local.get $strings))
            (local.set $strings (i32.add (local.get $strings) (i32.const 24)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $next))))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "read" (func $read))
      (export "block" (func $block))
      (export "get-arguments" (func $get-arguments))
      (export "fields" (func $fields))
      (export "append" (func $append))
      (export "request" (func $request))
      (export "set-scheme" (func $set-scheme))
      (export "set-authority" (func $set-authority))
      (export "set-path" (func $set-path))
      (export "handle" (func $handle))
      (export "subscribe" (func $subscribe))
      (export "get" (func $get))
      (export "status" (func $status))
      (export "consume" (func $consume))
      (export "stream" (func $stream))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
