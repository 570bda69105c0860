;; Fills a table until it is refused more, and gives up.
(module
  (table $slots 1 funcref)
  (func $fill (export "_start")
    (block $refused
      (loop $more
        (br_if $refused
          (i32.eq (table.grow $slots (ref.null func) (i32.const 1024)) (i32.const -1)))
        (br $more)))
    unreachable))
