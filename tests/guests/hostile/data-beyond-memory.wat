;; Has its data lie beyond its memory.
;; outcome: trapped
;; says: out of bounds
(module
  (memory (export "memory") 1)
  (data (i32.const 65535) "ab")
  (func (export "_start")
    (nop)))
