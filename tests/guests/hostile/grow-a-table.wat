;; Takes a table of a billion elements.
;; outcome: out_of_memory
(module
  (memory (export "memory") 1)
  (table $t 1 funcref)
  (func (export "_start")
    (if (i32.eq (table.grow $t (ref.null func) (i32.const 1000000000)) (i32.const -1))
      (then (unreachable)))))
