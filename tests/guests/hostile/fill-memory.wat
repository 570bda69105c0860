;; Fills a large memory over and over: each instruction takes long.
;; outcome: timed_out
;; says: limit: timeout 300 ms
;; limits: {"timeout": "300ms", "fuel": "unlimited", "memory": "64MiB"}
(module
  (memory (export "memory") 512)
  (func (export "_start")
    (loop $more
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 33554432))
      (br $more))))
