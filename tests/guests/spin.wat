;; Computes for ever.
(module
  (func $turn (export "_start") (loop $again (br $again))))
