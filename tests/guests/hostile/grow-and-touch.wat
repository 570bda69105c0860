;; Takes all the memory that it may have, writes to each page, and ends well.
;; outcome: succeeded
;; limits: {"memory": "32MiB"}
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (local $at i32)
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (local.set $at (i32.mul (memory.size) (i32.const 65536)))
    (loop $page
      (local.set $at (i32.sub (local.get $at) (i32.const 4096)))
      (i32.store (local.get $at) (i32.const 1))
      (br_if $page (local.get $at)))))
