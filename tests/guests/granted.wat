;; A WASI 0.2 command that uses one of each: it reads its environment and its directories, counts
;; its runs in its state, logs the count, and prints one line.
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
  (import "wasi:cli/environment@0.2.6" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))))
  (import "wasi:filesystem/types@0.2.6" (instance $types
    (export "descriptor" (type (sub resource)))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.6" (instance $preopens
    (alias outer 1 $descriptor (type $d'))
    (export "descriptor" (type $d (eq $d')))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))
  (import "quarterjack:job/state@0.1.0" (instance $state
    (type $error' (variant
      (case "denied" string) (case "quota" string) (case "conflict") (case "unavailable" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string)
      (result (result (option (list u8)) (error $error)))))
    (export "set" (func (param "key" string) (param "value" (list u8))
      (result (result (error $error)))))))
  (import "quarterjack:job/log@0.1.0" (instance $log
    (type $level' (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "message" string)
      (param "fields" (list (tuple string string)))))))

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

  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
      (memory $bytes)))
  (core func $variables (canon lower (func $environment "get-environment")
    (memory $bytes) (realloc $realloc)))
  (core func $directories (canon lower (func $preopens "get-directories")
    (memory $bytes) (realloc $realloc)))
  (core func $get (canon lower (func $state "get") (memory $bytes) (realloc $realloc)))
  (core func $set (canon lower (func $state "set") (memory $bytes) (realloc $realloc)))
  (core func $say (canon lower (func $log "log") (memory $bytes)))

  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "get-stdout" (func $get_stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "variables" (func $variables (param i32)))
    (import "host" "directories" (func $directories (param i32)))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32)))
    (import "host" "say" (func $say (param i32 i32 i32 i32 i32)))
    (data (i32.const 1024) "n")
    (data (i32.const 1032) "n=?")
    (data (i32.const 1040) "one of each\n")

    (func (export "run") (result i32)
      (local $n i32)
      ;; Fails without a variable, without a directory, and where its state is not granted.
      (call $variables (i32.const 0))
      (if (i32.eqz (i32.load (i32.const 4))) (then (return (i32.const 1))))
      (call $directories (i32.const 0))
      (if (i32.eqz (i32.load (i32.const 4))) (then (return (i32.const 1))))
      (call $get (i32.const 1024) (i32.const 1) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (i32.const 1))))
      ;; The count is one digit, and begins again after nine.
      (local.set $n (i32.const 48))
      (if (i32.load8_u (i32.const 4))
        (then (local.set $n (i32.load8_u (i32.load (i32.const 8))))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (if (i32.eq (local.get $n) (i32.const 58)) (then (local.set $n (i32.const 48))))
      (i32.store8 (i32.const 1034) (local.get $n))
      (call $set (i32.const 1024) (i32.const 1) (i32.const 1034) (i32.const 1) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (i32.const 1))))
      (call $say (i32.const 2) (i32.const 1032) (i32.const 3) (i32.const 0) (i32.const 0))
      (call $write (call $get_stdout) (i32.const 1040) (i32.const 12) (i32.const 0))
      (i32.load8_u (i32.const 0))))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "memory" (memory $bytes))
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "variables" (func $variables))
      (export "directories" (func $directories))
      (export "get" (func $get))
      (export "set" (func $set))
      (export "say" (func $say))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
