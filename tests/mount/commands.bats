# SPDX-License-Identifier: MIT
# The subcommands: what they print, what they refuse, and what they say about it.
load lib.bash

setup() { make_dirs; }
teardown() { cleanup; }

evfs() { "$EVFS_BIN" "$@"; }
event() { # event N: a line for events.jsonl
    printf '{"entity":"orders/%d","type":"placed","id":"i%d","data":{"n":%d}}\n' "$(($1 % 3))" "$1" "$1"
}
some_events() { # some_events FROM TO
    local i
    for ((i = $1; i <= $2; i++)); do event "$i"; done
}
seqs() { jq -r .seq; }

@test "help, version, and mistakes in the command line" {
    evfs --help | grep -q '^usage: evfs'
    evfs --version | grep -qE '^evfs [0-9]+\.[0-9]+\.[0-9]+$'
    for c in mount append tail import export verify rebuild stats schema; do
        evfs "$c" --help | grep -q "^usage: evfs $c "
        run -2 evfs "$c"
        contains "$output" "evfs $c: "
        contains "$output" "evfs $c --help"
        run -2 evfs "$c" --no-such-option
        contains "$output" "'--no-such-option'"
    done
    run -2 evfs
    run -2 evfs no-such-command
    contains "$output" "'no-such-command'"
    run -2 evfs mount -o no_such_option "$DATA" "$MNT"
    contains "$output" "'no_such_option'"
    run -2 evfs mount -o sync_interval=100 "$DATA" "$MNT"
    run -2 evfs mount -o segment_size=1K "$DATA" "$MNT"
    run -1 bash -c '"$EVFS_BIN" --help >/dev/full'
}

@test "import and export, and the same store again" {
    some_events 1 1000 >"$T/in"
    out=$(evfs import "$DATA" "$T/in")
    contains "$out" '1000 events stored, 0 were there'
    evfs export "$DATA" >"$T/all"
    same "$(lines "$T/all")" 1000
    check_log "$T/all"
    # Again: the ids are known.
    out=$(some_events 990 1010 | evfs import "$DATA")
    contains "$out" '10 events stored, 11 were there'
    evfs export "$DATA" >"$T/all"
    same "$(evfs export --from 1001 "$DATA" | seqs | tr '\n' ' ')" '1001 1002 1003 1004 1005 1006 1007 1008 1009 1010 '
    same "$(evfs export --from 1011 "$DATA" | wc -c)" 0
    same "$(evfs export "$DATA" entities/orders/2/events.jsonl | jq -r .entity | sort -u)" orders/2
    same "$(evfs export "$DATA" entities/orders/2/placed.jsonl | head -n 1)" '{"n":2}'
    same "$(evfs export "$DATA" types/placed/events.jsonl | cksum)" "$(cksum <"$T/all")"
    evfs import --exact "$T/copy" "$T/all"
    evfs export "$T/copy" | cmp - "$T/all"
    run -1 evfs import --exact "$T/copy" "$T/all"
    contains "$output" 'empty store'
    evfs verify "$T/copy"
    evfs rebuild "$T/copy"
    evfs export "$T/copy" | cmp - "$T/all"
    run -1 evfs export "$DATA" entities/orders/77/events.jsonl
    contains "$output" 'no such'
    run -1 evfs export "$DATA" entities/orders
    run -1 evfs export "$T/nothing"
    [ ! -e "$T/nothing/log" ]
}

@test "import names file, line and byte of a bad value, and what is stored" {
    { some_events 1 2; echo '{"entity":"a","type":"t","type":"u"}'; some_events 4 5; } >"$T/bad"
    run -1 evfs import "$DATA" "$T/bad"
    contains "$output" "$T/bad: line 3, byte "
    contains "$output" 'given twice'
    contains "$output" '2 events stored'
    same "$(evfs export "$DATA" | wc -l)" 2
    # The rest, as the message says, corrected.
    tail -n +4 "$T/bad" | evfs import "$DATA"
    same "$(evfs export "$DATA" | seqs | tr '\n' ' ')" '1 2 3 4 '
    # Behind more than one piece.
    { some_events 10 20000; echo '{"entity":"a","type":"t",]'; } >"$T/bad"
    run -1 evfs import "$DATA" "$T/bad"
    contains "$output" "line 19992, byte 26"
    same "$(evfs export "$DATA" | wc -l)" $((4 + 19991))
    # What never ends.
    printf '{\n"entity":"a",' >"$T/bad"
    run -1 evfs import "$DATA" "$T/bad"
    contains "$output" 'not finished'
    printf '{"entity":"a","type":"t"}\n{"entity":' >"$T/bad" # without a line feed
    run -1 evfs import "$DATA" "$T/bad"
    contains "$output" 'not finished'
    contains "$output" '1 events stored'
    run -1 evfs import "$DATA" "$T/none.jsonl"
    contains "$output" "$T/none.jsonl: open: No such file"
}

@test "append to a store that is not mounted" {
    run -1 evfs append "$DATA" entities/orders/42/placed.jsonl <<<'{"total":99}'
    rmdir "$DATA" # evfs append does not make a store
    evfs import "$DATA" </dev/null
    evfs append "$DATA" entities/orders/42/placed.jsonl <<<'{"total":99}'
    printf 42 | evfs append "$DATA" entities/orders/42/count.jsonl
    event 1 >"$T/in"
    evfs append "$DATA" events.jsonl "$T/in"
    same "$(evfs export "$DATA" | jq -r '.entity + " " + .type' | tr '\n' ' ')" \
        'orders/42 placed orders/42 count orders/1 placed '
    same "$(evfs export "$DATA" | jq -r .uid | sort -u)" "$(id -u)"
    run -1 evfs append "$DATA" entities/orders <<<1
    run -2 evfs append "$DATA"
    run -1 evfs append "$DATA" entities/a/t.jsonl <<<'{"a":1}{"b":2}'
    contains "$output" 'line 1, byte 8: no white space'
    same "$(evfs export "$DATA" | wc -l)" 4
}

@test "append to a mount says line, byte and reason" {
    need_mount
    start_store
    evfs append "$MNT/entities/orders/42/placed.jsonl" <<<'{"total":99}'
    same "$(cat "$MNT/entities/orders/42/placed.jsonl")" '{"total":99}'
    { some_events 1 2; echo '{"entity":"a","type":"t","colour":"red"}'; some_events 4 5; } >"$T/bad"
    run -1 evfs append "$MNT/events.jsonl" "$T/bad"
    contains "$output" "$T/bad: line 3, byte "
    contains "$output" 'no such field'
    same "$(lines "$MNT/events.jsonl")" 3
    printf '{\n"entity":"a",' >"$T/bad"
    run -1 evfs append "$MNT/events.jsonl" "$T/bad"
    contains "$output" 'not finished'
    run -1 evfs append "$T/file.jsonl" <<<1
    contains "$output" 'not below an evfs mount'
    [ ! -e "$T/file.jsonl" ]
    run -1 evfs append "$MNT/entities/orders/42/state.json" <<<1
    some_events 10 20000 | evfs append "$MNT/events.jsonl"
    same "$(lines "$MNT/events.jsonl")" $((3 + 19991))
    check_log
}

@test "a mounted store is in use, and the message says where" {
    need_mount
    start_store
    for c in export verify rebuild import stats; do
        run -1 evfs "$c" "$DATA" </dev/null
        contains "$output" "mounted at $MNT"
    done
    evfs stats "$MNT" | grep -qE '^events +0$'
    evfs stats "$MNT/entities" | grep -qE '^health +ok$'
    stop_store
    evfs import "$DATA" <<<"$(event 1)"
    evfs stats "$DATA" | grep -qE '^events +1$'
}

@test "tail prints the newest lines and those from a seq" {
    need_mount
    start_store
    some_events 1 20000 >>"$MNT/events.jsonl"
    same "$(evfs tail -n 3 "$MNT/events.jsonl" | seqs | tr '\n' ' ')" '19998 19999 20000 '
    same "$(evfs tail "$MNT/entities/orders/1/placed.jsonl" | wc -l)" 10
    same "$(evfs tail -n 1 "$MNT/entities/orders/1/placed.jsonl")" '{"n":19999}'
    evfs tail -n 15000 "$MNT/events.jsonl" | cmp - <(tail -n 15000 "$MNT/events.jsonl")
    for s in 1 2 777 10000 19999 20000; do
        same "$(evfs tail -s $s "$MNT/events.jsonl" | seqs | head -n 1)" "$s"
    done
    same "$(evfs tail -s 5000 "$MNT/entities/orders/0/events.jsonl" | seqs | head -n 1)" 5001
    same "$(evfs tail -s 20001 "$MNT/events.jsonl" | wc -c)" 0
    run -1 evfs tail -s 5 "$MNT/entities/orders/0/placed.jsonl"
    contains "$output" 'no seq'
    same "$(evfs tail -n 1 "$MNT/.evfs/health")" ok
}

@test "tail -f prints what comes through any file, and ends with its reader and its mount" {
    need_mount
    start_store
    event 1 >>"$MNT/events.jsonl"
    evfs tail -f "$MNT/entities/orders/events.jsonl" >"$T/out" 2>"$T/err" 3>&- &
    tail=$!
    wait_for 10 size_is "$T/out" "$(stat -c %s "$MNT/events.jsonl")"
    for i in 2 3 4 5; do
        echo "{\"n\":$i}" >>"$MNT/entities/orders/$i/placed.jsonl"
        wait_for 10 size_is "$T/out" "$(stat -c %s "$MNT/events.jsonl")"
    done
    cmp "$T/out" "$MNT/events.jsonl"
    # The reader goes away: no event is needed for the end.
    timeout 10 "$EVFS_BIN" tail -n 5 -f "$MNT/events.jsonl" | head -n 1 >/dev/null
    kill_store
    code=0
    wait_for 10 gone $tail
    wait $tail || code=$?
    same "$code" 1
    contains "$(cat "$T/err")" 'the mount has ended'
}

@test "mount.evfs is the same program under the convention of mount" {
    need_mount
    ln -s "$EVFS_BIN" "$T/mount.evfs"
    run -2 "$T/mount.evfs" "$DATA"
    "$T/mount.evfs" "$DATA" "$MNT" -s -n -o rw,noauto,nofail,_netdev,x-systemd.automount,sync_interval=1s
    wait_for 10 mounted
    echo '{"total":1}' >>"$MNT/entities/a/t.jsonl"
    run -1 evfs export "$DATA"
    contains "$output" "mounted at $MNT"
    wait_for 10 unmount
    exported() { [ "$(evfs export "$DATA" 2>/dev/null | wc -l)" = 1 ]; }
    wait_for 30 exported
}
