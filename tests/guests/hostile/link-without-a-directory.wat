;; Makes links, renames and deletes where it has no directory.
;; outcome: succeeded
(module
  (import "wasi_snapshot_preview1" "path_symlink"
    (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename"
    (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $path_unlink_file (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $path_create_directory (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "name")
  (func (export "_start")
    (if (i32.eqz (call $path_symlink (i32.const 1024) (i32.const 4) (i32.const 3) (i32.const 1024) (i32.const 4))) (then (unreachable)))
    (if (i32.eqz (call $path_rename (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 3) (i32.const 1024) (i32.const 4))) (then (unreachable)))
    (if (i32.eqz (call $path_unlink_file (i32.const 3) (i32.const 1024) (i32.const 4))) (then (unreachable)))
    (if (i32.eqz (call $path_create_directory (i32.const 3) (i32.const 1024) (i32.const 4))) (then (unreachable)))))
