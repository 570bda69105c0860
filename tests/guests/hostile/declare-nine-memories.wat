;; Declares more memories than a job may have.
;; rejected: more than a job may have: defined memories count of 9
(module
  (memory 1)
  (memory 1)
  (memory 1)
  (memory 1)
  (memory 1)
  (memory 1)
  (memory 1)
  (memory 1)
  (memory 1)
  (func (export "_start")
    (nop)))
