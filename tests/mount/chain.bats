# SPDX-License-Identifier: MIT
# The tamper-evident log: hashes that any tool can make, and what verify proves with them.
load lib.bash

setup() {
    setup_store -o segment_size=64K -o compress=off # files that the tests know
    E=$MNT/entities F=$MNT/events.jsonl
}
teardown() { cleanup; }

fill() { # fill N: events, in one go
    jq -nc "range($1) | {entity:\"a/\(. % 20)\",type:\"t\(. % 3)\",data:{n:.,text:\"what was said\"}}" >>"$F"
}
sealed() { jq ".sealed.events // 0" "$MNT/.evfs/stats.json"; }
sealed_at_least() { [ "$(sealed)" -ge "$1" ]; }
prints() { # prints TEXT COMMAND...: it succeeds, and says so
    local want=$1 out
    shift
    out=$("$@") || { echo "failed: $out" >&2; return 1; }
    contains "$out" "$want"
}
finds() { # finds TEXT COMMAND...: it fails, and says so
    local want=$1 out
    shift
    out=$("$@") && { echo "found nothing: $out" >&2; return 1; }
    contains "$out" "$want"
}
# The segments' files, in order; all of segment N, from 0.
segments() { ls "$DATA"/log/*.jsonl*; }
segment() { segments | sed -n "$(($1 + 1))p"; }

@test "the hash is that of the first lines, for any tool" {
    fill 2000
    wait_for 20 sealed_at_least 1000
    stats=$(<"$MNT/.evfs/stats.json") # one look: the hashes go on meanwhile
    n=$(jq .sealed.events <<<"$stats")
    same "$(jq -r .sealed.sha256 <<<"$stats")" "$(head -n "$n" "$F" | sha256sum | cut -d' ' -f1)"
    all=$(sha256sum <"$F" | cut -d' ' -f1)
    some=$(head -n 777 "$F" | sha256sum | cut -d' ' -f1)
    part=$(head -c 5000 "$F" | sha256sum | cut -d' ' -f1)
    stop_store
    prints "2000 events, sha256 $all" "$EVFS_BIN" verify "$DATA"
    prints 'ended with event 777,' "$EVFS_BIN" verify --from "$some" "$DATA"
    prints 'ended with event 2000,' "$EVFS_BIN" verify --from "$all" "$DATA"
    finds 'does not continue' "$EVFS_BIN" verify --from "$part" "$DATA"
    code=0
    "$EVFS_BIN" verify --from 17 "$DATA" 2>/dev/null || code=$?
    same $code 2
    # It goes on, over restarts and over the copy that recovery makes after kill -9.
    start_store -o segment_size=64K -o sync_interval=never
    fill 500
    kill_store
    start_store -o segment_size=64K
    fill 500
    stop_store
    prints 'ended with event 2000,' "$EVFS_BIN" verify --from "$all" "$DATA"
}

@test "what is done to a sealed segment is found; by its author's hashes or by a noted one" {
    fill 3000
    last=$(basename "$(segments | tail -n 1)" .jsonl)
    wait_for 60 sealed_at_least $((10#$last - 1)) # all that is sealed has its hash
    noted=$(sha256sum <"$F" | cut -d' ' -f1)
    stop_store
    "$EVFS_BIN" verify "$DATA"
    cp -r "$DATA" "$T/good"
    again() { rm -rf "$DATA" && cp -r "$T/good" "$DATA"; }

    # Removed, all files of it.
    base=$(segment 1)
    rm "${base%.jsonl*}".*
    finds 'are in no file' "$EVFS_BIN" verify "$DATA"
    again
    # Exchanged.
    a=$(segment 1) b=$(segment 2)
    mv "$a" "$T/x" && mv "$b" "$a" && mv "$T/x" "$b"
    finds 'log' "$EVFS_BIN" verify "$DATA"
    again
    # The end is gone, with everything that was derived.
    rm -f "$DATA/index.ckpt"
    for f in $(segments | tail -n 2); do rm "${f%.jsonl*}".jsonl* "${f%.jsonl*}".idx; done
    finds 'it was sealed' "$EVFS_BIN" verify "$DATA"
    rm "$DATA"/log/*.sha256
    "$EVFS_BIN" rebuild "$DATA"
    "$EVFS_BIN" verify "$DATA"
    finds 'does not continue' "$EVFS_BIN" verify --from "$noted" "$DATA"
    again
    # A word is changed by somebody who knows how: a store that was made again from changed lines.
    "$EVFS_BIN" export "$DATA" >"$T/lines"
    python3 - "$T/lines" "$T/forged" <<'END'
import sys
def crc32c(b):
    c = 0xffffffff
    for x in b:
        c ^= x
        for _ in range(8):
            c = c >> 1 ^ (0x82f63b78 if c & 1 else 0)
    return c ^ 0xffffffff
lines = open(sys.argv[1], 'rb').readlines()
line = lines[40].replace(b'what was said', b'what was SAID')
at = line.index(b'"crc":"') + 7
line = line[:at] + b'%08x' % crc32c(line[:at] + line[at + 8:]) + line[at + 8:]
lines[40] = line
open(sys.argv[2], 'wb').writelines(lines)
END
    rm -rf "$DATA"
    "$EVFS_BIN" import --exact "$DATA" "$T/forged"
    prints 'all is well' "$EVFS_BIN" verify "$DATA"
    finds 'does not continue' "$EVFS_BIN" verify --from "$noted" "$DATA"
    prints 'ended with event 40,' "$EVFS_BIN" verify \
        --from "$(head -n 40 "$T/lines" | sha256sum | cut -d' ' -f1)" "$DATA"
    # The same line, put into the store itself.
    again
    "$EVFS_BIN" export "$DATA" | cmp - "$T/lines"
    first=$(segment 0)
    n=$(wc -l <"$first")
    head -n "$n" "$T/forged" >"$first"
    finds 'not those that were sealed' "$EVFS_BIN" verify "$DATA"
}

@test "verify --repair: what is whole stays, what is gone is told and stands in its place" {
    fill 2000
    chmod 700 "$E/a"
    cp "$F" "$T/lines"
    code=0
    "$EVFS_BIN" verify --repair "$DATA" 2>/dev/null || code=$?
    same $code 1 'while it is mounted'
    stop_store
    prints 'all is well' "$EVFS_BIN" verify --repair "$DATA"
    # The first byte of event 70 and of what follows for a sector.
    at=$(head -n 69 "$T/lines" | wc -c)
    head -c 512 /dev/zero | dd of="$(segment 0)" bs=1 seek="$at" conv=notrunc status=none
    code=0
    "$EVFS_BIN" verify --repair "$DATA" >"$T/out" || code=$?
    same $code 3
    gone=$(grep -c '^event .* is gone ' "$T/out")
    [ "$gone" -ge 2 ] && [ "$gone" -le 5 ]
    grep -q "^event 70: a/9 t0 version 4 is gone .*byte $at); set aside in damaged/0*1.jsonl" "$T/out"
    [ -e "$DATA"/damaged/00000000000000000001.jsonl ]
    "$EVFS_BIN" verify "$DATA"
    start_store -o segment_size=64K -o compress=off
    same "$(check_log)" 2000
    same "$(diff "$T/lines" "$F" | grep -c '^>')" "$gone" 'changed lines'
    same "$(diff "$T/lines" "$F" | sed -n 's/^> //p' | jq -r .type | sort -u)" evfs.lost
    same "$(sed -n 70p "$F" | jq -c '[.seq,.entity,.version,.data,.meta.evfs.lost.byte,.meta.evfs.lost.type]')" \
        "[70,\"a/9\",4,{},$at,\"t0\"]"
    same "$(stat -c %a "$E/a")" 700
    same "$(head -n 1 "$MNT/.evfs/health")" ok
    same "$(jq -r .text "$E/a/9/state.json")" 'what was said'
    jq -nc '{n:1}' >>"$E/a/9/t0.jsonl"
    stop_store
    "$EVFS_BIN" verify "$DATA"
    # A segment that is gone altogether: its events are named as a range.
    first=$(basename "$(segment 1)" .jsonl) next=$(basename "$(segment 2)" .jsonl)
    rm "$DATA/log/$first".*
    finds "events $((10#$first)) to $((10#$next - 1)) are in no file" "$EVFS_BIN" verify "$DATA"
    code=0
    "$EVFS_BIN" verify --repair "$DATA" >"$T/out" || code=$?
    same $code 3
    same "$(grep -c '^event .* is gone' "$T/out")" $((10#$next - 10#$first))
    "$EVFS_BIN" verify "$DATA"
    start_store -o segment_size=64K -o compress=off
    same "$(check_log)" 2001
    stop_store
    # By root, for somebody: it is his.
    if [ "$(id -u)" = 0 ]; then
        rm -rf "$DATA/damaged"
        chown -R 65534:65533 "$DATA"
        head -c 512 /dev/zero | dd of="$(segment 1)" bs=1 seek=5000 conv=notrunc status=none
        "$EVFS_BIN" verify --repair "$DATA" >/dev/null && false
        same "$(find "$DATA" -printf '%U:%G\n' | sort -u)" 65534:65533
    fi
}

@test "a name in a finding moves no cursor" {
    chmod 700 "$E/t%1B[2Jx"
    stop_store
    python3 -c 'import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE owners SET crc = (crc + 1) % 100 WHERE kind = 1")
db.commit()' "$DATA/meta.db"
    finds 't\x1b[2Jx' "$EVFS_BIN" verify "$DATA"
    refused sh -c "'$EVFS_BIN' verify '$DATA' | grep -q \"\$(printf '\\033')\""
}
