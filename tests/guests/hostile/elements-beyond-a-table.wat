;; Has its elements lie beyond its table.
;; outcome: trapped
;; says: out of bounds
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (elem (i32.const 1) $g)
  (func $g)
  (func (export "_start")
    (nop)))
