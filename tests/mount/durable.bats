# SPDX-License-Identifier: MIT
# What survives: kill -9 under load, torn tails, damage; fsync and O_DSYNC reach the disk; one daemon a store;
# clean ends; and the commands for a store that is not mounted.
load lib.bash

setup() {
    setup_store
    E=$MNT/entities F=$MNT/events.jsonl
}
teardown() { cleanup; }

segment() { ls "$DATA"/log/*.jsonl | tail -n 1; }
first() { ls "$DATA"/log/*.jsonl | head -n 1; }

@test "kill -9 at any moment loses nothing that a write acknowledged" {
    kills=${EVFS_KILLS:-$(by_mode 8 100 2000)}
    seed=${SEED:-$RANDOM}
    echo "# SEED=$seed"
    stop_store
    python3 "$BATS_TEST_DIRNAME/kill.py" "$EVFS_BIN" "$T" "$kills" "$seed" 3>&-
}

@test "a torn tail is cut, whole events stay" {
    stop_store
    start_store -o sync_interval=never
    for i in 1 2 3; do echo "{\"n\":$i}" >>"$E/a/t.jsonl"; done
    kill_store
    cp -r "$DATA" "$T/killed"
    size=$(stat -c %s "$(segment)")
    last=$(tail -n 1 "$(segment)" | wc -c)
    for cut in 1 2 17 $((last / 2)) $((last - 1)) $((last + 5)); do
        rm -rf "$DATA"
        cp -r "$T/killed" "$DATA"
        truncate -s $((size - cut)) "$(segment)"
        start_store
        want=2
        [ $cut -le $last ] || want=1
        same "$(lines "$F")" $want "cut $cut"
        echo '{"n":4}' >>"$E/a/t.jsonl"
        same "$(check_log)" $((want + 1))
        stop_store
        "$EVFS_BIN" verify "$DATA"
    done
    # Bytes behind a clean end.
    printf '{"seq":99,"id":"' >>"$(segment)"
    start_store
    same "$(check_log)" 2
}

@test "a torn tail inside a transaction takes all of it" {
    stop_store
    start_store -o sync_interval=never
    echo '{"n":1}' >>"$E/a/t.jsonl"
    jq -nc '[range(5) | {entity:"tx/\(.)",type:"t"}]' >>"$F"
    kill_store
    cp -r "$DATA" "$T/killed"
    lens=$(tail -n 5 "$(segment)" | awk '{ print length($0) + 1 }')
    size=$(stat -c %s "$(segment)")
    cut=0
    for len in $(tac <<<"$lens"); do
        for more in 1 $((len - 1)) "$len"; do
            rm -rf "$DATA"
            cp -r "$T/killed" "$DATA"
            truncate -s $((size - cut - more)) "$(segment)"
            start_store
            same "$(lines "$F")" 1 "cut $((cut + more))"
            refused test -e "$E/tx/0/t.jsonl"
            stop_store
        done
        cut=$((cut + len))
    done
    start_store
    jq -nc '[range(5) | {entity:"tx/\(.)",type:"t"}]' >>"$F"
    same "$(check_log)" 6
}

@test "a damaged middle is refused, with segment and byte" {
    jq -nc 'range(100) | {entity:"a",type:"t",data:{n:.}}' >>"$F"
    stop_store
    at=$(grep -b -o '"n":50' "$(first)" | cut -d: -f1)
    line=$(head -n 50 "$(first)" | wc -c)
    printf x | dd of="$(first)" bs=1 seek=$((at + 1)) conv=notrunc status=none
    rm -f "$DATA"/index.ckpt
    before=$(cksum <"$(first)")
    out=$(timeout 60 "$EVFS_BIN" mount -f "$DATA" "$MNT" 2>&1) && false
    contains "$out" 00000000000000000001.jsonl
    contains "$out" "$line"
    same "$(cksum <"$(first)")" "$before"
    out=$("$EVFS_BIN" verify "$DATA" 2>&1) && false
    contains "$out" 00000000000000000001.jsonl
    contains "$out" "$line"
    # Put right, it opens.
    printf n | dd of="$(first)" bs=1 seek=$((at + 1)) conv=notrunc status=none
    sed -n 51p "$(first)" | grep -q '"n":50'
}

@test "a second daemon is refused, with the pid of the first" {
    mkdir "$T/other"
    out=$(timeout 20 "$EVFS_BIN" mount -f "$DATA" "$T/other" 2>&1) && false
    contains "$out" "$PID"
    refused mountpoint -q "$T/other"
    out=$(timeout 20 "$EVFS_BIN" export "$DATA" 2>&1) && false
    contains "$out" "$PID"
    echo '{}' >>"$E/a/t.jsonl"
    same "$(lines "$F")" 1
}

@test "umount and SIGTERM finish what was begun and write the checkpoint" {
    for how in umount TERM HUP; do # not INT: a shell starts jobs with it ignored
        jq -nc 'range(500) | {entity:"e/\(. % 9)",type:"t"}' >>"$F"
        n=$(lines "$F")
        rm -f "$DATA"/index.ckpt
        if [ $how = umount ]; then
            unmount
        else
            kill -$how "$PID"
        fi
        wait_daemon
        refused mounted
        [ -s "$DATA/index.ckpt" ]
        "$EVFS_BIN" verify "$DATA"
        start_store
        same "$(lines "$F")" "$n" "$how"
    done
    # Under load: what was acknowledged is there.
    mkdir "$T/ack"
    drive ack "$F" "$T/ack" a b c 3>&- &
    w=$!
    wait_for 20 test -s "$T/ack/a"
    kill -TERM "$PID"
    unmount_lazily || true
    wait_daemon
    wait $w
    start_store
    [ "$(drive check-acked "$MNT" "$T/ack" a b c)" -gt 0 ]
    check_log
}

@test "in the background: mount returns when it is mounted, and says why it can't" {
    stop_store
    "$EVFS_BIN" mount "$DATA" "$MNT" 3>&-
    mounted
    PID=$(pgrep -f "mount $DATA $MNT")
    [ -z "${EVFS_TEST_TMP-}" ] || echo "$PID" >>"$EVFS_TEST_TMP/pids"
    echo '{}' >>"$E/a/t.jsonl"
    out=$("$EVFS_BIN" mount "$DATA" "$T" 2>&1) && false
    contains "$out" "$PID"
    stop_store
    out=$("$EVFS_BIN" mount "$DATA" "$T/nowhere" 2>&1) && false
    contains "$out" nowhere
    out=$("$EVFS_BIN" mount /dev/null "$MNT" 2>&1) && false
    [ -n "$out" ]
    refused mounted
    start_store
    same "$(lines "$F")" 1
}

@test "fsync reaches fdatasync before it returns; a write alone does not sync" {
    need strace
    stop_store
    start_store -o sync_interval=never
    echo '{}' >>"$E/a/t.jsonl"
    strace -f -ttt -T -y -e trace=fdatasync,fsync -o "$T/trace" -p "$PID" 2>"$T/strace.err" 3>&- &
    tracer=$!
    wait_for 10 grep -q attached "$T/strace.err" || skip "strace can't attach: $(cat "$T/strace.err")"
    for i in 1 2 3; do echo "{\"n\":$i}" >>"$E/a/t.jsonl"; done
    same "$(grep -c 'sync(.*/log/.*jsonl>' "$T/trace" || true)" 0 'a write alone synced'
    read -r before after < <(drive fsync-time "$E/a/t.jsonl" '{"n":4}
')
    kill $tracer
    wait $tracer || true
    # One that began after the call and ended before its return.
    awk -v before="$before" -v after="$after" '
        /sync\(.*\/log\/[0-9]+\.jsonl>/ {
            start = $2; took = $NF; gsub(/[<>]/, "", took)
            if ($0 ~ /= 0 </ && start + 0.000001 >= before && start + took <= after + 0.000002) found = 1
        }
        /resumed.*sync.*= 0 </ { found_resumed = 1 }
        END { exit !(found || found_resumed) }' "$T/trace" || { cat "$T/trace"; false; }
    jq -e '.durable == .events' "$MNT/.evfs/stats.json"
}

@test "writers that sync share fdatasyncs" {
    need strace
    stop_store
    start_store -o sync_interval=never
    echo '{}' >>"$E/a/t.jsonl"
    # A disk that takes 20 ms, whatever it is here.
    strace -f -y -e trace=fdatasync -e inject=fdatasync:delay_enter=20000 -o "$T/trace" -p "$PID" 2>"$T/strace.err" 3>&- &
    tracer=$!
    wait_for 10 grep -q attached "$T/strace.err" || skip "strace can't attach: $(cat "$T/strace.err")"
    # On files of their own: the kernel lets one O_APPEND write at a time into a file.
    drive dsync 8 20 "$E"
    jq -e '.durable == .events' "$MNT/.evfs/stats.json" || { cat "$MNT/.evfs/stats.json"; false; }
    kill $tracer
    wait $tracer || true
    same "$(lines "$F")" 161
    syncs=$(grep -c 'fdatasync(.*/log/[0-9]*\.jsonl>' "$T/trace")
    echo "# 160 writes, $syncs fdatasyncs"
    [ "$syncs" -ge 8 ] && [ "$syncs" -le 35 ]
}

@test "-o sync and sync_interval: durable without an fsync" {
    stop_store
    start_store -o sync
    echo '{}' >>"$E/a/t.jsonl"
    jq -e '.durable == 1' "$MNT/.evfs/stats.json"
    stop_store
    start_store -o sync_interval=50ms
    echo '{}' >>"$E/a/t.jsonl"
    wait_for 5 jq -e '.durable == 2' "$MNT/.evfs/stats.json"
}

@test "the log is plain JSON Lines, and all else is made again from it" {
    jq -nc 'range(3000) | {entity:"e/\(. % 90)",type:"t\(. % 5)",id:"i\(.)",data:{n:.}}' >>"$F"
    cp "$F" "$T/lines"
    names=$(cd "$E" && find . | sort | cksum)
    stop_store
    cat "$DATA"/log/*.jsonl | cmp - "$T/lines"
    "$EVFS_BIN" rebuild "$DATA"
    "$EVFS_BIN" verify "$DATA"
    rm -f "$DATA"/log/*.idx "$DATA"/index.ckpt "$DATA"/ids "$DATA"/rejected.jsonl
    start_store
    cmp "$F" "$T/lines"
    same "$(cd "$E" && find . | sort | cksum)" "$names"
    cat "$T/lines" >>"$F" # the ids are known
    same "$(lines "$F")" 3000
    stop_store
    # A garbled checkpoint, and a cut one.
    head -c 5000 /dev/urandom >"$DATA/index.ckpt"
    start_store
    cmp "$F" "$T/lines"
    stop_store
    truncate -s 100 "$DATA/index.ckpt"
    start_store
    cmp "$F" "$T/lines"
}

@test "segments: many small ones are as good as one" {
    stop_store
    start_store -o segment_size=64K -o compress=off # log/*.jsonl is all of it
    jq -nc 'range(4000) | {entity:"e/\(. % 90)",type:"t\(. % 5)",data:{n:.,pad:"xxxxxxxxxxxxxxxxxxxx"}}' >"$T/in"
    cat "$T/in" >>"$F"
    [ "$(ls "$DATA"/log/*.jsonl | wc -l)" -gt 8 ]
    same "$(find "$DATA/log" -name '*.jsonl' -size +64k | wc -l)" 0
    same "$(jq -c .data "$F" | cksum)" "$(jq -c .data "$T/in" | cksum)"
    same "$(check_log)" 4000
    same "$(lines "$E/e/7/events.jsonl")" 45
    # A transaction larger than a segment stands in one of its own.
    jq -nc '[range(2000) | {entity:"tx/\(. % 9)",type:"t"}]' >>"$F"
    same "$(check_log)" 6000
    same "$(grep -l '"entity":"tx/' "$DATA"/log/*.jsonl | wc -l | tr -d ' ')" 1
    cat "$DATA"/log/*.jsonl | cmp - "$F"
    kill_store
    start_store
    same "$(check_log)" 6000
}

@test "verify, rebuild, stats, export, import, append of a store that is not mounted" {
    jq -nc 'range(200) | {entity:"e/\(. % 9)",type:"t\(. % 2)",data:{n:.}}' >>"$F"
    cp "$F" "$T/lines"
    cp "$E/e/3/events.jsonl" "$T/e3"
    stop_store
    before=$(find "$DATA" -type f ! -name lock -exec cksum {} + | sort)
    "$EVFS_BIN" verify "$DATA"
    contains "$("$EVFS_BIN" stats "$DATA")" 200
    "$EVFS_BIN" export "$DATA" | cmp - "$T/lines"
    "$EVFS_BIN" export "$DATA" entities/e/3/events.jsonl | cmp - "$T/e3"
    "$EVFS_BIN" export --from 191 "$DATA" | cmp - <(tail -n 10 "$T/lines")
    same "$(find "$DATA" -type f ! -name lock -exec cksum {} + | sort)" "$before" 'looking changed the store'
    # Import: exactly the same store, or the same events once more.
    "$EVFS_BIN" import --exact "$T/exact" "$T/lines"
    "$EVFS_BIN" export "$T/exact" | cmp - "$T/lines"
    refused "$EVFS_BIN" import --exact "$T/exact" "$T/lines" 2>/dev/null
    "$EVFS_BIN" import "$T/again" "$T/lines" "$T/lines"
    same "$("$EVFS_BIN" export "$T/again" | wc -l | tr -d ' ')" 200
    "$EVFS_BIN" import "$T/again" <<<'{"entity":"x","type":"y"}'
    same "$("$EVFS_BIN" export "$T/again" | tail -n 1 | jq -r .entity)" x
    printf '{"entity":"x","type":"y"}\n{"entity":"x"}\n{"entity":"x","type":"y"}\n' >"$T/bad"
    out=$("$EVFS_BIN" import "$T/again" "$T/bad" 2>&1) && false
    contains "$out" 2
    contains "$out" 'no type'
    same "$("$EVFS_BIN" export "$T/again" | wc -l | tr -d ' ')" 202
    # Append.
    echo '{"n":1}' | "$EVFS_BIN" append "$DATA" entities/new/one.jsonl
    start_store
    same "$(lines "$E/new/one.jsonl") $(lines "$F")" '1 201'
}

@test "append, tail and stats of a mount" {
    echo '{"n":1} {"n":2}' | "$EVFS_BIN" append "$E/a/t.jsonl"
    printf '{"n":3}\n' >"$T/in"
    "$EVFS_BIN" append "$E/a/t.jsonl" "$T/in"
    same "$(jq .n "$E/a/t.jsonl" | tr '\n' ' ')" '1 2 3 '
    out=$(printf '{"n":4}\n{"n":}\n' | "$EVFS_BIN" append "$E/a/t.jsonl" 2>&1) && false
    contains "$out" 2
    contains "$out" 'not JSON'
    same "$(lines "$E/a/t.jsonl")" 4
    out=$(printf '{"n":' | "$EVFS_BIN" append "$E/a/t.jsonl" 2>&1) && false
    contains "$out" 'not finished'
    same "$("$EVFS_BIN" tail -n 2 "$E/a/t.jsonl")" '{"n":3}
{"n":4}'
    contains "$("$EVFS_BIN" stats "$MNT")" 4
}

@test "--help and --version of each command; what is wrong ends with 2" {
    "$EVFS_BIN" --version | grep -qE '[0-9]+\.[0-9]+\.[0-9]+'
    for c in mount append tail export import backup verify rebuild stats; do
        "$EVFS_BIN" --help | grep -qw "$c"
        [ "$("$EVFS_BIN" $c --help | wc -l)" -ge 3 ]
        code=0
        "$EVFS_BIN" $c --no-such-option >/dev/null 2>"$T/err" || code=$?
        same "$code" 2 "$c"
        [ -s "$T/err" ]
    done
    code=0
    "$EVFS_BIN" frobnicate 2>/dev/null || code=$?
    same "$code" 2
    code=0
    "$EVFS_BIN" mount -o no_such "$DATA" "$MNT" 2>/dev/null || code=$?
    same "$code" 2
    refused "$EVFS_BIN" verify "$T/no-such-store" 2>/dev/null
}
