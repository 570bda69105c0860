;; Traps while it is instantiated, before its entry is even called.
(module
  (func $begin unreachable)
  (func (export "_start"))
  (start $begin))
