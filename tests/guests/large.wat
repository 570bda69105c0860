;; Asks for 128 MiB before its first instruction.
(module
  (memory (export "memory") 2048)
  (func (export "_start")))
