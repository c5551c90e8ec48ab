#!/bin/bash
# SPDX-License-Identifier: MIT
# index: how many events an entity, or a type, has: a name is looked up and counters are read. 100 entities of 100
# events and 10 types in memory, then 10 M events of 1 M entities on disk; beside SQLite in the process. See lib.sh
# for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
n=$((10000000 / SCALE))
machine

gen "$SCRATCH/in.jsonl" 10000 --entities 100 --types 10
answers --fill "$SCRATCH/in.jsonl" --sqlite "$SCRATCH/s.db" :memory: \
    count-entity sqlite:count-entity count-type sqlite:count-type entity-type sqlite:entity-type
answer count-entity "10000 events: look-up of an entity"
answer sqlite:count-entity "10000 events: look-up of an entity, SQLite"
answer count-type "10000 events: look-up of a type"
answer sqlite:count-type "10000 events: look-up of a type, SQLite"
answer entity-type "10000 events: data of an entity's events of a type"
answer sqlite:entity-type "10000 events: data of an entity's events of a type, SQLite"
table "10000 events: look-up of an entity"
rm -f "$SCRATCH"/s.db*

say "filling a store with $n events"
fill "$SCRATCH/data" "$n" --per-entity 10
answers --sqlite "$SCRATCH/s.db" "$SCRATCH/data" count-entity sqlite:count-entity count-type sqlite:count-type
answer count-entity "$n events: look-up of an entity"
answer sqlite:count-entity "$n events: look-up of an entity, SQLite"
answer count-type "$n events: look-up of a type"
answer sqlite:count-type "$n events: look-up of a type, SQLite"
table "$n events: look-up of an entity"
