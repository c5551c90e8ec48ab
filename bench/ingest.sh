#!/bin/bash
# SPDX-License-Identifier: MIT
# ingest: appending in batches of 10,000 in this process, without FUSE: events a second, heap
# allocations an event, and the memory of the index. See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-ingest
n=$((1000000 / SCALE))
say "making $n events of 200 bytes, three times"
gen "$SCRATCH/100.jsonl" "$n" --entities 100
gen "$SCRATCH/10each.jsonl" "$n" --per-entity 10
gen "$SCRATCH/1000each.jsonl" "$n" --per-entity 1000
machine

# sqlite3 at its best: one transaction for all, a table with a key and an index on the entity.
sqlite_script() {
    cat <<END
PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
CREATE TABLE e(seq INTEGER PRIMARY KEY, entity TEXT, type TEXT, data TEXT);
CREATE INDEX i ON e(entity);
CREATE TEMP TABLE t(line TEXT);
.mode ascii
.separator "\001" "\n"
.import $SCRATCH/10each.jsonl t
INSERT INTO e(entity, type, data) SELECT line->>'entity', line->>'type', line->'data' FROM t;
END
}
sqlite_import() {
    rm -f "$SCRATCH"/s.db*
    elapsed sqlite3 "$SCRATCH/s.db" <"$SCRATCH/s.sql"
    [ "$(sqlite3 "$SCRATCH/s.db" 'SELECT count(*) FROM e')" = "$n" ] || die "sqlite3 lost events"
}
# ingest NAME ARGUMENT...: a row of events a second, on one core.
ingest() {
    local name=$1
    shift
    say "$name"
    drive one_core "$drivers/evfs-ingest" --runs "$RUNS" "$@"
    row "$name" events/s
}
ingest "memory, 100 entities" "$SCRATCH/100.jsonl"
ingest "memory, 10 events an entity" "$SCRATCH/10each.jsonl"
ingest "disk, no fsync, 100 entities" --dir "$SCRATCH/st" "$SCRATCH/100.jsonl"
ingest "disk, no fsync, 10 events an entity" --dir "$SCRATCH/st" "$SCRATCH/10each.jsonl"
ingest "the same in batches of 100" --batch 100 --dir "$SCRATCH/st" "$SCRATCH/10each.jsonl"
ingest "the same, one event a write" --batch 1 --dir "$SCRATCH/st" "$SCRATCH/10each.jsonl"
if have sqlite3; then
    sqlite_script >"$SCRATCH/s.sql"
    RUNS=3 each sqlite_import
    rate "$n"
    row "sqlite3, one transaction, one index" events/s
else
    missing "sqlite3, one transaction, one index" sqlite3
fi
base="write(2) of 10,000 lines to a plain file"
ingest "$base" --mode plain --dir "$SCRATCH/plain" "$SCRATCH/10each.jsonl"
table "$base"

say "heap allocations"
drive "$drivers/evfs-ingest" --mode allocs --runs 3 "$SCRATCH/100.jsonl"
row "heap allocations, memory, 100 entities" an-event
drive "$drivers/evfs-ingest" --mode allocs --runs 3 --dir "$SCRATCH/st" "$SCRATCH/10each.jsonl"
row "heap allocations, disk, 10 events an entity" an-event
table

say "memory of the index"
for each in 10 1000; do
    drive "$drivers/evfs-ingest" --mode memory --runs 1 "$SCRATCH/${each}each.jsonl"
    read -r index names ids <<<"${v[0]}"
    v=("$index"); row "index, names and ids apart, $each events an entity" bytes/event
    v=("$names"); row "names, $each events an entity" bytes/event
    v=("$ids"); row "writers' ids, $each events an entity" bytes/event
done
v=($(($(stat -c %s "$SCRATCH/10each.jsonl") / n))); row "an event as it was written" bytes/event
table "an event as it was written"
