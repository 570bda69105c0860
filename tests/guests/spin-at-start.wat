;; Computes for ever while it is instantiated, before its entry is even called.
(module
  (func $begin (loop $again (br $again)))
  (func (export "_start"))
  (start $begin))
