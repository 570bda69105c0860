;; Calls itself without end when the host asks it for memory.
;; outcome: trapped
;; says: call stack exhausted
(component
  (import "quarterjack:job/types@0.1.0" (instance $types
    (type $instant' (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "instant" (type $instant (eq $instant')))
    (type $milliseconds' u64)
    (export "milliseconds" (type $milliseconds (eq $milliseconds')))
    (type $cause' (enum "schedule" "manual" "api" "catch-up" "upstream"))
    (export "cause" (type $cause (eq $cause')))
    (type $run-context' (record
      (field "job-id" string) (field "run-id" string) (field "attempt" u32)
      (field "max-attempts" u32) (field "cause" $cause) (field "scheduled-at" $instant)
      (field "started-at" $instant) (field "deadline" $instant)
      (field "last-success" (option $instant)) (field "params" string)))
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
  (core module $job
    (memory (export "memory") 1)
    (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)))
    (func (export "run") (param i32) (result i32)
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store8 (i32.const 8) (i32.const 0))
      (i32.const 0)))
  (core instance $job (instantiate $job))
  (type $signature (func
    (param "context" $run-context)
    (result (result (option $output) (error $failure)))))
  (func $run (type $signature)
    (canon lift (core func $job "run")
      (memory $job "memory") (realloc (func $job "cabi_realloc"))))
  (export "run" (func $run)))
