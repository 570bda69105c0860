;; Computes until its fuel is used up.
;; outcome: out_of_fuel
;; says: limit: fuel 10 M
;; limits: {"timeout": "30s", "fuel": "10M"}
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $more (br $more))))
