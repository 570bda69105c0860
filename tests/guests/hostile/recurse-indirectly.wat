;; Calls itself without end through a table.
;; outcome: trapped
;; says: call stack exhausted
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (type $f (func))
  (elem (i32.const 0) $deeper)
  (func $deeper (call_indirect (type $f) (i32.const 0)))
  (func (export "_start")
    (call $deeper)))
