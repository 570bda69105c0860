;; Two memories, each below a limit of 1 MiB, together above it: 10 pages and then 9.
(module
  (memory $first (export "memory") 1)
  (memory $second 1)
  (func (export "_start")
    (if (i32.eq (memory.grow $first (i32.const 9)) (i32.const -1)) (then unreachable))
    (if (i32.eq (memory.grow $second (i32.const 8)) (i32.const -1)) (then unreachable))))
