;; Writes beyond its memory.
;; outcome: trapped
;; says: out of bounds
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (i64.store (i32.const 65533) (i64.const -1))))
