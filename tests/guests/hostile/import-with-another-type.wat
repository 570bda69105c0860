;; Imports a function of WASI as if it were of another type.
;; rejected: does not fit the host
(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i64) (result i64)))
  (func (export "_start")
    (nop)))
