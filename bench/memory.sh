#!/bin/bash
# SPDX-License-Identifier: MIT
# memory: bytes of memory an event, from 1,000 to 10 M events, at 10 and at 1,000 events an entity: of the index, its
# names apart, and of a daemon that has a store on disk mounted. Names and fixed costs weigh on the small ones: the
# goal is for 1 M and more. See lib.sh for the environment; 10 M events need 3 GB below SCRATCH twice.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-ingest
machine

load() { cat "$SCRATCH/in.jsonl" >>"$mnt/events.jsonl"; }
per_event() { awk -v b="$1" -v n="$2" 'BEGIN { printf "%.2f\n", b / n }'; }

for each in 10 1000; do
    for events in 1000 10000 100000 1000000 10000000; do
        n=$((events / (events > 10000 ? SCALE : 1)))
        goal=
        [ "$events" -lt 1000000 ] || goal="<=$((each == 10 ? 20 : 6))"
        say "$n events, $each an entity"
        gen "$SCRATCH/in.jsonl" "$n" --per-entity "$each"
        drive "$drivers/evfs-ingest" --mode memory --runs 1 --dir "$SCRATCH/st" "$SCRATCH/in.jsonl"
        read -r index names _ <<<"${v[0]}"
        v=("$index"); row "$n events, $each an entity: index" B/event ${goal:+"$goal"}
        v=("$names"); row "$n events, $each an entity: names" B/event
        rm -rf "$SCRATCH/data"
        start_store "$SCRATCH/data"
        before=$(memory_of "$daemon")
        load
        v=("$(per_event $(($(memory_of "$daemon") - before)) "$n")")
        row "$n events, $each an entity: what the daemon grew by" B/event
        stop_store
    done
    v=(200); row "an event as it was written" B/event
    table "an event as it was written"
done
