# SPDX-License-Identifier: MIT
# The README's tour, as it stands there; scripts/run; what the tree answers by itself.
load lib.bash

teardown() { cleanup; }

# The tour as a script: each run of commands up to its "#=>" lines is a group whose output is compared.
tour_script() {
    awk '
        function flush() {
            if (commands == "") return
            printf "{\n%s} >\"$T/got\"\n", commands
            if (want != "") printf "check <<\"END\"\n%sEND\n", want
            commands = want = ""
        }
        /^<!-- tour begins/ { tour = 1 }
        /^<!-- tour ends/ { tour = 0 }
        tour && /^```sh/ { code = 1; next }
        tour && /^```/ { code = 0; flush(); next }
        code && /^#=> / { want = want substr($0, 5) "\n"; next }
        code { if (want != "") flush(); commands = commands $0 "\n" }
    ' "$1"
}

@test "the README's tour runs, and prints what it says" {
    need jq
    need_mount
    make_dirs
    mkdir -p "$T/evfs/mnt" "$T/evfs/data"
    MNT=$T/evfs/mnt DATA=$T/evfs/data
    start_store
    {
        echo 'set -eu -o pipefail'
        echo 'check() { cat >"$T/want"; diff -u "$T/want" "$T/got" >&2; checks=$((checks + 1)); }; checks=0'
        tour_script "$EVFS_SOURCE_DIR/README.md"
        echo '[ $checks -ge 9 ] # the tour was found'
    } >"$T/tour.sh"
    HOME=$T T=$T bash "$T/tour.sh"
    check_log
}

@test "scripts/run mounts, shows the main job, and runs twice" {
    need jq
    need_mount
    [ "$MODE" != quick ] || [ -x "$EVFS_SOURCE_DIR/build/evfs" ] || skip 'quick: it would build anew'
    make_dirs
    "$EVFS_SOURCE_DIR/scripts/run" "$DATA" "$MNT" >"$T/out" 2>&1 3>&- || { cat "$T/out"; false; }
    PID=$(pgrep -f "mount $DATA $MNT")
    [ -z "${EVFS_TEST_TMP-}" ] || echo "$PID" >>"$EVFS_TEST_TMP/pids"
    contains "$(cat "$T/out")" "$DATA is mounted at $MNT"
    same "$(lines "$MNT/events.jsonl")" 3
    "$EVFS_SOURCE_DIR/scripts/run" "$DATA" "$MNT" >"$T/out" 2>&1 3>&-
    contains "$(cat "$T/out")" 'already mounted'
    same "$(lines "$MNT/events.jsonl")" 6
    stop_store
}

@test "the tree says what it is" {
    setup_store
    same "$(LC_ALL=C ls -A "$MNT")" "$(printf '%s\n' .evfs README entities events.jsonl types)"
    n=$(lines "$MNT/README")
    [ "$n" -ge 15 ] && [ "$n" -le 60 ]
    grep -q events.jsonl "$MNT/README"
    jq -e '.events == 0' "$MNT/.evfs/stats.json"
    grep -qE '^evfs_events(_total)? 0$' "$MNT/.evfs/metrics.prom"
    health_ok
    same "$(ls -A "$MNT/entities" "$MNT/types" | grep -c jsonl || true)" 0
    echo '{}' >>"$MNT/entities/a/b.jsonl"
    jq -e '.events == 1 and .entities >= 1 and .types == 1' "$MNT/.evfs/stats.json"
    grep -qE '^evfs_events(_total)? 1$' "$MNT/.evfs/metrics.prom"
    same "$(ls "$MNT/entities") $(ls "$MNT/types") $(ls "$MNT/types/b")" $'a b README\nchanges.jsonl\nevents.jsonl\nschema.json\nschemas'
}
