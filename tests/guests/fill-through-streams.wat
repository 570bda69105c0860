;; A WASI 0.2 command that fills the first directory it was given: 64 pieces of 4096 bytes through a
;; stream, then a piece at once, then a size, then through a stream at the end. It succeeds if each
;; is refused for want of space, and the outer error says so too; what was refused otherwise, or
;; not at all, makes it fail.
(component
  (import "wasi:io/error@0.2.6" (instance $error
    (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-resource))
  (import "wasi:io/streams@0.2.6" (instance $streams
    (alias outer 1 $error-resource (type $e'))
    (export "error" (type $e (eq $e')))
    (export "output-stream" (type $o (sub resource)))
    (type $failure' (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $failure (eq $failure')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $o)) (param "contents" (list u8))
        (result (result (error $failure)))))))
  (alias export $streams "output-stream" (type $output-stream))
  (import "wasi:filesystem/types@0.2.6" (instance $types
    (alias outer 1 $error-resource (type $e'))
    (export "error" (type $e (eq $e')))
    (alias outer 1 $output-stream (type $o'))
    (export "output-stream" (type $o (eq $o')))
    (export "descriptor" (type $d (sub resource)))
    (type $code' (enum
      "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist"
      "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io"
      "is-directory" "loop" "too-many-links" "message-size" "name-too-long" "no-device" "no-entry"
      "no-lock" "insufficient-memory" "insufficient-space" "not-directory" "not-empty"
      "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted" "pipe"
      "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $code (eq $code')))
    (type $path' (flags "symlink-follow"))
    (export "path-flags" (type $path (eq $path')))
    (type $open' (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open (eq $open')))
    (type $flags' (flags "read" "write" "file-integrity-sync" "data-integrity-sync"
      "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $flags (eq $flags')))
    (type $size' u64)
    (export "filesize" (type $size (eq $size')))
    (export "filesystem-error-code"
      (func (param "err" (borrow $e)) (result (option $code))))
    (export "[method]descriptor.open-at"
      (func (param "self" (borrow $d)) (param "path-flags" $path) (param "path" string)
        (param "open-flags" $open) (param "flags" $flags)
        (result (result (own $d) (error $code)))))
    (export "[method]descriptor.write"
      (func (param "self" (borrow $d)) (param "buffer" (list u8)) (param "offset" $size)
        (result (result $size (error $code)))))
    (export "[method]descriptor.set-size"
      (func (param "self" (borrow $d)) (param "size" $size) (result (result (error $code)))))
    (export "[method]descriptor.write-via-stream"
      (func (param "self" (borrow $d)) (param "offset" $size)
        (result (result (own $o) (error $code)))))
    (export "[method]descriptor.append-via-stream"
      (func (param "self" (borrow $d)) (result (result (own $o) (error $code)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.6" (instance $preopens
    (alias outer 1 $descriptor (type $d'))
    (export "descriptor" (type $d (eq $d')))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))

  (core module $memory
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 65536))
    (data (i32.const 64) "stream")
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (global.get $free)
      (global.set $free
        (i32.add (global.get $free)
          (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))))))
  (core instance $memory (instantiate $memory))
  (core func $write-and-flush
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
      (memory $memory "memory")))
  (core func $code-of
    (canon lower (func $types "filesystem-error-code") (memory $memory "memory")))
  (core func $open-at
    (canon lower (func $types "[method]descriptor.open-at") (memory $memory "memory")))
  (core func $write
    (canon lower (func $types "[method]descriptor.write") (memory $memory "memory")))
  (core func $set-size
    (canon lower (func $types "[method]descriptor.set-size") (memory $memory "memory")))
  (core func $write-via-stream
    (canon lower (func $types "[method]descriptor.write-via-stream") (memory $memory "memory")))
  (core func $append-via-stream
    (canon lower (func $types "[method]descriptor.append-via-stream") (memory $memory "memory")))
  (core func $get-directories
    (canon lower (func $preopens "get-directories")
      (memory $memory "memory") (realloc (func $memory "realloc"))))

  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "write-and-flush" (func $write-and-flush (param i32 i32 i32 i32)))
    (import "host" "code-of" (func $code-of (param i32 i32)))
    (import "host" "open-at" (func $open-at (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i64 i32)))
    (import "host" "set-size" (func $set-size (param i32 i64 i32)))
    (import "host" "write-via-stream" (func $write-via-stream (param i32 i64 i32)))
    (import "host" "append-via-stream" (func $append-via-stream (param i32 i32)))
    (import "host" "get-directories" (func $get-directories (param i32)))
    (global $no-space i32 (i32.const 23))
    ;; Traps unless the result at 0 is an error of that code.
    (func $refused
      (if (i32.ne (i32.load8_u (i32.const 0)) (i32.const 1)) (then unreachable)))
    ;; Writes pieces until one is refused; traps if none is, or not for want of space.
    (func $fill (param $stream i32)
      (local $left i32)
      (local.set $left (i32.const 64))
      (loop $on
        (call $write-and-flush (local.get $stream) (i32.const 8192) (i32.const 4096) (i32.const 0))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (if (i32.eqz (local.get $left)) (then unreachable))
        (br_if $on (i32.eqz (i32.load8_u (i32.const 0)))))
      ;; last-operation-failed, with an error of the code.
      (if (i32.load8_u (i32.const 4)) (then unreachable))
      (call $code-of (i32.load (i32.const 8)) (i32.const 16))
      (if (i32.ne (i32.load8_u (i32.const 16)) (i32.const 1)) (then unreachable))
      (if (i32.ne (i32.load8_u (i32.const 17)) (global.get $no-space)) (then unreachable)))
    (func (export "run") (result i32)
      (local $file i32)
      (call $get-directories (i32.const 32))
      ;; Made or cut, to be written.
      (call $open-at (i32.load (i32.load (i32.const 32))) (i32.const 0)
        (i32.const 64) (i32.const 6) (i32.const 9) (i32.const 2) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (local.set $file (i32.load (i32.const 4)))
      (call $write-via-stream (local.get $file) (i64.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (call $fill (i32.load (i32.const 4)))
      ;; At once, after all that is there.
      (call $write (local.get $file) (i32.const 8192) (i32.const 4096) (i64.const 20480) (i32.const 0))
      (call $refused)
      (if (i32.ne (i32.load8_u (i32.const 8)) (global.get $no-space)) (then unreachable))
      ;; Where there is something already, it may.
      (call $write (local.get $file) (i32.const 8192) (i32.const 4096) (i64.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (call $set-size (local.get $file) (i64.const 1_000_000_000_000) (i32.const 0))
      (call $refused)
      (if (i32.ne (i32.load8_u (i32.const 1)) (global.get $no-space)) (then unreachable))
      (call $append-via-stream (local.get $file) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (call $fill (i32.load (i32.const 4)))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "memory" (memory $memory "memory"))
      (export "write-and-flush" (func $write-and-flush))
      (export "code-of" (func $code-of))
      (export "open-at" (func $open-at))
      (export "write" (func $write))
      (export "set-size" (func $set-size))
      (export "write-via-stream" (func $write-via-stream))
      (export "append-via-stream" (func $append-via-stream))
      (export "get-directories" (func $get-directories))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $exported)))
