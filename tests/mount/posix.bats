# SPDX-License-Identifier: MIT
# What POSIX asks of a filesystem, as far as it fits: the cases are in posix.c, which also says where they
# come from and which do not fit.
load lib.bash

setup() { setup_store; }
teardown() { cleanup; }

posix() { "$(helper posix)" "$MNT" "$1"; }

@test "posix: ENOTDIR, ENAMETOOLONG, ENOENT and EFAULT, of every call with a path" { posix paths; }
@test "posix: EISDIR, ENOTDIR, EEXIST, and the flags of open" { posix kinds; }
@test "posix: symbolic links from outside, EXDEV, ELOOP" { posix links; }
@test "posix: what would change an event or take it away is EPERM" { posix refused; }
@test "posix: mkdir, rmdir, readdir, telldir, seekdir" { posix directories; }
@test "posix: O_APPEND appends, whatever the offset; descriptors share" { posix append; }
@test "posix: lseek, pread, the end of the file, a private mapping" { posix offsets; }
@test "posix: many processes append, others read whole lines in order" { posix writers; }
@test "posix: EFBIG, EFAULT, EBADF, nothing of it stored" { posix limits; }
@test "posix: locks hold between processes" { posix locks; }

@test "posix: who may what, by mode and owner" {
    need_root
    posix permissions
}

@test "posix: a read-only mount is EROFS" {
    echo '{"n":1}' >>"$MNT/entities/a/t.jsonl"
    remount -o ro
    posix read-only
}
