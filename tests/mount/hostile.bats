#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Users who do what nobody should: afterwards the store verifies clean and holds exactly what was acknowledged.
load lib.bash

setup() {
    setup_store
    E=$MNT/entities F=$MNT/events.jsonl
}
teardown() { cleanup; }

# What the daemon holds: descriptors, and kilobytes.
daemon_fds() { find "/proc/$PID/fd" -type l | wc -l; }
stats() { jq -r "$1" "$MNT/.evfs/stats.json"; }
# Kilobytes of its own, without the log that it has mapped.
daemon_kb() { awk '/^RssAnon/ { print $2 }' "/proc/$PID/status"; }
stays_below() { # stays_below KILOBYTES WHAT: by now or soon
    [ -n "${EVFS_SANITIZED-}" ] || wait_for 10 eval "[ \$(daemon_kb) -le $1 ]" ||
        { echo "$2: $(daemon_kb) kB, not below $1" >&2; return 1; }
}
sound() {
    check_log
    stop_store
    "$EVFS_BIN" verify "$DATA"
}
refuses_to_mount() { # refuses_to_mount TEXT
    local out
    out=$(timeout 20 "$EVFS_BIN" mount -f "$DATA" "$MNT" 2>&1) && return 1
    contains "$out" "$1"
}

@test "expected_version raced by 8 processes: exactly one wins each" {
    cat >"$T/race.py" <<'P'
import errno, json, multiprocessing as mp, os, sys

MNT, ROUNDS, RACERS = sys.argv[1], int(sys.argv[2]), 8

def race(me, gate, won):
    fd = os.open(MNT + "/events.jsonl", os.O_WRONLY | os.O_APPEND)
    for v in range(ROUNDS):
        gate.wait()
        event = {"entity": "race", "type": "t", "expected_version": v, "data": [me, v]}
        try:
            os.write(fd, json.dumps(event).encode() + b"\n")
            with won.get_lock():
                won[v] += 1
        except OSError as e:
            assert e.errno == errno.ESTALE, e

gate, won = mp.Barrier(RACERS), mp.Array("i", ROUNDS)
racers = [mp.Process(target=race, args=(k, gate, won)) for k in range(RACERS)]
for r in racers: r.start()
for r in racers: r.join()
assert all(r.exitcode == 0 for r in racers)
assert list(won) == [1] * ROUNDS, list(won)
P
    timeout 60 python3 "$T/race.py" "$MNT" "$(by_mode 50 200 1000)"
    same "$(jq -c .data[1] "$E/race/events.jsonl" | paste -sd,)" \
        "$(seq -s, 0 $(($(by_mode 50 200 1000) - 1)))"
    sound
}

@test "one id from 8 processes: stored once, and one content only" {
    cat >"$T/ids.py" <<'P'
import errno, json, multiprocessing as mp, os, sys

MNT, N = sys.argv[1], 300

def append(me):
    fd = os.open(MNT + "/events.jsonl", os.O_WRONLY | os.O_APPEND)
    for i in range(N):
        other = i % 10 == 0 # content that differs by the parity of the process
        event = {"entity": "ids/%d" % (i % 7), "type": "t", "id": "id-%d" % i, "data": me % 2 if other else i}
        try:
            os.write(fd, json.dumps(event).encode() + b"\n")
        except OSError as e:
            assert other and e.errno == errno.EEXIST, e

p = [mp.Process(target=append, args=(k,)) for k in range(8)]
for x in p: x.start()
for x in p: x.join()
assert all(x.exitcode == 0 for x in p)
P
    timeout 60 python3 "$T/ids.py" "$MNT"
    same "$(jq -r .id "$F" | sort -u | wc -l)" 300
    same "$(lines "$F")" 300
    sound
}

@test "thousands of open files with unfinished values, and writers that vanish" {
    fds=$(daemon_fds)
    cat >"$T/open.py" <<'P'
import os, resource, sys

MNT, N, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
N = min(N, most - 50)
fds = [os.open(MNT + "/entities/open/%d/t.jsonl" % i, os.O_WRONLY | os.O_APPEND | os.O_CREAT) for i in range(N)]
for fd in fds: os.write(fd, b'{"a":"' + b"x" * 200)
if how == "vanish": os.kill(os.getpid(), 9)
for fd in fds[::2]: os.write(fd, b'"}\n')
print(len(fds[::2]))
P
    stored=$(python3 "$T/open.py" "$MNT" "$(by_mode 500 3000 10000)" finish)
    python3 "$T/open.py" "$MNT" 500 vanish || true
    nothing_pending() { [ "$(stats '.pending_bytes + .writers + .open_files')" = 0 ]; }
    wait_for 10 nothing_pending
    same "$(lines "$F")" "$stored"
    wait_for 10 eval '[ "$(daemon_fds)" -le $((fds + 12)) ]' # a thread of the daemon has one
    sound
}

@test "a shared descriptor, O_APPEND dropped, pwrite, O_RDWR: the offset is nothing" {
    python3 - "$E/odd/t.jsonl" <<'P'
import errno, fcntl, mmap, os, sys

path = sys.argv[1]
def errno_of(f, *a):
    try: f(*a)
    except OSError as e: return errno.errorcode[e.errno]
fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
os.write(fd, b'{"x":')
pid = os.fork()
if pid == 0:
    os.write(fd, b'1}\n{"y":')
    os._exit(0)
os.waitpid(pid, 0)
two = os.dup(fd)
os.write(two, b"2}\n")
os.close(two)
fcntl.fcntl(fd, fcntl.F_SETFL, 0)
assert os.write(fd, b"3\n") == 2
assert os.pwrite(fd, b"4\n", 0) == 2
assert os.pwrite(fd, b"5\n", 10**9) == 2
os.lseek(fd, 2**62, 0)
assert os.read(fd, 10) == b"" and os.pread(fd, 4, 1) == b'"x":'
assert os.write(fd, b"6\n") == 2
assert errno_of(os.ftruncate, fd, 0) == "EPERM"
assert errno_of(os.posix_fallocate, fd, 0, 100) == "EPERM"
self = "/proc/self/fd/%d" % fd
assert errno_of(os.open, self, os.O_WRONLY) == "EPERM"
assert errno_of(os.open, self, os.O_RDWR | os.O_TRUNC) == "EPERM"
os.close(os.open(self, os.O_WRONLY | os.O_APPEND))
assert os.writev(fd, [b'{"a"', b":1}", b"\n"]) == 8 and os.write(fd, b" \n\t\r\n") == 5
assert errno_of(os.write, fd, b"\0") == "EINVAL"
assert os.copy_file_range(os.open(path, os.O_RDONLY), fd, 8) == 8
assert mmap.mmap(os.open(path, os.O_RDONLY), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)[:7] == b'{"x":1}'
P
    same "$(paste -sd' ' "$E/odd/t.jsonl")" '{"x":1} {"y":2} 3 4 5 6 {"a":1} {"x":1}'
    sound
}

@test "a number or literal that only begins well: nothing of it is stored, in one write or byte by byte" {
    echo 1 >>"$E/n/t.jsonl"
    python3 - "$E/n/t.jsonl" <<'P'
import errno, os, sys

for bad in b"01\n", b"2026-11-24\n", b"10.0.0.1\n", b"0x10\n", b"truefalse\n", b"1{}\n", b"null]\n", b"1,2\n":
    for step in len(bad), 1:
        fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
        try:
            for i in range(0, len(bad), step): os.write(fd, bad[i:i + step])
        except OSError as e:
            assert e.errno == errno.EINVAL, e
        else:
            assert False, bad
        os.close(fd)
P
    same "$(cat "$E/n/t.jsonl")" 1
    same "$(rejected .reason)" BAD_JSON
    sound
}

@test "a directory that grows while it is listed: nothing twice, nothing missing" {
    seq 2000 | jq -c '{entity:"ls/\(.)",type:"t"}' >>"$F"
    (seq 2001 "$(by_mode 6000 20000 60000)" | jq -c --unbuffered '{entity:"ls/\(.)",type:"t"}' >>"$F") &
    writer=$!
    python3 - "$E/ls" <<'P'
import os, sys

for k in range(10):
    names = os.listdir(sys.argv[1]) if k % 2 else [x.name for x in os.scandir(sys.argv[1]) if x.stat()]
    assert len(set(names)) == len(names), "twice"
    assert {str(i) for i in range(1, 2001)} <= set(names), "missing"
P
    wait $writer
    sound
}

@test "a tenant that is closed: nothing is appended to it, nor read, while others race" {
    need_user_drive
    chmod 777 "$MNT" "$E"
    echo 0 >>"$E/ten/1/t.jsonl"
    cat >"$T/racer.py" <<'P'
import os, sys, errno
F, stop = sys.argv[1], sys.argv[2]
while not os.path.exists(stop):
    try:
        fd = os.open(F, os.O_WRONLY | os.O_APPEND)
    except OSError as e:
        assert e.errno == errno.EACCES, e
        continue
    try:
        os.write(fd, b'{"entity":"ten/1","type":"t","data":1}\n')
    except OSError as e:
        assert e.errno == errno.EACCES, e
    os.close(fd)
P
    chmod 644 "$T/racer.py"
    for _ in 1 2 3; do
        as_user 1000 /usr/bin/python3 "$T/racer.py" "$F" "$MNT/../stop" &
        racers+=($!)
    done
    for k in $(seq "$(by_mode 10 30 100)"); do
        chmod 777 "$E/ten"
        [ $((k % 2)) = 0 ] || chown 1000 "$E/ten"
        chown 0 "$E/ten"
        chmod 700 "$E/ten"
        before=$(stat -c %s "$E/ten/1/t.jsonl")
        refused as_user 1000 head -c 1 "$F" 2>/dev/null
        refused as_user 1000 head -c 1 "$E/ten/1/t.jsonl" 2>/dev/null
        same "$(stat -c %s "$E/ten/1/t.jsonl")" "$before" 'appended while closed'
    done
    : >"$T/stop"
    for p in "${racers[@]}"; do wait "$p"; done
    sound
}

@test "700 directories of tenants, and files above them" {
    need_root
    chmod 777 "$MNT" "$E"
    seq 700 | jq -c '{entity:"t/\(.)/x",type:"t"}' >>"$F"
    for k in $(seq 700); do
        echo "$E/t/$k"
    done | xargs chmod 700
    refused as_user 1000 cat "$F" 2>/dev/null
    refused as_user 1000 cat "$E/t/events.jsonl" 2>/dev/null
    refused as_user 1000 cat "$MNT/types/t/events.jsonl" 2>/dev/null
    refused as_user 1000 sh -c "echo '{\"entity\":\"t/77\"}' >>'$MNT/types/t/events.jsonl'" 2>/dev/null
    same "$(as_user 1000 ls "$E/t" | wc -l)" 701
    same "$(lines "$F")" 700
    remount
    refused as_user 1000 cat "$F" 2>/dev/null
    sound
}

@test "the daemon stopped for a while: writers wait, nothing is lost" {
    (for i in $(seq 200); do echo "$i" >>"$E/a/t.jsonl"; done) &
    writer=$!
    for _ in 1 2 3; do
        kill -STOP "$PID"
        sleep 0.2 # the daemon is stopped for so long
        kill -CONT "$PID"
    done
    wait $writer
    same "$(paste -sd, "$E/a/t.jsonl")" "$(seq -s, 200)"
    sound
}

@test "the end of the log is lost: refused, and given up only when told so" {
    stop_store
    start_store -o segment_size=64K
    seq 1000 | jq -c '{entity:"a",type:"t",data:("x" * 300)}' >>"$F"
    stop_store
    last=$(find "$DATA/log" -name '*.jsonl' | sort | tail -n 1)
    rm "$last"
    refuses_to_mount "$(basename "$last") is missing"
    refuses_to_mount "$(basename "$last") is missing" # and nothing was thrown away by the first try
    refused "$EVFS_BIN" verify "$DATA"
    refused "$EVFS_BIN" rebuild "$DATA"
    code=0
    "$EVFS_BIN" verify --repair "$DATA" >"$T/said" || code=$?
    same $code 3 # events are gone, and nothing else
    lost=$((1001 - 10#$(basename "$last" .jsonl)))
    same "$(grep -c '^event [0-9]*: a t version [0-9]* is gone$' "$T/said")" $lost
    "$EVFS_BIN" rebuild "$DATA"
    start_store
    same "$(lines "$F")" 1000
    same "$(grep -c '"type":"evfs.lost"' "$F")" $lost
    stop_store
    rm -r "$DATA/log"
    refuses_to_mount 'log: ends with event 0'
}

@test "files of the store that are directories, FIFOs, or empty: refused or made again, never a hang" {
    seq 300 | jq -c '{entity:"e/\(. % 7)",type:"t",data:.}' >>"$F"
    cp "$F" "$T/lines"
    stop_store
    cp -r "$DATA" "$T/good"
    for f in index.ckpt meta.db log/00000000000000000001.idx log/00000000000000000001.jsonl lock ids; do
        for how in fifo dir empty; do
            rm -rf "$DATA"
            cp -r "$T/good" "$DATA"
            rm -rf "${DATA:?}/$f"
            case $how in
            fifo) mkfifo "$DATA/$f" ;;
            dir) mkdir "$DATA/$f" ;;
            empty) : >"$DATA/$f" ;;
            esac
            for command in verify export stats rebuild; do
                code=0
                timeout 20 "$EVFS_BIN" "$command" "$DATA" >"$T/out" 2>&1 || code=$?
                [ $code -le 1 ] || { echo "$f $how: $command ended with $code"; return 1; }
                [ $command != export ] || [ $code = 1 ] || cmp "$T/out" "$T/lines"
            done
        done
    done
}

@test "who may not read a store is told so, not that it is none" {
    need_root
    need setpriv
    cp "$EVFS_BIN" "$T/evfs"
    stop_store
    chmod 755 "$DATA"
    chmod 700 "$DATA/log"
    for command in export stats verify "backup $T/b"; do
        # shellcheck disable=SC2086 # two words
        out=$(as_user 1000 "$T/evfs" ${command% *} "$DATA" ${command#"${command% *}"} 2>&1) && false
        contains "$out" ': Permission denied'
    done
}

@test "a lock file that was removed lets nobody in" {
    echo 1 >>"$E/a/t.jsonl"
    rm "$DATA/lock"
    mkdir "$T/mnt2"
    out=$(timeout 20 "$EVFS_BIN" mount -f "$DATA" "$T/mnt2" 2>&1) && false
    contains "$out" 'has the store open'
    for command in export verify rebuild 'verify --repair' import; do
        # shellcheck disable=SC2086 # two words
        out=$(timeout 20 "$EVFS_BIN" $command "$DATA" </dev/null 2>&1) && false
        contains "$out" "has the store open: it is mounted at $MNT"
    done
    echo 2 >>"$E/a/t.jsonl"
    same "$(cat "$E/a/t.jsonl" | paste -sd' ')" '1 2'
    sound
}

@test "too few descriptors: refused in words" {
    stop_store
    for n in 10 16 24; do
        code=0
        out=$( (ulimit -n $n; exec timeout 20 "$EVFS_BIN" mount -f "$DATA" "$MNT") 2>&1) || code=$?
        same "$code" 1 "with $n"
        contains "$out" 'open files'
    done
    start_store
    echo 1 >>"$E/a/t.jsonl"
    sound
}

@test "files of the store that are symbolic links: nothing is written to what they point to" {
    seq 300 | jq -c '{entity:"e/\(. % 7)",type:"t",data:.}' >>"$F"
    stop_store
    cp -r "$DATA" "$T/good"
    echo victim >"$T/victim"
    for f in lock meta.db index.tmp index.ckpt rejected.jsonl rejected.jsonl.tmp log/00000000000000000001.idx \
        log/00000000000000000001.jsonl log/00000000000000000001.tmp log damaged; do
        for command in mount rebuild 'verify --repair'; do
            rm -rf "$DATA"
            cp -r "$T/good" "$DATA"
            rm -rf "${DATA:?}/$f"
            ln -s "$T/victim" "$DATA/$f"
            if [ "$command" != mount ]; then
                # shellcheck disable=SC2086 # two words
                timeout 20 "$EVFS_BIN" $command "$DATA" >/dev/null 2>&1 || true
            elif start_store 2>/dev/null; then
                echo '{}' >>"$E/e/t.jsonl"
                stop_store
            fi
            same "$(cat "$T/victim")" victim "$f, $command"
        done
    done
    # The directory itself may be one.
    rm -rf "$DATA"
    ln -s "$T/good" "$DATA"
    start_store
    echo '{}' >>"$E/e/1/t.jsonl"
    same "$(lines "$F")" 301
    stop_store
    "$EVFS_BIN" verify "$DATA"
}

@test "standard descriptors that are closed are not those of the store's files" {
    stop_store
    standard() { find "/proc/$1/fd" -name '[012]' -exec readlink {} + | grep -c "^$DATA" || true; }
    "$EVFS_BIN" mount "$DATA" "$MNT" <&- >&- 2>&-
    echo 1 >>"$E/a/t.jsonl"
    pid=$(<"$DATA/lock")
    same "$(standard "$pid")" 0
    unmount
    wait_for 10 gone "$pid"
    "$EVFS_BIN" mount -f -o debug "$DATA" "$MNT" <&- >&- 2>&- 3>&- & # prints each request
    PID=$!
    wait_for 20 mounted_or_dead
    echo 2 >>"$E/a/t.jsonl"
    same "$(standard "$PID")" 0
    stop_store
    same "$("$EVFS_BIN" export "$DATA" entities/a/t.jsonl | paste -sd' ')" '1 2'
    code=0
    "$EVFS_BIN" verify "$DATA" >&- 2>/dev/null || code=$?
    same $code 1 'nobody could read it'
    "$EVFS_BIN" verify "$DATA"
}

@test "a limit on the size of files ends nobody: the daemon lives, and says why nothing is taken" {
    stop_store
    (
        ulimit -f 200
        exec "$EVFS_BIN" mount -f "$DATA" "$MNT"
    ) >>"$LOG" 2>&1 3>&- &
    PID=$!
    wait_for 20 mounted_or_dead
    python3 - "$F" >"$T/stored" <<'P'
import errno, os, sys

fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
n = 0
try:
    while True:
        os.write(fd, b'{"entity":"a","type":"t","data":"%s"}\n' % (b"x" * 500))
        n += 1
except OSError as e: assert e.errno in (errno.EFBIG, errno.EIO), e
print(n)
P
    same "$(lines "$F")" "$(cat "$T/stored")"
    contains "$(cat "$MNT/.evfs/health")" 'File too large'
    stop_store
    start_store
    same "$(lines "$F")" "$(cat "$T/stored")"
    echo 1 >>"$E/a/t.jsonl"
    sound
}

@test "names of transactions that are refused again and again: not one is kept" {
    echo 0 >>"$E/e/t.jsonl"
    before=$(stats '[.index_bytes, .names_bytes, .id_bytes, .entities, .types] | @csv')
    kb=$(daemon_kb)
    python3 - "$F" "$(by_mode 50 150 3000)" <<'P'
import errno, os, sys

fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for k in range(int(sys.argv[2])):
    tx = ",".join('{"entity":"%d/%0200d","type":"x%d","id":"i%d"}' % (k, i, k, i) for i in range(500))
    tx = "[" + tx + ',{"entity":"e","type":"t","expected_version":0}]\n'
    try: os.write(fd, tx.encode())
    except OSError as e: assert e.errno == errno.ESTALE, e
    else: assert False
P
    same "$(stats '[.index_bytes, .names_bytes, .id_bytes, .entities, .types] | @csv')" "$before"
    stays_below $((kb + 20000)) 'after them'
    same "$(ls "$E")" e
    sound
}

@test "what JSON allows and nobody likes is kept as written; what it does not is refused" {
    cat >"$T/odd.py" <<'P'
import errno, os, sys

def write(fd, b):
    at = 0
    while at < len(b): at += os.write(fd, b[at:])
def errno_of(path, b):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try: write(fd, b)
    except OSError as e: return errno.errorcode[e.errno]
    finally: os.close(fd)

path = sys.argv[1]
keys = b"{" + b",".join(b'"%06d":1' % i for i in range(95000)) + b"}"
good = [b"1e999", b"-0", b"1" * 4000, b"1e-999999999999", b'{"a":1,"a":2,"\\u0061":3}', b'"\\ud800"', b'"\\u0000"',
        b'{"\\udc00":"\\ud800\\u0041"}', b'"\xf4\x8f\xbf\xbf"', b"[" * 127 + b"]" * 127, keys]
for g in good: assert errno_of(path, g + b"\r\n") is None, g[:40]
assert open(path, "rb").read() == b"\n".join(good) + b"\n"
for bad in (b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xff"', b"\xef\xbb\xbf{}", b"\0", b'"\0"',
            b'{"a":"\r"}', b"NaN", b"'a'", b"{\"a\":1,}", b"0x1"):
    assert errno_of(path, bad + b"\n") == "EINVAL", bad
for large in (b"[" * 128, b"[" * 1000000, b"{" + b",".join(b'"%06d":1' % i for i in range(1000000)) + b"}"):
    assert errno_of(path, large + b"\n") == "EMSGSIZE", large[:20]
assert open(path, "rb").read() == b"\n".join(good) + b"\n"
P
    python3 "$T/odd.py" "$E/odd/t.jsonl"
    cat "$E/odd/events.jsonl" >"$T/lines"
    cat "$T/lines" >>"$F" # all of it may be poured back
    same "$(lines "$E/odd/t.jsonl")" 11
    sound
}

@test "ids that begin with a slash, or are nothing but slashes, can be begun by their path" {
    echo 1 >>"$E/%/x/t.jsonl"
    echo 2 >>"$E/%/%/%65vents.jsonl"
    same "$(jq -r '[.entity, .type] | @csv' "$F" | paste -sd' ')" '"/x","t" "/","events"'
    same "$(find "$E" -name '*.jsonl' | wc -l)" 5
    sound
}

@test "1,000 open readers, 1,000 writers that vanish half-way: memory and rejected.jsonl stay small" {
    seq 20000 | jq -c '{entity:"r/\(. % 100)",type:"t",data:.}' >>"$F"
    cat "$F" >/dev/null
    kb=$(daemon_kb)
    cat >"$T/many.py" <<'P'
import os, resource, sys

MNT, N = sys.argv[1], 1000
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
if most < 2 * N + 50: sys.exit("too few descriptors: %d" % most)
readers = [os.open(MNT + ("/events.jsonl", "/entities/r/7/t.jsonl")[i % 2], os.O_RDONLY) for i in range(N)]
for fd in readers: assert os.pread(fd, 50, 10)
writers = [os.open(MNT + "/events.jsonl", os.O_WRONLY | os.O_APPEND) for i in range(N)]
for fd in writers: os.write(fd, b'{"entity":"v","type":"t","data":"' + b"x" * 9000)
print("held", flush=True)
sys.stdin.read()
os.kill(os.getpid(), 9)
P
    mkfifo "$T/go"
    python3 "$T/many.py" "$MNT" <"$T/go" >"$T/held" &
    many=$!
    exec 7>"$T/go"
    wait_for 60 grep -q held "$T/held"
    same "$(stats '[.writers, .open_files] | max >= 2000')" true
    [ "$(stats .pending_bytes)" -ge 9000000 ]
    stays_below $((kb + 9000 * 2 + 16 * 2000)) 'with all of them open'
    exec 7>&-
    wait $many || true
    nothing_pending() { [ "$(stats '.pending_bytes + .writers + .open_files')" = 0 ]; }
    wait_for 30 nothing_pending
    [ "$(stat -c %s "$DATA/rejected.jsonl")" -le $((1100 * 1024)) ]
    same "$(rejected .reason)" UNFINISHED
    stays_below $((kb + 20000)) 'when they are gone'
    same "$(lines "$F")" 20000
    sound
}

@test "entities with random names: memory for each is bounded, and all are there" {
    n=$(by_mode 20000 50000 1000000)
    kb=$(daemon_kb)
    python3 - "$F" "$n" <<'P'
import random, sys

r = random.Random(7)
with open(sys.argv[1], "ab", buffering=1 << 19) as f:
    for i in range(int(sys.argv[2])): f.write(b'{"entity":"%032x","type":"t"}\n' % r.getrandbits(128))
P
    same "$(stats .entities)" "$n"
    # 64 of the set, 36 of the name, at most 32 of the table while it grows; a huge page of each region; leases.
    stays_below $((kb + n * 150 / 1024 + 24000)) "$n entities"
    same "$(find "$E" -mindepth 1 -maxdepth 1 | wc -l)" "$n"
    sound
}

@test "the largest transactions, one after the other: memory is given back" {
    python3 -c 'print("[" + ",".join(["{\"entity\":\"m\",\"type\":\"t\"}"] * 65536) + "]")' >"$T/many"
    python3 -c 'print("[" + ",\n".join(["{\"entity\":\"m\",\"type\":\"t\",\"data\":\"%s\"}" % ("x" * 1000000)] * 16) + "]")' >"$T/large"
    kb=$(daemon_kb)
    for _ in $(seq "$(by_mode 2 2 40)"); do
        cat "$T/many" >>"$F"
        cat "$T/large" >>"$F"
    done
    stays_below $((kb + 130000)) 'after them' # the allocator keeps some of it for a while
    sound
}
