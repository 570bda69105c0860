;; Calls itself without end before its entry is called.
;; outcome: trapped
;; says: call stack exhausted
(module
  (memory (export "memory") 1)
  (func $deeper (call $deeper))
  (start $deeper)
  (func (export "_start")
    (nop)))
