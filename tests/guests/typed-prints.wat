;; A job with the typed interface that prints a line through WASI and returns nothing: the
;; imports of `command`, the types of `typed`.
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

  (import "quarterjack:job/types@0.1.0" (instance $types
    (type $instant' (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "instant" (type $instant (eq $instant')))
    (type $milliseconds' u64)
    (export "milliseconds" (type $milliseconds (eq $milliseconds')))
    (type $cause' (enum "schedule" "manual" "api" "catch-up" "upstream"))
    (export "cause" (type $cause (eq $cause')))
    (type $run-context' (record
      (field "job-id" string)
      (field "run-id" string)
      (field "attempt" u32)
      (field "max-attempts" u32)
      (field "cause" $cause)
      (field "scheduled-at" $instant)
      (field "started-at" $instant)
      (field "deadline" $instant)
      (field "last-success" (option $instant))
      (field "params" string)))
    (export "run-context" (type (eq $run-context')))
    (type $output' (variant
      (case "json" string) (case "text" string) (case "bytes" (list u8))))
    (export "output" (type (eq $output')))
    (type $retry' (variant (case "never") (case "by-policy") (case "after" $milliseconds)))
    (export "retry" (type $retry (eq $retry')))
    (type $failure' (record (field "message" string) (field "retry" $retry)))
    (export "failure" (type (eq $failure')))))
  (alias export $types "run-context" (type $run-context'))
  (alias export $types "output" (type $output'))
  (alias export $types "failure" (type $failure'))
  (import "run-context" (type $run-context (eq $run-context')))
  (import "output" (type $output (eq $output')))
  (import "failure" (type $failure (eq $failure')))

  (core module $libc
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 4096))
    (data (i32.const 64) "said along the way\n")
    (func (export "cabi_realloc")
      (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
      (result i32)
      (local $at i32)
      (local.set $at
        (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get $size)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
      (memory $libc "memory")))
  (core module $job
    (import "host" "get-stdout" (func $get_stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "libc" "memory" (memory 1))
    (func (export "run") (param $context i32) (result i32)
      (call $write (call $get_stdout) (i32.const 64) (i32.const 19) (i32.const 256))
      ;; What is at 0 is all zeros: ok(none).
      (i32.const 0)))
  (core instance $job (instantiate $job
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))))))
  (type $signature (func
    (param "context" $run-context)
    (result (result (option $output) (error $failure)))))
  (func $run (type $signature)
    (canon lift (core func $job "run")
      (memory $libc "memory") (realloc (func $libc "cabi_realloc"))))
  (export "run" (func $run)))
