;; Declares a 64-bit memory of a tebibyte.
;; rejected: more than a job may have: memory has a minimum byte size of 1099511627776
(module
  (memory (export "memory") i64 16777216)
  (func (export "_start")
    (nop)))
