;; Imports what no host has.
;; rejected: `env.system`
(module
  (import "env" "system" (func (param i32) (result i32)))
  (func (export "_start")
    (nop)))
