#!/bin/bash
# SPDX-License-Identifier: MIT
# concurrent: 1, 2, 4 and 8 writers at once that append to one store, in the process and through the mount (an entity
# each, and all to one file), beside a plain file with O_APPEND and SQLite. 250 and 100,000 events each, nothing synced,
# to 1,000 entities: of 100 an entity passes 1,500 events, from where on the index keeps its types apart, in a run of two
# writers, not of one. On all CPUs: see the line "Machine" for how many there are, and the rows "processors" for what two
# of them can do. See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-writers
need evfs-cores
n=$((100000 / (SCALE > 100 ? 100 : SCALE)))
few=250
gen "$SCRATCH/in.jsonl" $((8 * n)) --entities 1000
gen "$SCRATCH/100.jsonl" $((8 * n)) --entities 100
machine

# by_threads NAME EVENTS COMMAND...: a row for each number of writers, so many events each. GOAL2 is that of two.
names=()
by_threads() {
    local name=$1 events=$2 threads goal
    shift 2
    names+=("$name")
    for threads in 1 2 4 8; do
        goal=
        [ "$threads" != 2 ] || goal=${GOAL2:-}
        measure "$name, writers: $threads" events/s ${goal:+"$goal"} -- "$@" --threads "$threads" --events "$events"
    done
}
# tables LABEL: measure and print what was named since the last one, and in turn with it what the first two processors can
# do at once: a guest's host may give it others while this runs.
tables() {
    local name work="processors, the first two to one, of work that shares nothing: $1"
    local line="processors, a cache line from the first to the second and back: $1"
    if "$drivers/evfs-cores" line >"$SCRATCH/cores"; then
        measure "$work" times -- "$drivers/evfs-cores" work
        measure "$line" ns -- "$drivers/evfs-cores" line
    else
        absent "$work" "two processors"
        absent "$line" "two processors"
    fi
    rounds
    table "" "processors, "
    for name in "${names[@]}"; do table "$name, writers: 1" "$name, "; done
    names=()
}
in_memory() { "$drivers/evfs-writers" "${@:2}" store :memory: "$SCRATCH/$1.jsonl"; }
# First, by itself: what others have written the kernel brings to the disk with one of the processors.
sync
GOAL2='>=1.6x' by_threads "store in memory, 100 events a write, $n each" "$n" in_memory in --batch 100
by_threads "store in memory, 100 entities, 100 events a write, $n each" "$n" in_memory 100 --batch 100
tables "in memory"
start_store "$SCRATCH/data"
by_threads "store, one event a write, $few each" "$few" writers store --batch 1
by_threads "mount, one event a write, $few each" "$few" mount_writers --batch 1
by_threads "mount, one file, one event a write, $few each" "$few" one_file_writers --batch 1
by_threads "plain file, one event a write, $few each" "$few" writers file --batch 1
by_threads "SQLite, one event a transaction, $few each" "$few" writers sqlite --batch 1
tables "250 events each"
by_threads "store, one event a write, $n each" "$n" writers store --batch 1
by_threads "mount, one event a write, $((n / 10)) each" $((n / 10)) mount_writers --batch 1
by_threads "plain file, one event a write, $n each" "$n" writers file --batch 1
tables "one event a write"
GOAL2='>=1.6x' by_threads "store, 100 events a write, $n each" "$n" writers store --batch 100
by_threads "mount, 100 events a write, $n each" "$n" mount_writers --batch 100
by_threads "plain file, 100 events a write, $n each" "$n" writers file --batch 100
by_threads "SQLite, 100 events a transaction, $((n / 10)) each" $((n / 10)) writers sqlite --batch 100
tables "100 events a write"
stop_store
