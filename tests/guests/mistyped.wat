;; A component whose `run` is not the one that a job has.
(component
  (core module $job (func (export "run") (param i32) (result i32) (local.get 0)))
  (core instance $job (instantiate $job))
  (func $run (param "count" u32) (result u32) (canon lift (core func $job "run")))
  (export "run" (func $run)))
