# SPDX-License-Identifier: MIT
# The long run: 16 clients of mixed load, then every acknowledged event is looked for, and the daemon for
# what it did not give back. 20 seconds with --quick, 60 in CI, 30 minutes with --long; LOAD_SECONDS says
# otherwise. The figures are printed, and kept in $LOAD_REPORT if that is a file's name.
load lib.bash

setup() { setup_store; }
teardown() { cleanup; }

@test "mixed load of 16 clients: nothing lost, nothing leaked, verify clean" {
    need jq
    seconds=${LOAD_SECONDS:-$(by_mode 20 60 1800)}
    daemon=$PID
    timeout -k 10 $((seconds * 2 + 300)) "$(helper load)" "$MNT" "$seconds" "$PID" >"$T/report" 2>"$T/err" ||
        { cat "$T/report" "$T/err" >&2; false; }
    sed 's/^/# /' "$T/report" >&3
    [ -z "${LOAD_REPORT-}" ] || cp "$T/report" "$LOAD_REPORT"
    same "$(cat "$T/err")" ''
    # All is closed, and what was left unfinished is counted as refused.
    wait_for 10 nothing_open
    same "$(jq -c '[.pending_bytes,.writers]' "$MNT/.evfs/stats.json")" '[0,0]'
    health_without_borders
    events=$(lines "$MNT/events.jsonl")
    stop_store
    gone "$daemon"
    same "$(ls "/proc/$daemon/fd" 2>/dev/null)" '' 'descriptors of the daemon that ended'
    "$EVFS_BIN" verify "$DATA"
    start_store
    same "$(lines "$MNT/events.jsonl")" "$events" 'events after a remount'
}
# The statistics are a file that is open while it is made.
nothing_open() { [ "$(jq .open_files "$MNT/.evfs/stats.json")" -le 1 ]; }
# What borders close is no fault: the tenants made some.
health_without_borders() {
    local h
    h=$(grep -v 'border' "$MNT/.evfs/health" || true)
    [ -z "$h" ] || [ "$h" = ok ] || { echo "health: $h" >&2; return 1; }
}
