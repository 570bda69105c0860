;; Reads as far beyond its memory as an instruction can say.
;; outcome: trapped
;; says: out of bounds
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (i64.load offset=0xffffffff (i32.const -1)))))
