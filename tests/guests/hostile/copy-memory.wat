;; Copies a large memory onto itself over and over.
;; outcome: timed_out
;; says: limit: timeout 300 ms
;; limits: {"timeout": "300ms", "fuel": "unlimited", "memory": "64MiB"}
(module
  (memory (export "memory") 512)
  (func (export "_start")
    (loop $more
      (memory.copy (i32.const 1) (i32.const 0) (i32.const 33554431))
      (br $more))))
