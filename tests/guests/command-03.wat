;; A WASI 0.3 command: does what the first letter of its first argument says.
(component
  (import "wasi:cli/types@0.3.0" (instance $cli
    (type $e' (enum "io" "illegal-byte-sequence" "pipe"))
    (export "error-code" (type (eq $e')))))
  (alias export $cli "error-code" (type $io-error))
  (import "wasi:cli/stdin@0.3.0" (instance $stdin
    (alias outer 1 $io-error (type $e'))
    (export "error-code" (type $e (eq $e')))
    (type $bytes (stream u8))
    (type $end (future (result (error $e))))
    (export "read-via-stream" (func (result (tuple $bytes $end))))))
  (import "wasi:cli/stdout@0.3.0" (instance $stdout
    (alias outer 1 $io-error (type $e'))
    (export "error-code" (type $e (eq $e')))
    (type $bytes (stream u8))
    (type $end (future (result (error $e))))
    (export "write-via-stream" (func (param "data" $bytes) (result $end)))))
  (import "wasi:cli/stderr@0.3.0" (instance $stderr
    (alias outer 1 $io-error (type $e'))
    (export "error-code" (type $e (eq $e')))
    (type $bytes (stream u8))
    (type $end (future (result (error $e))))
    (export "write-via-stream" (func (param "data" $bytes) (result $end)))))
  (import "wasi:cli/environment@0.3.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:cli/exit@0.3.0" (instance $exit
    (export "exit-with-code" (func (param "status-code" u8)))))
  (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
    (export "now" (func (result u64)))
    (export "wait-for" (func async (param "how-long" u64)))))
  (import "wasi:random/random@0.3.0" (instance $random
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:sockets/types@0.3.0" (instance $sockets
    (export "tcp-socket" (type $tcp (sub resource)))
    (export "udp-socket" (type $udp (sub resource)))
    (type $family' (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type $family (eq $family')))
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
    (export "ip-socket-address" (type $at (eq $at')))
    (type $e' (variant
      (case "access-denied") (case "not-supported") (case "invalid-argument")
      (case "out-of-memory") (case "timeout") (case "invalid-state")
      (case "address-not-bindable") (case "address-in-use") (case "remote-unreachable")
      (case "connection-refused") (case "connection-broken") (case "connection-reset")
      (case "connection-aborted") (case "datagram-too-large") (case "other" (option string))))
    (export "error-code" (type $e (eq $e')))
    (type $bytes (stream u8))
    (type $end (future (result (error $e))))
    (type $caller (own $tcp))
    (type $callers (stream $caller))
    (export "[static]tcp-socket.create"
      (func (param "address-family" $family) (result (result (own $tcp) (error $e)))))
    (export "[static]udp-socket.create"
      (func (param "address-family" $family) (result (result (own $udp) (error $e)))))
    (export "[method]tcp-socket.connect"
      (func async (param "self" (borrow $tcp)) (param "remote-address" $at)
        (result (result (error $e)))))
    (export "[method]tcp-socket.listen"
      (func (param "self" (borrow $tcp)) (result (result $callers (error $e)))))
    (export "[method]tcp-socket.send"
      (func (param "self" (borrow $tcp)) (param "data" $bytes) (result $end)))
    (export "[method]tcp-socket.receive"
      (func (param "self" (borrow $tcp)) (result (tuple $bytes $end))))))
  (alias export $sockets "ip-address" (type $ip))
  (import "wasi:sockets/ip-name-lookup@0.3.0" (instance $names
    (alias outer 1 $ip (type $ip'))
    (export "ip-address" (type $ip (eq $ip')))
    (type $e' (variant
      (case "access-denied") (case "invalid-argument") (case "name-unresolvable")
      (case "temporary-resolver-failure") (case "permanent-resolver-failure")
      (case "other" (option string))))
    (export "error-code" (type $e (eq $e')))
    (export "resolve-addresses"
      (func async (param "name" string) (result (result (list $ip) (error $e)))))))
  (import "wasi:http/types@0.3.0" (instance $http
    (export "fields" (type $fields (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))))
  (import "wasi:filesystem/types@0.3.0" (instance $files
    (export "descriptor" (type (sub resource)))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.3.0" (instance $preopens
    (alias outer 1 $descriptor (type $d'))
    (export "descriptor" (type $d (eq $d')))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))
  ;; The same of WASI 0.2: a command may have both.
  (import "wasi:filesystem/types@0.2.6" (instance $files-02
    (export "descriptor" (type (sub resource)))))
  (alias export $files-02 "descriptor" (type $descriptor-02))
  (import "wasi:filesystem/preopens@0.2.6" (instance $preopens-02
    (alias outer 1 $descriptor-02 (type $d'))
    (export "descriptor" (type $d (eq $d')))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))

  (core module $libc
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $top) (i32.sub (local.get 2) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get 2))))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))

  (type $bytes (stream u8))
  (type $end (future (result (error $io-error))))
  (core func $stream-new (canon stream.new $bytes))
  (core func $stream-read (canon stream.read $bytes async (memory $memory)))
  (core func $stream-write (canon stream.write $bytes async (memory $memory)))
  (core func $drop-writable (canon stream.drop-writable $bytes))
  (core func $drop-end (canon future.drop-readable $end))
  (core func $set-new (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $drop-subtask (canon subtask.drop))
  (core func $return (canon task.return (result (result))))
  (core func $stdin (canon lower (func $stdin "read-via-stream") (memory $memory)))
  (core func $stdout (canon lower (func $stdout "write-via-stream") (memory $memory)))
  (core func $stderr (canon lower (func $stderr "write-via-stream") (memory $memory)))
  (core func $environment (canon lower (func $environment "get-environment")
    (memory $memory) (realloc $realloc)))
  (core func $arguments (canon lower (func $environment "get-arguments")
    (memory $memory) (realloc $realloc)))
  (core func $exit (canon lower (func $exit "exit-with-code")))
  (core func $now (canon lower (func $clock "now")))
  (core func $wait-for (canon lower (func $clock "wait-for")))
  (core func $begin-wait-for (canon lower (func $clock "wait-for") async (memory $memory)))
  (core func $random (canon lower (func $random "get-random-u64")))
  (core func $tcp (canon lower (func $sockets "[static]tcp-socket.create")
    (memory $memory) (realloc $realloc)))
  (core func $udp (canon lower (func $sockets "[static]udp-socket.create")
    (memory $memory) (realloc $realloc)))
  (core func $connect (canon lower (func $sockets "[method]tcp-socket.connect")
    (memory $memory) (realloc $realloc)))
  (core func $listen (canon lower (func $sockets "[method]tcp-socket.listen")
    (memory $memory) (realloc $realloc)))
  (core func $send (canon lower (func $sockets "[method]tcp-socket.send") (memory $memory)))
  (core func $receive (canon lower (func $sockets "[method]tcp-socket.receive") (memory $memory)))
  (core func $resolve (canon lower (func $names "resolve-addresses")
    (memory $memory) (realloc $realloc)))
  (core func $fields (canon lower (func $http "[constructor]fields")))
  (core func $directories (canon lower (func $preopens "get-directories")
    (memory $memory) (realloc $realloc)))
  (core func $directories-02 (canon lower (func $preopens-02 "get-directories")
    (memory $memory) (realloc $realloc)))

  (core module $main
    (import "libc" "memory" (memory 1))
    (import "host" "stream-new" (func $stream_new (result i64)))
    (import "host" "stream-read" (func $stream_read (param i32 i32 i32) (result i32)))
    (import "host" "stream-write" (func $stream_write (param i32 i32 i32) (result i32)))
    (import "host" "drop-writable" (func $drop_writable (param i32)))
    (import "host" "drop-end" (func $drop_end (param i32)))
    (import "host" "set-new" (func $set_new (result i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "drop-subtask" (func $drop_subtask (param i32)))
    (import "host" "return" (func $return (param i32)))
    (import "host" "stdin" (func $stdin (param i32)))
    (import "host" "stdout" (func $stdout (param i32) (result i32)))
    (import "host" "stderr" (func $stderr (param i32) (result i32)))
    (import "host" "environment" (func $environment (param i32)))
    (import "host" "arguments" (func $arguments (param i32)))
    (import "host" "exit" (func $exit (param i32)))
    (import "host" "now" (func $now (result i64)))
    (import "host" "wait-for" (func $wait_for (param i64)))
    (import "host" "begin-wait-for" (func $begin_wait_for (param i64) (result i32)))
    (import "host" "random" (func $random (result i64)))
    (import "host" "tcp" (func $tcp (param i32 i32)))
    (import "host" "udp" (func $udp (param i32 i32)))
    (import "host" "connect" (func $connect
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "listen" (func $listen (param i32 i32)))
    (import "host" "send" (func $send (param i32 i32) (result i32)))
    (import "host" "receive" (func $receive (param i32 i32)))
    (import "host" "resolve" (func $resolve (param i32 i32 i32)))
    (import "host" "fields" (func $fields (result i32)))
    (import "host" "directories" (func $directories (param i32)))
    (import "host" "directories-02" (func $directories_02 (param i32)))

    (data (i32.const 1024) "hello from 0.3\n")
    (data (i32.const 1040) "said along the way\n")
    (data (i32.const 1060) "=\n")
    (data (i32.const 1064) "awake\n")
    (data (i32.const 1072) "still at work\n")
    (data (i32.const 1088) "create\nlisten\nlookup\nconnect\n")
    (data (i32.const 1120) "localhost")
    (data (i32.const 1130) "ping\n")

    (global $letter (mut i32) (i32.const 0))
    (global $out (mut i32) (i32.const 0)) ;; the stream to standard output, once there is one
    (global $left (mut i32) (i32.const 0)) ;; tasks that are waited for
    (global $first (mut i32) (i32.const 0))

    (func $open (result i32)
      (local $pair i64)
      (local.set $pair (call $stream_new))
      (call $drop_end (call $stdout (i32.wrap_i64 (local.get $pair))))
      (i32.wrap_i64 (i64.shr_u (local.get $pair) (i64.const 32))))
    (func $write (param $stream i32) (param $at i32) (param $length i32)
      (local $wrote i32)
      (loop $more
        (if (i32.eqz (local.get $length)) (then (return)))
        (local.set $wrote
          (call $stream_write (local.get $stream) (local.get $at) (local.get $length)))
        (if (i32.eq (local.get $wrote) (i32.const -1)) (then unreachable))
        (local.set $wrote (i32.shr_u (local.get $wrote) (i32.const 4)))
        (local.set $at (i32.add (local.get $at) (local.get $wrote)))
        (local.set $length (i32.sub (local.get $length) (local.get $wrote)))
        (br $more)))
    (func $print (param $at i32) (param $length i32)
      (if (i32.eqz (global.get $out)) (then (global.set $out (call $open))))
      (call $write (global.get $out) (local.get $at) (local.get $length)))
    (func $print-digit (param $digit i32)
      (i32.store8 (i32.const 900) (i32.add (local.get $digit) (i32.const 48)))
      (i32.store8 (i32.const 901) (i32.const 10))
      (call $print (i32.const 900) (i32.const 2)))
    ;; Ends: 0 is the code by which a task says so.
    (func $succeed (result i32)
      (if (global.get $out) (then (call $drop_writable (global.get $out))))
      (call $return (i32.const 0))
      (i32.const 0))

    ;; Begins to sleep; gives the task, which is in the set.
    (func $sleep (param $set i32) (param $time i64) (result i32)
      (local $task i32)
      (local.set $task (i32.shr_u (call $begin_wait_for (local.get $time)) (i32.const 4)))
      (call $join (local.get $task) (local.get $set))
      (global.set $left (i32.add (global.get $left) (i32.const 1)))
      (local.get $task))
    (func $wait-in (param $set i32) (result i32)
      (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4))))
    (global $set (mut i32) (i32.const 0))

    (func (export "run") (result i32)
      (local $at i32) (local $count i32) (local $end i32)
      (call $arguments (i32.const 0))
      (local.set $at (i32.load (i32.const 0)))
      (if (i32.gt_u (i32.load (i32.const 4)) (i32.const 1))
        (then (global.set $letter (i32.load8_u (i32.load offset=8 (local.get $at))))))

      ;; Says hello, and something in its log.
      (if (i32.eq (global.get $letter) (i32.const 103)) (then ;; g
        (call $print (i32.const 1024) (i32.const 15))
        (call $log)
        (return (call $succeed))))
      ;; Prints its environment.
      (if (i32.eq (global.get $letter) (i32.const 101)) (then ;; e
        (call $environment (i32.const 0))
        (local.set $at (i32.load (i32.const 0)))
        (local.set $end
          (i32.add (local.get $at) (i32.mul (i32.load (i32.const 4)) (i32.const 16))))
        (loop $next
          (if (i32.lt_u (local.get $at) (local.get $end)) (then
            (call $print (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))
            (call $print (i32.const 1060) (i32.const 1))
            (call $print (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at)))
            (call $print (i32.const 1061) (i32.const 1))
            (local.set $at (i32.add (local.get $at) (i32.const 16)))
            (br $next))))
        (return (call $succeed))))
      ;; Prints its input.
      (if (i32.eq (global.get $letter) (i32.const 105)) (then ;; i
        (call $stdin (i32.const 0))
        (call $drop_end (i32.load (i32.const 4)))
        (local.set $count
          (call $stream_read (i32.load (i32.const 0)) (i32.const 4096) (i32.const 4096)))
        (call $print (i32.const 4096) (i32.shr_u (local.get $count) (i32.const 4)))
        (return (call $succeed))))
      ;; Sleeps twenty milliseconds.
      (if (i32.eq (global.get $letter) (i32.const 110)) (then ;; n
        (global.set $set (call $set_new))
        (drop (call $sleep (global.get $set) (i64.const 20_000_000)))
        (return (call $wait-in (global.get $set)))))
      ;; Sleeps three hours and one at once, and says which is over first.
      (if (i32.eq (global.get $letter) (i32.const 114)) (then ;; r
        (global.set $set (call $set_new))
        (i64.store (i32.const 800) (call $now))
        (drop (call $sleep (global.get $set) (i64.const 10_800_000_000_000)))
        (global.set $first (call $sleep (global.get $set) (i64.const 3_600_000_000_000)))
        (i64.store (i32.const 808) (call $random))
        (return (call $wait-in (global.get $set)))))
      ;; Computes for ever.
      (if (i32.eq (global.get $letter) (i32.const 115)) (then ;; s
        (loop $on (br $on))))
      ;; Lets others go first for ever; 1 is the code for that.
      (if (i32.eq (global.get $letter) (i32.const 121)) (then ;; y
        (return (i32.const 1))))
      ;; Waits for ever for what never comes.
      (if (i32.eq (global.get $letter) (i32.const 119)) (then ;; w
        (return (call $wait-in (call $set_new)))))
      ;; Sleeps for a day inside of a call.
      (if (i32.eq (global.get $letter) (i32.const 87)) (then ;; W
        (call $wait_for (i64.const 86_400_000_000_000))))
      (if (i32.eq (global.get $letter) (i32.const 102)) (then ;; f
        (call $return (i32.const 1))
        (return (i32.const 0))))
      (if (i32.eq (global.get $letter) (i32.const 120)) (then ;; x
        (call $exit (i32.const 7))))
      (if (i32.eq (global.get $letter) (i32.const 117)) (then ;; u
        unreachable))
      ;; Ends without having said how it went.
      (if (i32.eq (global.get $letter) (i32.const 113)) (then ;; q
        (return (i32.const 0))))
      ;; Says how it went, and works on.
      (if (i32.eq (global.get $letter) (i32.const 107)) (then ;; k
        (call $return (i32.const 0))
        (global.set $set (call $set_new))
        (drop (call $sleep (global.get $set) (i64.const 20_000_000)))
        (return (call $wait-in (global.get $set)))))
      ;; Says ping to the port of this machine that is its second argument, and prints the answer;
      ;; or prints what fails before.
      (if (i32.eq (global.get $letter) (i32.const 116)) (then ;; t
        (return (call $ping (local.get $at)))))
      ;; Wants a socket for datagrams, and prints whether it got none.
      (if (i32.eq (global.get $letter) (i32.const 68)) (then ;; D
        (call $udp (i32.const 0) (i32.const 0))
        (call $print-digit (i32.load8_u (i32.const 0)))
        (return (call $succeed))))
      (if (i32.eq (global.get $letter) (i32.const 112)) (then ;; p
        (drop (call $fields))
        (return (call $succeed))))
      ;; Counts the directories that it sees, in 0.3 and in 0.2.
      (if (i32.eq (global.get $letter) (i32.const 100)) (then ;; d
        (call $directories (i32.const 0))
        (call $print-digit (i32.load (i32.const 4)))
        (call $directories_02 (i32.const 0))
        (call $print-digit (i32.load (i32.const 4)))
        (return (call $succeed))))
      ;; Makes streams without end.
      (if (i32.eq (global.get $letter) (i32.const 104)) (then ;; h
        (loop $on (drop (call $stream_new)) (br $on))))
      ;; Begins to sleep without end.
      (if (i32.eq (global.get $letter) (i32.const 122)) (then ;; z
        (global.set $set (call $set_new))
        (loop $on (drop (call $sleep (global.get $set) (i64.const 86_400_000_000_000))) (br $on))))
      ;; Has standard output read from streams without end.
      (if (i32.eq (global.get $letter) (i32.const 111)) (then ;; o
        (loop $on (drop (call $open)) (br $on))))
      ;; Floods its output, much at a time.
      (if (i32.eq (global.get $letter) (i32.const 98)) (then ;; b
        (local.set $count (i32.const 64))
        (loop $on
          (call $print (i32.const 0) (i32.const 131072))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br_if $on (local.get $count)))
        (return (call $succeed))))
      unreachable)

    (func $ping (param $arguments i32) (result i32)
      (local $at i32) (local $end i32) (local $port i32) (local $socket i32) (local $pair i64)
      (call $tcp (i32.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then
        (call $print (i32.const 1088) (i32.const 7))
        (return (call $succeed))))
      (local.set $socket (i32.load (i32.const 4)))
      ;; Nobody can connect to a job.
      (call $tcp (i32.const 0) (i32.const 0))
      (call $listen (i32.load (i32.const 4)) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (call $print (i32.const 1095) (i32.const 7))))
      (call $resolve (i32.const 1120) (i32.const 9) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (call $print (i32.const 1102) (i32.const 7))))
      (local.set $at (i32.load offset=16 (local.get $arguments)))
      (local.set $end (i32.add (local.get $at) (i32.load offset=20 (local.get $arguments))))
      (loop $digits
        (local.set $port (i32.add
          (i32.mul (local.get $port) (i32.const 10))
          (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $digits (i32.lt_u (local.get $at) (local.get $end))))
      (call $connect (local.get $socket)
        (i32.const 0) (local.get $port) (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then
        (call $print (i32.const 1109) (i32.const 8))
        (return (call $succeed))))
      (local.set $pair (call $stream_new))
      (drop (call $send (local.get $socket) (i32.wrap_i64 (local.get $pair))))
      (call $write
        (i32.wrap_i64 (i64.shr_u (local.get $pair) (i64.const 32))) (i32.const 1130) (i32.const 5))
      (call $receive (local.get $socket) (i32.const 0))
      (global.set $first (i32.load (i32.const 0)))
      (global.set $set (call $set_new))
      (call $join (global.get $first) (global.get $set))
      (call $hear))
    ;; Prints what comes in until the end.
    (func $hear (result i32)
      (local $count i32)
      (loop $more
        (local.set $count
          (call $stream_read (global.get $first) (i32.const 4096) (i32.const 4096)))
        (if (i32.eq (local.get $count) (i32.const -1))
          (then (return (call $wait-in (global.get $set)))))
        (call $print (i32.const 4096) (i32.shr_u (local.get $count) (i32.const 4)))
        (br_if $more (i32.eqz (i32.and (local.get $count) (i32.const 15)))))
      (call $succeed))

    (func $log
      (local $pair i64) (local $stream i32)
      (local.set $pair (call $stream_new))
      (local.set $stream (i32.wrap_i64 (i64.shr_u (local.get $pair) (i64.const 32))))
      (call $drop_end (call $stderr (i32.wrap_i64 (local.get $pair))))
      (call $write (local.get $stream) (i32.const 1040) (i32.const 19))
      (call $drop_writable (local.get $stream)))

    (func (export "callback") (param $event i32) (param $task i32) (param $state i32) (result i32)
      (if (i32.eqz (local.get $event)) (then (return (i32.const 1)))) ;; after others went first
      (if (i32.eq (local.get $event) (i32.const 2)) (then ;; something was read
        (call $print (i32.const 4096) (i32.shr_u (local.get $state) (i32.const 4)))
        (if (i32.and (local.get $state) (i32.const 15)) (then (return (call $succeed))))
        (return (call $hear))))
      (call $drop_subtask (local.get $task))
      (global.set $left (i32.sub (global.get $left) (i32.const 1)))
      (if (i32.eq (global.get $letter) (i32.const 114)) (then
        (if (i32.eq (local.get $task) (global.get $first))
          (then (call $print-digit (i32.const 1)))
          (else (call $print-digit (i32.const 3))))
        ;; How long it took, in hours.
        (call $print-digit (i32.wrap_i64
          (i64.div_u (i64.sub (call $now) (i64.load (i32.const 800))) (i64.const 3_600_000_000_000))))
        (if (i32.eqz (global.get $left)) (then (call $print (i32.const 800) (i32.const 16))))))
      (if (global.get $left) (then (return (call $wait-in (global.get $set)))))
      (if (i32.eq (global.get $letter) (i32.const 107)) (then
        (call $print (i32.const 1072) (i32.const 14))
        (call $drop_writable (global.get $out))
        (return (i32.const 0))))
      (if (i32.eq (global.get $letter) (i32.const 110))
        (then (call $print (i32.const 1064) (i32.const 6))))
      (call $succeed)))

  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "stream-new" (func $stream-new))
      (export "stream-read" (func $stream-read))
      (export "stream-write" (func $stream-write))
      (export "drop-writable" (func $drop-writable))
      (export "drop-end" (func $drop-end))
      (export "set-new" (func $set-new))
      (export "join" (func $join))
      (export "drop-subtask" (func $drop-subtask))
      (export "return" (func $return))
      (export "stdin" (func $stdin))
      (export "stdout" (func $stdout))
      (export "stderr" (func $stderr))
      (export "environment" (func $environment))
      (export "arguments" (func $arguments))
      (export "exit" (func $exit))
      (export "now" (func $now))
      (export "wait-for" (func $wait-for))
      (export "begin-wait-for" (func $begin-wait-for))
      (export "random" (func $random))
      (export "tcp" (func $tcp))
      (export "udp" (func $udp))
      (export "connect" (func $connect))
      (export "listen" (func $listen))
      (export "send" (func $send))
      (export "receive" (func $receive))
      (export "resolve" (func $resolve))
      (export "fields" (func $fields))
      (export "directories" (func $directories))
      (export "directories-02" (func $directories-02))))))
  (func $run async (result (result))
    (canon lift (core func $main "run") async (memory $memory) (callback (func $main "callback"))))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.3.0" (instance $exported)))
