#!/bin/bash
# SPDX-License-Identifier: MIT
# sync: 1 to 64 writers, each of which has every event on the disk before it writes the next: writers that wait share
# one fdatasync. In the process, through the mount (an entity each; fdatasync, and mounted with -o sync), beside a plain
# file and SQLite (synchronous = FULL). Through one file of a mount they can't share: the kernel lets one in at a time. SCRATCH must be on a disk: a tmpfs has no fsync to speak of. See lib.sh for the
# environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-writers
each=$((SCALE > 10 ? 2 : 1000)) # not over before the types' schemas are learned and written
few=$((SCALE > 10 ? 2 : 50))
slow=$((SCALE > 10 ? 2 : 200))
gen "$SCRATCH/in.jsonl" $((64 * each)) --entities 100
machine

# by_threads NAME COMMAND...: a row for each number of writers.
by_threads() {
    local name=$1 threads goal
    shift
    for threads in ${COUNTS:-1 2 4 8 16 32 64}; do
        goal=
        [ "$threads" != 16 ] || goal=${GOAL16:-}
        measure "$name, writers: $threads" events/s ${goal:+"$goal"} -- "$@" --threads "$threads"
    done
}
start_store "$SCRATCH/data"
GOAL16='>=10x' by_threads "store" writers store --sync --events "$each"
GOAL16='>=10x' by_threads "mount, fdatasync" mount_writers --sync --events "$each"
COUNTS='1 16' by_threads "mount, one file, fdatasync" one_file_writers --sync --events "$few"
by_threads "plain file" writers file --sync --events "$each"
# A disk with a sync of 1 ms, and one of 5 ms, more or less: both are common.
for ms in 1 5; do
    COUNTS='1 16' GOAL16='>=10x' by_threads "store, a disk $ms ms slower" writers store --sync --slower "${ms}000" --events "$slow"
done
# Its writers wait for one another in turns, and for longer the more there are.
COUNTS='1 4 16' by_threads "SQLite" writers sqlite --sync --events "$few"
rounds
for name in "store, a disk 1 ms slower" "store, a disk 5 ms slower" store "mount, fdatasync" "mount, one file, fdatasync" "plain file" SQLite; do table "$name, writers: 1" "$name, "; done
stop_store
start_store "$SCRATCH/data" -o sync
by_threads "mount, -o sync" mount_writers --events "$each"
rounds
table "mount, -o sync, writers: 1"
stop_store
