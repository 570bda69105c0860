;; Declares a table of ten million elements.
;; rejected: more than a job may have: table index 0 has a minimum element size of 10000000
(module
  (memory (export "memory") 1)
  (table 10000000 funcref)
  (func (export "_start")
    (nop)))
