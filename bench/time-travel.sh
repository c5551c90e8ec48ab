#!/bin/bash
# SPDX-License-Identifier: MIT
# time-travel: an entity as it was at an event, what came after it, and the store from an event on; in the process,
# beside SQLite in the process (the same lines, an index on the entity). 10 M events of 100,000 entities, in the page
# cache. See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
n=$((10000000 / SCALE))
machine
say "filling a store with $n events"
fill "$SCRATCH/data" "$n" --per-entity 100
answers --sqlite "$SCRATCH/s.db" "$SCRATCH/data" as-of sqlite:as-of after sqlite:after all-after sqlite:all-after entity
answer as-of "an entity's events up to an event"
answer sqlite:as-of "an entity's events up to an event, SQLite"
answer after "an entity's events after an event"
answer sqlite:after "an entity's events after an event, SQLite"
answer all-after "the store's 100 events after an event"
answer sqlite:all-after "the store's 100 events after an event, SQLite"
answer entity "all 100 events of an entity"
table "all 100 events of an entity"
