#!/bin/bash
# SPDX-License-Identifier: MIT
# query: reading the events of an entity, of a type, and the newest of them: in the process, beside SQLite in the
# process (prepared statements, an index for each question, the same lines), and from the shell, through the mount,
# beside sqlite3. First 10,000 events of 100 entities in memory, then 10 M of 100,000 on disk, all in the page cache
# (8 GB). See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
small=$((SCALE > 10 ? 1000 : 10000))
n=$((10000000 / SCALE))
machine

# in_process NAME [GOAL]: the table.
in_process() {
    answer entity "$1: an entity's 100 events" ${2:+"$2"}
    answer sqlite:entity "$1: an entity's 100 events, SQLite"
    answer entity-newest "$1: the newest 10 of an entity"
    answer sqlite:entity-newest "$1: the newest 10 of an entity, SQLite"
    answer entity-type "$1: data of an entity's events of a type"
    answer sqlite:entity-type "$1: data of an entity's events of a type, SQLite"
    answer type "$1: all events of a type"
    answer sqlite:type "$1: all events of a type, SQLite"
    table "$1: an entity's 100 events"
}
newest() { # newest NAME [GOAL]
    answer type-newest "$1: the newest 100 of a type" ${2:+"$2"}
    answer sqlite:type-newest "$1: the newest 100 of a type, SQLite"
    table "$1: the newest 100 of a type"
}
both() { # both QUESTION...: each, and of SQLite
    local q
    for q in "$@"; do echo "$q" "sqlite:$q"; done
}

gen "$SCRATCH/in.jsonl" "$small" --entities $((small / 100)) --types 10
say "$small events in memory"
# shellcheck disable=SC2046 # words
answers --fill "$SCRATCH/in.jsonl" --sqlite "$SCRATCH/s.db" --limit 10 :memory: \
    $(both entity entity-newest entity-type type)
in_process "$small events" '<=5'
# shellcheck disable=SC2046
answers --fill "$SCRATCH/in.jsonl" --sqlite "$SCRATCH/s.db" --limit 100 :memory: $(both type-newest)
newest "$small events" '<=10'
rm -f "$SCRATCH"/s.db*

say "filling a store with $n events"
fill "$SCRATCH/data" "$n" --per-entity 100
# shellcheck disable=SC2046
answers --sqlite "$SCRATCH/s.db" --limit 10 "$SCRATCH/data" $(both entity entity-newest entity-type type)
in_process "$n events" '<=5'
# shellcheck disable=SC2046
answers --sqlite "$SCRATCH/s.db" --limit 100 "$SCRATCH/data" $(both type-newest)
newest "$n events" '<=10'

# ---- from the shell
start_store "$SCRATCH/data" -o ro
entity=$(ls "$mnt/entities/orders" | sed -n 1p)
times=$((SCALE > 10 ? 2 : 20))
again() { for ((i = 0; i < times; i++)); do "$@" >/dev/null; done; }
shell() { us_of "$times" elapsed again "$@"; }
sql() { sqlite3 "$SCRATCH/s.db" "$1"; }
base="cat of a plain file with the same lines"
cat "$mnt/entities/orders/$entity/events.jsonl" >"$SCRATCH/plain"
[ -s "$SCRATCH/plain" ] || die "orders/$entity has no events"
measure "cat entities/orders/$entity/events.jsonl" us -- shell cat "$mnt/entities/orders/$entity/events.jsonl"
measure "tail -n 10 of it" us -- shell tail -n 10 "$mnt/entities/orders/$entity/events.jsonl"
measure "tail -n 100 types/type-07/events.jsonl" us -- shell tail -n 100 "$mnt/types/type-07/events.jsonl"
measure "ls entities/orders/$entity" us -- shell ls "$mnt/entities/orders/$entity"
if have sqlite3; then
    measure "sqlite3: an entity's events" us -- \
        shell sql "SELECT line FROM e WHERE entity = 'orders/$entity' ORDER BY seq"
    measure "sqlite3: the newest 100 of a type" us -- \
        shell sql "SELECT line FROM e WHERE type = 'type-07' ORDER BY seq DESC LIMIT 100"
fi
measure "$base" us -- shell cat "$SCRATCH/plain"
rounds
have sqlite3 || missing "sqlite3: an entity's events" sqlite3
table "$base"
stop_store
