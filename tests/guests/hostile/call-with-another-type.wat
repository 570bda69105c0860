;; Calls a function as if it were of another type.
;; outcome: trapped
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (type $f (func (param i64) (result i64)))
  (elem (i32.const 0) $g)
  (func $g)
  (func (export "_start")
    (drop (call_indirect (type $f) (i64.const 1) (i32.const 0)))))
