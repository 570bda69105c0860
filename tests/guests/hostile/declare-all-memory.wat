;; Declares a memory of 4 GiB.
;; outcome: out_of_memory
;; says: limit: memory 64 MiB
(module
  (memory (export "memory") 65536)
  (func (export "_start")
    (nop)))
