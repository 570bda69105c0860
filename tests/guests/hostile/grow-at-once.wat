;; Asks for all of a 32-bit memory at once.
;; outcome: out_of_memory
;; says: it wanted 4 GiB
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.eq (memory.grow (i32.const 65535)) (i32.const -1)) (then (unreachable)))))
