;; Traps before its entry is called.
;; outcome: trapped
;; says: unreachable
(module
  (memory (export "memory") 1)
  (func $first (unreachable))
  (start $first)
  (func (export "_start")
    (nop)))
