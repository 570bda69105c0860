;; Computes for ever in calls that return.
;; outcome: timed_out
;; says: limit: timeout 300 ms
;; limits: {"timeout": "300ms", "fuel": "unlimited"}
(module
  (memory (export "memory") 1)
  (func $leaf)
  (func (export "_start")
    (loop $more (call $leaf) (br $more))))
