;; Imports an interface that no host has.
;; rejected: `evil:corp/backdoor@1.0.0`
(component
  (import "evil:corp/backdoor@1.0.0" (instance (export "open" (func))))
  (core module $main (func (export "run") (result i32) (i32.const 0)))
  (core instance $main (instantiate $main))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
