;; Imports the memory of somebody else.
;; rejected: `env.memory`
(module
  (import "env" "memory" (memory 1))
  (func (export "_start")
    (nop)))
