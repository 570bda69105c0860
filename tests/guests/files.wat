;; Does with files what its arguments say, and prints for each what became of it: the letter and
;; the error number. Everything is beneath the first directory it was given; what has two paths
;; has the second beneath the second directory.
;;
;;   r PATH         reads a file and prints it        d PATH          makes a directory
;;   w PATH         makes a file with a word in it    u PATH          deletes a file
;;   t PATH         cuts a file opened for reading    l TARGET PATH   makes a link
;;   T PATH         cuts a file by opening it         s TARGET PATH   the same, and reads it
;;   h PATH PATH    makes a hard link                 m PATH PATH     moves
;;   o PATH         makes a file and keeps it open    k N             writes N x 4096 bytes to that
;;   O PATH         makes a file beneath the second directory, and leaves it open
;;   z N            gives it a size of N bytes        a N             writes N x 4096 bytes to its end
;;   R PATH         reads a file 5000 times           H PATH          opens a file until refused
;;   M N            makes N files                     D N             makes N directories, nested
;;   x K            opens a path that is none, the K-th of: 0 a NUL after a name, 1 no UTF-8,
;;                  2 a mebibyte of `a`, 3 a mebibyte of `../`, 4 no length, 5 NUL alone
(module
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink"
    (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link"
    (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename"
    (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $path_create_directory (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $path_unlink_file (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size"
    (func $fd_filestat_set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags"
    (func $fd_fdstat_set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (memory (export "memory") 40)
  (data (i32.const 32) "written\n")
  (data (i32.const 48) "inside.txt\00")
  (data (i32.const 64) "\ff\fe\80")
  (global $argument (mut i32) (i32.const 1))
  (global $kept (mut i32) (i32.const 0))

  ;; The next argument, or 0.
  (func $next (result i32)
    (if (i32.ge_u (global.get $argument) (i32.load (i32.const 16))) (then (return (i32.const 0))))
    (i32.load (i32.add (i32.const 1024) (i32.mul (global.get $argument) (i32.const 4))))
    (global.set $argument (i32.add (global.get $argument) (i32.const 1))))
  (func $length (param $text i32) (result i32)
    (local $at i32)
    (local.set $at (local.get $text))
    (block $end
      (loop $on
        (br_if $end (i32.eqz (i32.load8_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $on)))
    (i32.sub (local.get $at) (local.get $text)))
  (func $number (param $text i32) (result i32)
    (local $value i32)
    (block $end
      (loop $on
        (br_if $end (i32.eqz (i32.load8_u (local.get $text))))
        (local.set $value (i32.add (i32.mul (local.get $value) (i32.const 10))
          (i32.sub (i32.load8_u (local.get $text)) (i32.const 48))))
        (local.set $text (i32.add (local.get $text) (i32.const 1)))
        (br $on)))
    (local.get $value))
  (func $print (param $text i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $say (param $letter i32) (param $error i32)
    (i32.store8 (i32.const 80) (local.get $letter))
    (i32.store8 (i32.const 81) (i32.const 32))
    (i32.store8 (i32.const 82)
      (i32.add (i32.const 48) (i32.div_u (local.get $error) (i32.const 10))))
    (i32.store8 (i32.const 83)
      (i32.add (i32.const 48) (i32.rem_u (local.get $error) (i32.const 10))))
    (i32.store8 (i32.const 84) (i32.const 10))
    (call $print (i32.const 80) (i32.const 5)))

  ;; Opens beneath a directory, follows links, and leaves the descriptor at 24.
  (func $open_at
    (param $dir i32) (param $path i32) (param $length i32) (param $flags i32) (param $rights i64)
    (result i32)
    (call $path_open (local.get $dir) (i32.const 1) (local.get $path) (local.get $length)
      (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 24)))
  (func $open (param $path i32) (param $flags i32) (param $rights i64) (result i32)
    (call $open_at (i32.const 3) (local.get $path) (call $length (local.get $path))
      (local.get $flags) (local.get $rights)))

  (func $read (param $path i32) (result i32)
    (local $error i32)
    (local.set $error (call $open (local.get $path) (i32.const 0) (i64.const 2)))
    (if (local.get $error) (then (return (local.get $error))))
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (i32.const 4096))
    (local.set $error
      (call $fd_read (i32.load (i32.const 24)) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $fd_close (i32.load (i32.const 24))))
    (if (i32.eqz (local.get $error))
      (then (call $print (i32.const 65536) (i32.load (i32.const 8)))))
    (local.get $error))
  (func $write (param $path i32) (result i32)
    (local $error i32)
    (local.set $error (call $open (local.get $path) (i32.const 9) (i64.const 64)))
    (if (local.get $error) (then (return (local.get $error))))
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4) (i32.const 8))
    (local.set $error
      (call $fd_write (i32.load (i32.const 24)) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $fd_close (i32.load (i32.const 24))))
    (local.get $error))
  (func $fill (param $pieces i32) (result i32)
    (local $error i32)
    (block $end
      (loop $on
        (br_if $end (i32.eqz (local.get $pieces)))
        (local.set $pieces (i32.sub (local.get $pieces) (i32.const 1)))
        ;; The first list is empty.
        (i32.store (i32.const 96) (i32.const 0))
        (i32.store (i32.const 100) (i32.const 0))
        (i32.store (i32.const 104) (i32.const 65536))
        (i32.store (i32.const 108) (i32.const 4096))
        (local.set $error
          (call $fd_write (global.get $kept) (i32.const 96) (i32.const 2) (i32.const 8)))
        (br_if $on (i32.eqz (local.get $error)))))
    (local.get $error))
  (func $read_often (param $path i32) (result i32)
    (local $left i32)
    (local.set $left (i32.const 5000))
    (loop $on
      (drop (call $read (local.get $path)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $on (local.get $left)))
    (i32.const 0))
  (func $hoard (param $path i32) (result i32)
    (local $error i32)
    (loop $on
      (local.set $error (call $open (local.get $path) (i32.const 0) (i64.const 2)))
      (br_if $on (i32.eqz (local.get $error))))
    (local.get $error))
  ;; Files `f0000000` and so on.
  (func $many (param $count i32) (result i32)
    (local $at i32) (local $rest i32) (local $number i32) (local $error i32)
    (block $end
      (loop $on
        (br_if $end (i32.eq (local.get $number) (local.get $count)))
        (i32.store8 (i32.const 128) (i32.const 102))
        (local.set $rest (local.get $number))
        (local.set $at (i32.const 135))
        (loop $digits
          (i32.store8 (local.get $at)
            (i32.add (i32.const 48) (i32.rem_u (local.get $rest) (i32.const 10))))
          (local.set $rest (i32.div_u (local.get $rest) (i32.const 10)))
          (local.set $at (i32.sub (local.get $at) (i32.const 1)))
          (br_if $digits (i32.ne (local.get $at) (i32.const 128))))
        (local.set $number (i32.add (local.get $number) (i32.const 1)))
        (local.set $error
          (call $open_at (i32.const 3) (i32.const 128) (i32.const 8) (i32.const 5) (i64.const 64)))
        (br_if $end (local.get $error))
        (drop (call $fd_close (i32.load (i32.const 24))))
        (br $on)))
    (local.get $error))
  (func $deep (param $count i32) (result i32)
    (local $dir i32) (local $error i32)
    (local.set $dir (i32.const 3))
    (i32.store8 (i32.const 128) (i32.const 100))
    (block $end
      (loop $on
        (br_if $end (i32.eqz (local.get $count)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (local.set $error
          (call $path_create_directory (local.get $dir) (i32.const 128) (i32.const 1)))
        (br_if $end (local.get $error))
        (local.set $error
          (call $open_at (local.get $dir) (i32.const 128) (i32.const 1) (i32.const 2) (i64.const 2)))
        (br_if $end (local.get $error))
        (if (i32.ne (local.get $dir) (i32.const 3))
          (then (drop (call $fd_close (local.get $dir)))))
        (local.set $dir (i32.load (i32.const 24)))
        (br $on)))
    (local.get $error))
  (func $no_path (param $which i32) (result i32)
    (local $at i32)
    (if (i32.eq (local.get $which) (i32.const 0))
      (then (return (call $open_at (i32.const 3)
        (i32.const 48) (i32.const 11) (i32.const 0) (i64.const 2)))))
    (if (i32.eq (local.get $which) (i32.const 1))
      (then (return (call $open_at (i32.const 3)
        (i32.const 64) (i32.const 3) (i32.const 0) (i64.const 2)))))
    (if (i32.eq (local.get $which) (i32.const 4))
      (then (return (call $open_at (i32.const 3)
        (i32.const 48) (i32.const 0) (i32.const 0) (i64.const 2)))))
    (if (i32.eq (local.get $which) (i32.const 5))
      (then (return (call $open_at (i32.const 3)
        (i32.const 58) (i32.const 1) (i32.const 0) (i64.const 2)))))
    (memory.fill (i32.const 1048576) (i32.const 97) (i32.const 1048576))
    (if (i32.eq (local.get $which) (i32.const 3))
      (then
        (local.set $at (i32.const 1048576))
        (loop $on
          (i32.store8 (local.get $at) (i32.const 46))
          (i32.store8 (i32.add (local.get $at) (i32.const 1)) (i32.const 46))
          (i32.store8 (i32.add (local.get $at) (i32.const 2)) (i32.const 47))
          (local.set $at (i32.add (local.get $at) (i32.const 3)))
          (br_if $on (i32.lt_u (local.get $at) (i32.const 2097150))))))
    (call $open_at (i32.const 3)
      (i32.const 1048576) (i32.const 1048576) (i32.const 0) (i64.const 2)))

  (func $do (param $letter i32) (param $one i32) (result i32)
    (local $error i32) (local $two i32) (local $long i32)
    (local.set $long (call $length (local.get $one)))
    (if (i32.eq (local.get $letter) (i32.const 114)) ;; r
      (then (return (call $read (local.get $one)))))
    (if (i32.eq (local.get $letter) (i32.const 119)) ;; w
      (then (return (call $write (local.get $one)))))
    (if (i32.eq (local.get $letter) (i32.const 116)) ;; t
      (then
        (local.set $error (call $open (local.get $one) (i32.const 0) (i64.const 2)))
        (if (local.get $error) (then (return (local.get $error))))
        (return (call $fd_filestat_set_size (i32.load (i32.const 24)) (i64.const 0)))))
    (if (i32.eq (local.get $letter) (i32.const 84)) ;; T
      (then (return (call $open (local.get $one) (i32.const 8) (i64.const 2)))))
    (if (i32.eq (local.get $letter) (i32.const 100)) ;; d
      (then (return
        (call $path_create_directory (i32.const 3) (local.get $one) (local.get $long)))))
    (if (i32.eq (local.get $letter) (i32.const 117)) ;; u
      (then (return (call $path_unlink_file (i32.const 3) (local.get $one) (local.get $long)))))
    (if (i32.eq (local.get $letter) (i32.const 111)) ;; o
      (then
        (local.set $error (call $open (local.get $one) (i32.const 9) (i64.const 64)))
        (global.set $kept (i32.load (i32.const 24)))
        (return (local.get $error))))
    (if (i32.eq (local.get $letter) (i32.const 79)) ;; O
      (then (return (call $open_at (i32.const 4) (local.get $one) (local.get $long)
        (i32.const 9) (i64.const 64)))))
    (if (i32.eq (local.get $letter) (i32.const 107)) ;; k
      (then (return (call $fill (call $number (local.get $one))))))
    (if (i32.eq (local.get $letter) (i32.const 97)) ;; a
      (then
        (drop (call $fd_fdstat_set_flags (global.get $kept) (i32.const 1)))
        (return (call $fill (call $number (local.get $one))))))
    (if (i32.eq (local.get $letter) (i32.const 122)) ;; z
      (then (return (call $fd_filestat_set_size (global.get $kept)
        (i64.extend_i32_u (call $number (local.get $one)))))))
    (if (i32.eq (local.get $letter) (i32.const 82)) ;; R
      (then (return (call $read_often (local.get $one)))))
    (if (i32.eq (local.get $letter) (i32.const 72)) ;; H
      (then (return (call $hoard (local.get $one)))))
    (if (i32.eq (local.get $letter) (i32.const 77)) ;; M
      (then (return (call $many (call $number (local.get $one))))))
    (if (i32.eq (local.get $letter) (i32.const 68)) ;; D
      (then (return (call $deep (call $number (local.get $one))))))
    (if (i32.eq (local.get $letter) (i32.const 120)) ;; x
      (then (return (call $no_path (call $number (local.get $one))))))
    (local.set $two (call $next))
    (if (i32.eq (local.get $letter) (i32.const 104)) ;; h
      (then (return (call $path_link (i32.const 3) (i32.const 0) (local.get $one) (local.get $long)
        (i32.const 4) (local.get $two) (call $length (local.get $two))))))
    (if (i32.eq (local.get $letter) (i32.const 109)) ;; m
      (then (return (call $path_rename (i32.const 3) (local.get $one) (local.get $long)
        (i32.const 4) (local.get $two) (call $length (local.get $two))))))
    ;; l or s
    (local.set $error (call $path_symlink (local.get $one) (local.get $long)
      (i32.const 3) (local.get $two) (call $length (local.get $two))))
    (if (i32.and (i32.eqz (local.get $error)) (i32.eq (local.get $letter) (i32.const 115)))
      (then (return (call $read (local.get $two)))))
    (local.get $error))

  (func (export "_start")
    (local $word i32)
    (drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
    (drop (call $args_get (i32.const 1024) (i32.const 8192)))
    (block $end
      (loop $on
        (local.set $word (call $next))
        (br_if $end (i32.eqz (local.get $word)))
        (call $say (i32.load8_u (local.get $word))
          (call $do (i32.load8_u (local.get $word)) (call $next)))
        (br $on)))))
