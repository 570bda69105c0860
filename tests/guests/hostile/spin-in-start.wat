;; Computes for ever before its entry is called.
;; outcome: timed_out
;; says: limit: timeout 300 ms
;; limits: {"timeout": "300ms", "fuel": "unlimited"}
(module
  (memory (export "memory") 1)
  (func $first (loop $more (br $more)))
  (start $first)
  (func (export "_start")
    (nop)))
