;; Imports what no job is ever given.
(module
  (import "env" "emscripten_run_script" (func $run_script (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $run_script (i32.const 0))))
