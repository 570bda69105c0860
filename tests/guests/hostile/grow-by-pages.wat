;; Takes memory page by page until it is refused, and gives up.
;; outcome: out_of_memory
;; says: limit: memory 16 MiB
;; limits: {"memory": "16MiB"}
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (unreachable)))
