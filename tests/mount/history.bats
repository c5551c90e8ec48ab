# SPDX-License-Identifier: MIT
# A real history: every change of every file in a repository's first twenty years, and an hour of a site's
# events with ids. Loaded once for this file.
load lib.bash

setup_file() {
    [ -n "${EVFS_TEST_DATA-}" ] && [ -e "$EVFS_TEST_DATA/git-events.jsonl.zst" ] || return 0
    command -v zstd >/dev/null && [ -e /dev/fuse ] || return 0
    need_mount
    make_dirs
    start_store
    zstd -dc "$EVFS_TEST_DATA/git-events.jsonl.zst" >"$T/input.jsonl"
    cat "$T/input.jsonl" >>"$MNT/events.jsonl"
    export T DATA MNT LOG PID
}
setup() {
    need_data git-events.jsonl.zst
    need zstd
    need_mount
    [ ! -e "$T/pid" ] || PID=$(cat "$T/pid")
}
# A daemon that a test started: the next tests and the end have to know it.
again() {
    start_store
    echo "$PID" >"$T/pid"
}
teardown() { [ -n "${BATS_TEST_COMPLETED-}" ] || tail -n 20 "$LOG" >&2; }
teardown_file() {
    [ ! -e "${T-}/pid" ] || PID=$(cat "$T/pid")
    BATS_TEST_COMPLETED=1 cleanup
}

@test "every event is stored, by entity and by type" {
    same "$(lines "$MNT/events.jsonl")" 136485
    for want in modified:127905 added:5992 renamed:1414 deleted:1170 retyped:4; do
        same "$(lines "$MNT/types/${want%:*}/events.jsonl")" "${want#*:}" "$want"
    done
    same "$(lines "$MNT/entities/files/Makefile/events.jsonl")" 2356
    same "$(lines "$MNT/entities/files/events.jsonl")" 136485
    jq -e '.events == 136485' "$MNT/.evfs/stats.json"
    same "$(check_log)" 136485
}

@test "sizes are what is read" {
    for f in events.jsonl types/added/events.jsonl entities/files/Makefile/{events,added,modified}.jsonl; do
        same "$(stat -c %s "$MNT/$f")" "$(wc -c <"$MNT/$f" | tr -d ' ')" "$f"
    done
}

@test "every entity is a directory with its events, none besides" {
    need jq
    # A directory with an own TYPE.jsonl is an entity; the rest only lie above one.
    find "$MNT/entities" -name state.json | sed "s|^$MNT/entities/||; s|/state.json$||" | sort >"$T/found"
    same "$(wc -l <"$T/found" | tr -d ' ')" 7331
    # What a file name can't say is encoded: here only endings like .json are.
    jq -r .entity "$T/input.jsonl" | sort -u |
        sed -E 's/%/%25/g; :again; s#\.(jsonl|json|csv)(/|$)#%2E\1\2#; t again; s#(^|/)events(/|$)#\1%65vents\2#' |
        sort >"$T/want"
    diff "$T/want" "$T/found"
}

@test "data comes back byte for byte" {
    need jq
    # The input's fields in front of data are known, so the bytes of data can be cut out of both.
    sed -E 's/^.*,"data":(\{.*\})\}$/\1/' "$T/input.jsonl" >"$T/want"
    sed -E 's/^.*,"crc":"[0-9a-f]{8}","data":(.*)\}$/\1/' "$MNT/events.jsonl" >"$T/got"
    cmp "$T/want" "$T/got"
    sed -nE 's/^.*"entity":"files\/Makefile","type":"modified",.*,"data":(\{.*\})\}$/\1/p' "$T/input.jsonl" >"$T/want"
    cmp "$T/want" "$MNT/entities/files/Makefile/modified.jsonl"
    jq -c '[.entity,.type,.time]' "$T/input.jsonl" >"$T/want"
    jq -c '[.entity,.type,.time]' "$MNT/events.jsonl" >"$T/got"
    cmp "$T/want" "$T/got"
}

@test "names that a file can't say, blanks, dots, UTF-8" {
    d=$MNT/entities/files
    # An entity that is a file there and has entities below it.
    [ -s "$d/git-gui/events.jsonl" ] && [ -d "$d/git-gui/lib" ]
    [ "$(lines "$d/git-gui/events.jsonl")" -gt "$(cat "$d"/git-gui/[a-df-z]*.jsonl | wc -l)" ]
    [ -s "$d/ci/git-problem-matcher%2Ejson/events.jsonl" ]
    refused stat "$d/ci/git-problem-matcher.json" 2>/dev/null
    [ -s "$d/gitweb/test/Märchen/deleted.jsonl" ]
    [ -s "$d/gitweb/test/file with spaces/deleted.jsonl" ]
    [ -s "$d/.gitignore/events.jsonl" ] && [ -s "$d/.github/workflows/main.yml/events.jsonl" ]
    refused stat "$d/.no-such" 2>/dev/null
    same "$(jq -r .entity "$d/gitweb/test/Märchen/events.jsonl" | sort -u)" 'files/gitweb/test/Märchen'
    # They are found by listing, not only by name.
    find "$d/gitweb/test" -mindepth 1 -maxdepth 1 -type d | grep -q Märchen
    ls -A "$d" | grep -qx .github
}

@test "grep, tail, find and jq" {
    same "$(grep -rl '"author":"e246b48a79"' "$MNT/entities/files/Makefile" | wc -l | tr -d ' ')" 3
    same "$(tail -n 1 "$MNT/events.jsonl" | jq .seq)" 136485
    same "$(head -n 1 "$MNT/events.jsonl" | jq -r .entity)" files/Makefile
    same "$(jq -s 'map(.data.lines.added // 0) | add' "$MNT/types/added/events.jsonl")" \
        "$(jq -s 'map(select(.type == "added").data.lines.added // 0) | add' "$T/input.jsonl")"
    same "$(find "$MNT/types" -name events.jsonl | wc -l | tr -d ' ')" 5
}

@test "cp -r, tar and rsync take the tree out, the same" {
    need rsync
    src=$MNT/entities/files/builtin
    cp -r "$src" "$T/cp"
    mkdir "$T/tar" && tar -C "$src" -cf - . 2>"$T/tar.err" | tar -C "$T/tar" -xf -
    same "$(cat "$T/tar.err")" '' 'tar complains'
    rsync -a --no-owner --no-group "$src/" "$T/rsync"
    [ "$(find "$src" -type f | wc -l)" -gt 500 ]
    for copy in cp tar rsync; do
        diff -r "$src" "$T/$copy" >&2
    done
    # Names with blanks and UTF-8 as well.
    cp -r "$MNT/entities/files/gitweb/test" "$T/odd"
    diff -r "$MNT/entities/files/gitweb/test" "$T/odd"
}

@test "after a remount everything is the same" {
    before=$(cksum <"$MNT/events.jsonl")
    names=$(cd "$MNT/entities" && find . | sort | cksum)
    stop_store
    again
    same "$(cksum <"$MNT/events.jsonl")" "$before"
    same "$(cd "$MNT/entities" && find . | sort | cksum)" "$names"
    same "$(lines "$MNT/types/renamed/events.jsonl")" 1414
    stop_store
    "$EVFS_BIN" verify "$DATA"
    same "$("$EVFS_BIN" export "$DATA" | cksum)" "$before"
    again
}

@test "an hour of events with ids, loaded twice, is stored once" {
    need_data gharchive-2015-01-01-0.jsonl.zst
    zstd -dc "$EVFS_TEST_DATA/gharchive-2015-01-01-0.jsonl.zst" >"$T/hour.jsonl"
    cat "$T/hour.jsonl" >>"$MNT/events.jsonl"
    same "$(lines "$MNT/events.jsonl")" $((136485 + 7702))
    cat "$T/hour.jsonl" >>"$MNT/events.jsonl"
    same "$(lines "$MNT/events.jsonl")" $((136485 + 7702))
    same "$(lines "$MNT/types/PushEvent/events.jsonl")" 4280
    same "$(lines "$MNT/types/IssueCommentEvent.created/events.jsonl")" 650
    # Still so for a daemon that read it from the disk.
    stop_store
    again
    cat "$T/hour.jsonl" >>"$MNT/events.jsonl"
    same "$(lines "$MNT/events.jsonl")" $((136485 + 7702))
    check_log
}
