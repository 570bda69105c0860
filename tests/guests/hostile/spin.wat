;; Computes for ever.
;; outcome: timed_out
;; says: limit: timeout 300 ms
;; limits: {"timeout": "300ms", "fuel": "unlimited"}
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $more (br $more))))
