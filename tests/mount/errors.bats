# SPDX-License-Identifier: MIT
# Every row of the table of errors, through the mount: the errno, what is stored, what rejected.jsonl says.
load lib.bash

setup() {
    setup_store
    E=$MNT/entities F=$MNT/events.jsonl
}
teardown() { cleanup; }

# bad ERRNO REASON CHUNKS: written to F, the last write fails so, and nothing of it is stored.
bad() {
    local errno=$1 reason=$2 before
    shift 2
    before=$(cksum <"$F")
    same "$(drive write "$F" "$@")" "$errno" "$*" || return 1
    same "$(rejected .reason) $(rejected .errno)" "$reason $errno" "$*" || return 1
    same "$(cksum <"$F")" "$before" "$* stored something"
}
ev() { printf '{"entity":"e","type":"t"%s}\\n' "$1"; }

@test "EINVAL: not JSON" {
    bad EINVAL BAD_JSON '{"entity":"e","type":"t","data":tru}\n'
    bad EINVAL BAD_JSON '{"entity":"e","type":"t","data":01}\n'
    bad EINVAL BAD_JSON "{'entity':1}\n"
    bad EINVAL BAD_JSON 'hello\n'
    bad EINVAL BAD_JSON '{"entity":"e",}\n'
    bad EINVAL BAD_UTF8 '{"entity":"e","type":"t","data":"\xff"}\n'
    bad EINVAL LINE_BREAK '{"entity":"e","type":"t"\n'
    contains "$(rejected .value)" '{"entity":"e","type":"t"'
}

@test "EINVAL: not an event" {
    bad EINVAL NOT_EVENT '17\n'
    bad EINVAL NOT_EVENT '"text"\n'
    bad EINVAL NO_ENTITY '{"type":"t"}\n'
    bad EINVAL NO_TYPE '{"entity":"e"}\n'
    bad EINVAL UNKNOWN_NAME "$(ev ',"datum":1')"
    bad EINVAL GIVEN_TWICE "$(ev ',"data":1,"data":2')"
    bad EINVAL GIVEN_TWICE "$(ev ',"data":1,"payload":2')"
    bad EINVAL BAD_FIELD "$(ev ',"meta":[1]')"
    bad EINVAL BAD_FIELD "$(ev ',"expected_version":-1')"
    bad EINVAL BAD_FIELD "$(ev ',"expected_version":"1"')"
    bad EINVAL BAD_TIME "$(ev ',"time":"yesterday"')"
    bad EINVAL BAD_TIME "$(ev ',"time":"2026-02-30T00:00:00Z"')"
    bad EINVAL BAD_NAME '{"entity":"","type":"t"}\n'
    bad EINVAL BAD_NAME '{"entity":"a\\u0000b","type":"t"}\n'
    bad EINVAL BAD_NAME '{"entity":"\\ud800","type":"t"}\n'
    bad EINVAL BAD_NAME "$(ev ',"id":""')"
}

@test "EINVAL: contradicts its file" {
    echo '{}' >>"$E/a/b/t.jsonl"
    before=$(cksum <"$F")
    same "$(drive write "$E/a/b/events.jsonl" '{"entity":"a/c","type":"t"}\n')" EINVAL
    same "$(rejected .reason)" WRONG_PLACE
    same "$(drive write "$E/a/b/events.jsonl" '{"entity":"a/bc","type":"t"}\n')" EINVAL
    same "$(drive write "$E/a/b/events.jsonl" '{"entity":"a","type":"t"}\n')" EINVAL
    same "$(drive write "$MNT/types/t/events.jsonl" '{"entity":"a","type":"u"}\n')" EINVAL
    same "$(rejected .reason)" WRONG_PLACE
    same "$(cksum <"$F")" "$before"
}

@test "a bad value in the middle: all before it is stored, the write is short, the next one fails" {
    good='{"entity":"e","type":"t"}\n'
    n=$(printf "$good" | wc -c)
    same "$(drive write "$F" "$good${good}oops\\n$good" "oops\\n$good")" "$((2 * n)) EINVAL"
    same "$(lines "$F")" 2
    # One entry, made where the value was met: naive writers never come back for the errno.
    same "$(rejected .pos) $(lines "$MNT/.evfs/rejected.jsonl")" "$((2 * n)) 1"
    # The descriptor is not lost: a write that begins with a good value goes on.
    same "$(drive write "$F" "oops\\n" "$good")" "EINVAL $n"
    # A bad value that began in an earlier write: nothing is interpreted any more until close.
    same "$(drive write "$F" "$good{\"entity\":" 'oops}\n' "$good" fsync "$good")" "$((n + 10)) EINVAL EINVAL 0 EINVAL"
    same "$(lines "$F")" 4
    contains "$(rejected .value)" '{"entity":'
    # As programs meet it: cat says which errno, and the input before is there.
    printf '{"n":1}\n{"n":2}\n{"n":}\n{"n":4}\n' >"$T/in"
    err=$(cat "$T/in" 2>&1 >>"$E/c/t.jsonl") && false
    contains "$err" 'Invalid argument'
    same "$(lines "$E/c/t.jsonl")" 2
    err=$( (echo oops >>"$E/c/t.jsonl") 2>&1) && false
    contains "$err" 'Invalid argument'
    check_log
}

@test "an unfinished value: fsync refuses, close rejects" {
    same "$(drive write "$E/u/t.jsonl" '{"a":1}\n{"b":' fsync '2}\n' fsync)" '13 EINVAL 3 0'
    same "$(cat "$E/u/t.jsonl")" '{"a":1}
{"b":2}'
    same "$(drive write "$E/u/t.jsonl" '{"c":')" 5
    wait_for 10 grep -q UNFINISHED "$MNT/.evfs/rejected.jsonl"
    same "$(rejected .value)" '{"c":'
    same "$(lines "$E/u/t.jsonl")" 2
}

@test "rejected.jsonl says who, where, what, and stays small" {
    bad EINVAL BAD_JSON 'oops\n'
    same "$(rejected '.uid')" "$(id -u)"
    jq -e '.pid > 1 and (.path | endswith("events.jsonl")) and (.text | length > 3) and (.time | endswith("Z"))' \
        <<<"$(tail -n 1 "$MNT/.evfs/rejected.jsonl")"
    contains "$(rejected .value)" oops
    remount
    same "$(rejected .reason)" BAD_JSON
    head -c 20000 /dev/zero | tr '\0' x >"$T/x"
    python3 -c '
import os, sys
x = open(sys.argv[2], "rb").read()
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for i in range(1500):
    try: os.write(fd, x + b"\n"); sys.exit("taken")
    except OSError: pass' "$F" "$T/x"
    size=$(wc -c <"$MNT/.evfs/rejected.jsonl")
    [ "$size" -gt 100000 ] && [ "$size" -le 1100000 ]
    jq -e . "$MNT/.evfs/rejected.jsonl" >/dev/null
    [ "$(rejected '.value | length')" -le 4096 ]
}

@test "rejected.jsonl: a reader sees its own" {
    need_user_drive
    chmod 777 "$MNT"
    bad EINVAL BAD_JSON 'roots\n'
    same "$(user_drive 65534 write "$F" 'theirs\n')" EINVAL
    same "$(as_user 65534 cat "$MNT/.evfs/rejected.jsonl" | jq -r .value | tr -d '\n')" theirs
    same "$(lines "$MNT/.evfs/rejected.jsonl")" 2
}

@test "ESTALE: expected_version is not the newest" {
    bad ESTALE STALE "$(ev ',"expected_version":1')"
    printf "$(ev ',"expected_version":0')" >>"$F"
    bad ESTALE STALE "$(ev ',"expected_version":0')"
    bad ESTALE STALE "$(ev ',"expected_version":2')"
    # In the same write the newest is what came before.
    n=$(printf "$(ev ',"expected_version":1')" | wc -c)
    same "$(drive write "$F" "$(ev ',"expected_version":1')$(ev ',"expected_version":2')$(ev ',"expected_version":2')")" $((2 * n))
    same "$(lines "$F")" 3
    err=$( (printf "$(ev ',"expected_version":9')" | cat >>"$F") 2>&1) && false
    contains "$err" 'Stale file handle'
}

@test "EEXIST: the same id with other content" {
    printf "$(ev ',"id":"x","data":1')" >>"$F"
    bad EEXIST ID_TAKEN "$(ev ',"id":"x","data":2')"
    bad EEXIST ID_TAKEN "$(ev ',"id":"x","data": 1,"meta":{}')"
    bad EEXIST ID_TAKEN '{"entity":"e","type":"other","id":"x","data":1}\n'
    bad EEXIST ID_TAKEN '{"entity":"e","type":"t","id":"x","data":1,"time":"2020-01-01T00:00:00Z"}\n'
    printf "$(ev ',"id":"x","data":1')" >>"$F"
    same "$(lines "$F")" 1
    # Twice in one transaction.
    bad EEXIST ID_TAKEN '[{"entity":"e","type":"t","id":"y","data":1},{"entity":"e","type":"t","id":"y","data":2}]\n'
}

@test "EMSGSIZE: a value of 1 MiB is taken, a larger one is not; nesting" {
    json() { python3 -c 'import sys; sys.stdout.write("\"" + "x" * (int(sys.argv[1]) - 2) + "\"\n")' "$1"; }
    json 1048576 >>"$E/big/t.jsonl"
    same "$(stat -c %s "$E/big/t.jsonl")" 1048577
    json 1048577 >"$T/large"
    err=$(cat "$T/large" 2>&1 >>"$E/big/t.jsonl") && false
    contains "$err" 'Message too long'
    same "$(rejected .reason)" TOO_LARGE
    same "$(lines "$E/big/t.jsonl")" 1
    nest() { python3 -c 'import sys; n = int(sys.argv[1]); print("[" * n + "]" * n)' "$1"; }
    # 128 levels an event, of which its own object is one: so any stored line can be appended again.
    nest 127 >>"$E/deep/t.jsonl"
    cat "$E/deep/events.jsonl" >>"$F"
    nest 128 >"$T/deep"
    same "$(drive write "$E/deep/t.jsonl" "@$T/deep")" EMSGSIZE
    same "$(rejected .reason)" TOO_DEEP
    same "$(lines "$E/deep/t.jsonl")" 1
    check_log
}

@test "EMSGSIZE: a transaction of 65,536 events is taken, a larger one is not; 16 MiB" {
    many() { python3 -c 'import sys
print("[" + ",".join(["{\"entity\":\"m\",\"type\":\"t\"}"] * int(sys.argv[1])) + "]")' "$1"; }
    many 65536 >>"$F"
    same "$(lines "$F")" 65536
    many 65537 >"$T/many"
    err=$(cat "$T/many" 2>&1 >>"$F") && false
    contains "$err" 'Message too long'
    same "$(rejected .reason)" TOO_MANY
    large() { python3 -c 'import sys
print("[" + ",\n".join(["{\"entity\":\"m\",\"type\":\"t\",\"data\":\"%s\"}" % ("x" * 1000000)] * int(sys.argv[1])) + "]")' "$1"; }
    large 16 >>"$F"
    same "$(lines "$F")" 65552
    large 17 >"$T/large"
    err=$(cat "$T/large" 2>&1 >>"$F") && false
    contains "$err" 'Message too long'
    same "$(rejected .reason)" TOO_LARGE
    same "$(check_log)" 65552
}

@test "EMSGSIZE: more types than the limit" {
    stop_store
    start_store -o schemas=off # else a directory and a file each are made, and removed
    python3 -c 'for i in range(65536): print("{\"entity\":\"e\",\"type\":\"t%d\"}" % i)' >>"$F"
    bad EMSGSIZE TOO_MANY '{"entity":"e","type":"one more"}\n'
    printf '{"entity":"e","type":"t7"}\n' >>"$F"
    same "$(lines "$F")" 65537
}

@test "ENAMETOOLONG: names, whatever way the event comes" {
    long() { printf "%$1s" '' | tr ' ' "${2:-x}"; }
    bad ENAMETOOLONG NAME_TOO_LONG "{\"entity\":\"$(long 200)/$(long 200)/$(long 200)/$(long 200)/$(long 221)\",\"type\":\"t\"}\n"
    bad ENAMETOOLONG NAME_TOO_LONG "{\"entity\":\"$(long 250)\",\"type\":\"t\"}\n"
    bad ENAMETOOLONG NAME_TOO_LONG "{\"entity\":\"a$(printf '/a%.0s' {1..32})\",\"type\":\"t\"}\n"
    bad ENAMETOOLONG NAME_TOO_LONG "{\"entity\":\"e\",\"type\":\"$(long 129)\"}\n"
    bad ENAMETOOLONG NAME_TOO_LONG "{\"entity\":\"e\",\"type\":\"$(long 84 /)\"}\n"
    bad ENAMETOOLONG NAME_TOO_LONG "$(ev ",\"id\":\"$(long 129)\"")"
    same "$(drive write "$E/e/$(long 129).jsonl" '{}\n')" open:ENAMETOOLONG
    same "$(drive write "$E/$(long 250)/t.jsonl" '{}\n')" open:ENAMETOOLONG
    same "$(drive write "$E/a$(printf '/a%.0s' {1..32})/t.jsonl" '{}\n')" open:ENAMETOOLONG
    # The longest that are allowed.
    printf '{"entity":"%s","type":"%s","id":"%s"}\n' \
        "$(long 249)" "$(long 128)" "$(long 128)" >>"$F"
    printf '{"entity":"%s","type":"t"}\n' "$(long 200)/$(long 200)/$(long 200)/$(long 200)/$(long 220)" >>"$F"
    printf '{"entity":"%s","type":"t"}\n' "a$(printf '/a%.0s' {1..31})" >>"$F"
    same "$(lines "$F") $(lines "$E/$(long 249)/$(long 128).jsonl")" '3 1'
}

@test "ENOBUFS: unfinished values together, and everything is as before after the close" {
    r=$(drive pending "$F" 330)
    same "${r% *}" ENOBUFS
    [ "${r#* }" -ge 16 ]
    wait_for 20 jq -e '.pending_bytes == 0' "$MNT/.evfs/stats.json" >/dev/null
    same "$(lines "$F")" 0
    printf "$(ev)" >>"$F"
    same "$(lines "$F")" 1
}

@test "EACCES: the event's own entity belongs to somebody else" {
    need_user_drive
    chmod 777 "$MNT"
    mkdir -p "$E/acme" && install -d -o 1001 -g 1001 -m 700 "$E/acme"
    nobody() { user_drive 65534 "$@"; }
    same "$(nobody write "$F" '{"entity":"acme/1","type":"t"}\n')" EACCES
    same "$(rejected .reason)" DENIED
    same "$(nobody write "$F" '[{"entity":"open","type":"t"},{"entity":"acme","type":"t"}]\n')" EACCES
    same "$(nobody write "$E/acme/t.jsonl" '{}\n')" open:EACCES
    same "$(lines "$F")" 0
    same "$(nobody write "$F" '{"entity":"open","type":"t"}\n')" 29
    same "$(user_drive 1001 write "$F" '{"entity":"acme/1","type":"t"}\n')" 31
    same "$(jq -c '[.entity,.uid]' "$F" | tr '\n' ' ')" '["open",65534] ["acme/1",1001] '
    # What would show acme's events to those who may not read them there is closed to them.
    same "$(nobody call open "$F" RDONLY)" EACCES
    same "$(nobody call open "$MNT/types/t/events.jsonl" RDONLY)" EACCES
    same "$(nobody call open "$E/open/t.jsonl" RDONLY)" OK
    contains "$(cat "$MNT/.evfs/health")" acme
}

@test "EPERM: everything but appending, without a hang" {
    echo '{"n":1}' >>"$E/a/t.jsonl"
    before=$(cksum <"$F")
    f=$E/a/t.jsonl
    c() { timeout 20 python3 "$BATS_TEST_DIRNAME/drive.py" call "$@"; }
    for x in "open $f WRONLY" "open $f RDWR" "open $f WRONLY|APPEND|TRUNC" "open $f WRONLY|TRUNC|CREAT" "open $F WRONLY" \
        "truncate $f 0" "truncate $F 100" "ftruncate $f 0" "unlink $f" "unlink $F" "rename $f $E/a/u.jsonl" "rename $E/a $E/b" \
        "rename $F $MNT/x" "link $f $E/a/u.jsonl" "link $f $MNT/x" "symlink $E/a/l.jsonl target" "mknod $E/a/node.jsonl" \
        "mkfifo $E/a/fifo.jsonl" "chmod $f 600" "open $E/a/state.json WRONLY|APPEND" "open $MNT/README WRONLY|APPEND" \
        "open $MNT/.evfs/stats.json WRONLY|APPEND" "unlink $E/a/state.json"; do
        same "$(c $x)" EPERM "$x"
    done
    case $(id -u) in 0) same "$(c chown "$f" 1 1)" EPERM ;; esac
    # Said by the kernel or by us: any of these is sensible.
    for x in "fallocate $f" "setxattr $f" "getxattr $f" "symlink $E/link target" "mknod $MNT/node" "mkfifo $MNT/fifo" \
        "rmdir $E/a" "rmdir $E" "mkdir $E/a" "mkdir $MNT/dir" "open $MNT/new WRONLY|CREAT" "open $E/new.json WRONLY|CREAT" \
        "mmap-write $f" "rename $MNT/types $MNT/t" "unlink $E/a"; do
        case $(c $x) in
        EPERM | EBADF | EOPNOTSUPP | ENOTSUP | ENODEV | EEXIST | ENOTEMPTY | EACCES | EISDIR | EINVAL | ENOENT) ;;
        *) echo "$x: $(c $x)"; false ;;
        esac
    done
    same "$(c utime "$f")" OK
    err=$(rm "$f" 2>&1) && false
    contains "$err" 'Operation not permitted'
    err=$( (echo '{}' >"$f") 2>&1) && false
    same "$(cksum <"$F")" "$before"
    same "$(ls -A "$MNT" | wc -l | tr -d ' ')" 5
    health_ok
}

@test "ENOSPC: a full disk; the store goes on when there is room" {
    need_root
    stop_store
    mount -t tmpfs -o size=8m,mode=700 tmpfs "$DATA" || skip 'cannot mount a tmpfs'
    start_store
    python3 -c 'print("{\"entity\":\"e\",\"type\":\"t\",\"data\":\"%s\"}" % ("x" * 3000))' >"$T/ev"
    ok=0
    for _ in $(seq 4000); do
        cat "$T/ev" >>"$F" 2>"$T/err" || break
        ok=$((ok + 1))
    done
    [ $ok -gt 100 ] && [ $ok -lt 4000 ]
    contains "$(cat "$T/err")" 'No space left'
    same "$(drive write "$F" "@$T/ev")" ENOSPC
    same "$(lines "$F")" $ok
    check_log
    same "$(df --output=target "$F" | tail -n 1)" "$MNT"
    mount -o remount,size=16m "$DATA"
    printf "$(ev)" >>"$F"
    same "$(lines "$F")" $((ok + 1))
    drive write "$F" "$(ev)" fsync | grep -q ' 0$'
    health_ok
    stop_store
    "$EVFS_BIN" verify "$DATA"
    start_store
    same "$(check_log)" $((ok + 2))
    stop_store
}

@test "EIO, EROFS: after a failed write the store is read-only until it is opened again" {
    stop_store
    # A limit on the size of files stands for a disk that fails: not ENOSPC, and half a line may be there.
    : >"$LOG"
    (
        trap '' XFSZ
        ulimit -f 6000
        exec "$EVFS_BIN" mount -f "$DATA" "$MNT" >>"$LOG" 2>&1 3>&-
    ) 3>&- &
    PID=$!
    wait_for 30 mounted_or_dead
    mounted || skip "no mount below a limit of file sizes: $(tail -n 1 "$LOG")"
    python3 -c 'print("{\"entity\":\"e\",\"type\":\"t\",\"data\":\"%s\"}" % ("x" * 30000))' >"$T/ev"
    ok=0
    while [ $ok -lt 1000 ]; do
        r=$(drive write "$F" "@$T/ev")
        [ "$r" = $(stat -c %s "$T/ev") ] || break
        ok=$((ok + 1))
    done
    [ $ok -gt 50 ] && [ $ok -lt 1000 ]
    case $r in EIO | EFBIG) ;; *) echo "the failed write: $r"; false ;; esac
    case $(drive write "$F" "$(ev)") in EROFS | open:EROFS) ;; *) false ;; esac
    refused grep -qx ok "$MNT/.evfs/health"
    grep -qi 'read-only' "$MNT/.evfs/health"
    same "$(lines "$F")" $ok
    stop_store || true
    start_store
    same "$(lines "$F")" $ok
    printf "$(ev)" >>"$F"
    same "$(check_log)" $((ok + 1))
}

@test "EIO: a damaged line is not shown; the store turns read-only and says where" {
    for i in 1 2 3 4 5 6 7 8; do echo "{\"n\":$i}" >>"$E/a/t.jsonl"; done
    remount # so that the kernel has no page of it
    at=$(grep -b -o '"n":5' "$DATA"/log/*1.jsonl | cut -d: -f1)
    line=$(head -n 4 "$DATA"/log/*1.jsonl | wc -c)
    printf 7 | dd of="$(ls "$DATA"/log/*1.jsonl)" bs=1 seek=$((at + 4)) conv=notrunc status=none
    err=$(cat "$F" 2>&1 >/dev/null) && false
    contains "$err" 'Input/output error'
    case $(drive write "$F" "$(ev)") in EROFS | open:EROFS) ;; *) false ;; esac
    contains "$(cat "$MNT/.evfs/health")" 00000000000000000001.jsonl
    contains "$(cat "$MNT/.evfs/health")" "$line"
    stop_store || true
    out=$("$EVFS_BIN" verify "$DATA" 2>&1) && false
    contains "$out" 00000000000000000001.jsonl
    contains "$out" "$line"
}

@test "damaged idx records cost no event and no error: they are put right, and health says so" {
    for i in 1 2 3 4 5 6 7 8; do echo "{\"n\":$i}" >>"$E/a/t.jsonl"; done
    cat "$F" >"$T/want"
    cat "$E/a/t.jsonl" >"$T/want.t"
    remount # what a checkpoint covers is not looked at again
    same "$(cat "$MNT/.evfs/health")" ok
    # A type, then a run of records: event 3's type, all of 5 to 7.
    printf '\x7f' | dd of="$(ls "$DATA"/log/*1.idx)" bs=1 seek=$((4096 + 32 * 2 + 28)) conv=notrunc status=none
    head -c 96 /dev/zero | dd of="$(ls "$DATA"/log/*1.idx)" bs=1 seek=$((4096 + 32 * 4)) conv=notrunc status=none
    cmp "$E/a/t.jsonl" "$T/want.t"
    cmp "$F" "$T/want"
    echo "{\"n\":9}" >>"$E/a/t.jsonl"
    contains "$(cat "$MNT/.evfs/health")" 'put right from the log'
    stop_store
    "$EVFS_BIN" verify "$DATA"
}

@test "EROFS: mounted with -o ro" {
    echo '{}' >>"$E/a/t.jsonl"
    stop_store
    find "$DATA" -type f ! -name lock -exec cksum {} + | sort >"$T/before"
    start_store -o ro
    case $(drive write "$F" "$(ev)") in EROFS | open:EROFS) ;; *) false ;; esac
    same "$(lines "$F")" 1
    stop_store
    find "$DATA" -type f ! -name lock -exec cksum {} + | sort | diff "$T/before" -
}

@test "the corpus of inputs through the mount" {
    drive corpus refuse "$F" "$EVFS_SOURCE_DIR"/tests/corpus/refuse/*.jsonl
    same "$(lines "$F")" 0
    drive corpus accept "$F" "$EVFS_SOURCE_DIR"/tests/corpus/accept/*.jsonl
    [ "$(lines "$F")" -gt 10 ]
    check_log
    remount
    check_log
}
