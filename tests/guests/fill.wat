;; Fills its 48 MiB over and over: for ever in few but long instructions.
(module
  (memory (export "memory") 768)
  (func (export "_start")
    (loop $again
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 50_331_648))
      (br $again))))
