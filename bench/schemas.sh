#!/bin/bash
# SPDX-License-Identifier: MIT
# schemas: what it costs to learn schemas from all that is appended: events a second with and without, in turns, in
# process and on one core, of a real history (GIT_EVENTS, JSON Lines or .zst; the history of git's own repository in the
# figures) and of generated events; and heap allocations an event. See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-ingest
n=$((400000 / SCALE))
data=${GIT_EVENTS:-${EVFS_TEST_DATA:-}/git-events.jsonl.zst}
[ -e "$data" ] || die "GIT_EVENTS names no file of events"
case $data in
*.zst) zstdcat "$data" ;;
*) cat "$data" ;;
esac | { head -n "$n"; cat >/dev/null; } >"$SCRATCH/git.jsonl"
gen "$SCRATCH/100.jsonl" "$n" --entities 100
machine

both() { # both NAME GOAL ARGUMENT...: a table of two rows
    local name=$1 goal=$2
    shift 2
    measure "$name, without schemas" events/s -- one_core "$drivers/evfs-ingest" --runs 1 --no-schemas "$@"
    measure "$name, with schemas" events/s ${goal:+"$goal"} -- one_core "$drivers/evfs-ingest" --runs 1 "$@"
    rounds
    table "$name, without schemas"
}
both "the history of git, memory" '' "$SCRATCH/git.jsonl"
both "the history of git, disk, no fsync" '>=0.9x' --dir "$SCRATCH/st" "$SCRATCH/git.jsonl"
both "the history of git, disk, in batches of 100" '' --batch 100 --dir "$SCRATCH/st" "$SCRATCH/git.jsonl"
both "events of 200 bytes, disk, no fsync" '' --dir "$SCRATCH/st" "$SCRATCH/100.jsonl"

say "heap allocations"
drive "$drivers/evfs-ingest" --mode allocs --runs 3 "$SCRATCH/100.jsonl"
row "heap allocations, events of 200 bytes" an-event '<=0.001'
drive "$drivers/evfs-ingest" --mode allocs --runs 3 "$SCRATCH/git.jsonl"
row "heap allocations, the history of git" an-event
table
