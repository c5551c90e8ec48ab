#!/bin/bash
# SPDX-License-Identifier: MIT
# ingest: appending in this process, without FUSE, in batches of 10,000, 1,000, 100 and 1: events a second, heap
# allocations an event, and the memory of the index. See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-ingest
n=$((1000000 / SCALE))
say "making $n events of 200 bytes, in four ways"
gen "$SCRATCH/100.jsonl" "$n" --entities 100
gen "$SCRATCH/10each.jsonl" "$n" --per-entity 10
gen "$SCRATCH/1000each.jsonl" "$n" --per-entity 1000
# evfs-gen draws entities: a million of them, drawn a million times, are 632,121. So these are numbered.
sed '=' "$SCRATCH/100.jsonl" | sed 'N; s|^\([0-9]*\)\n{"entity":"orders/[0-9]*|{"entity":"orders/\1|' >"$SCRATCH/new.jsonl"
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
# ingest NAME GOAL ARGUMENT...: a row of events a second, on one core.
ingest() {
    local name=$1 goal=$2
    shift 2
    measure "$name" events/s ${goal:+"$goal"} -- one_core "$drivers/evfs-ingest" --runs 1 "$@"
}
ingest "memory, 100 entities" '>=4000000' "$SCRATCH/100.jsonl"
ingest "memory, 10 events an entity" '>=3000000' "$SCRATCH/10each.jsonl"
ingest "disk, no fsync, 100 entities" '>=3500000' --dir "$SCRATCH/st" "$SCRATCH/100.jsonl"
ingest "disk, no fsync, 10 events an entity" '>=2500000' --dir "$SCRATCH/st" "$SCRATCH/10each.jsonl"
ingest "memory, a new entity each" '' "$SCRATCH/new.jsonl"
ingest "disk, no fsync, a new entity each" '' --dir "$SCRATCH/st" "$SCRATCH/new.jsonl"
for batch in 1000 100 1; do
    ingest "memory, 100 entities, in batches of $batch" '' --batch $batch "$SCRATCH/100.jsonl"
    ingest "disk, no fsync, 100 entities, in batches of $batch" '' --batch $batch --dir "$SCRATCH/st" \
        "$SCRATCH/100.jsonl"
done
data=${GIT_EVENTS:-${EVFS_TEST_DATA:-}/git-events.jsonl.zst}
if [ -e "$data" ]; then
    case $data in
    *.zst) zstdcat "$data" ;;
    *) cat "$data" ;;
    esac | { head -n $((n / 5)); cat >/dev/null; } >"$SCRATCH/git.jsonl"
    ingest "disk, no fsync, the history of git" '>=2500000' --dir "$SCRATCH/st" "$SCRATCH/git.jsonl"
fi
if have sqlite3; then
    sqlite_script >"$SCRATCH/s.sql"
    measure "sqlite3, one transaction, one index" events/s -- rate_of "$n" sqlite_import
fi
base="write(2) of 10,000 lines to a plain file"
ingest "$base" '' --mode plain --dir "$SCRATCH/plain" "$SCRATCH/10each.jsonl"
rounds
[ -e "$data" ] || absent "disk, no fsync, the history of git" "no GIT_EVENTS"
have sqlite3 || missing "sqlite3, one transaction, one index" sqlite3
table "$base"

say "heap allocations"
drive "$drivers/evfs-ingest" --mode allocs --runs 3 "$SCRATCH/100.jsonl"
row "heap allocations, memory, 100 entities" an-event
drive "$drivers/evfs-ingest" --mode allocs --runs 3 --dir "$SCRATCH/st" "$SCRATCH/10each.jsonl"
row "heap allocations, disk, 10 events an entity" an-event
table

say "memory of the index"
for each in 10 1000; do
    goal='<=20'
    [ "$each" = 10 ] || goal='<=6'
    drive "$drivers/evfs-ingest" --mode memory --runs 1 "$SCRATCH/${each}each.jsonl"
    read -r index names ids <<<"${v[0]}"
    v=("$index"); row "index, names and ids apart, $each events an entity" bytes/event ${goal:+"$goal"}
    v=("$names"); row "names, $each events an entity" bytes/event
    v=("$ids"); row "writers' ids, $each events an entity" bytes/event
done
v=($(($(stat -c %s "$SCRATCH/10each.jsonl") / n))); row "an event as it was written" bytes/event
table "an event as it was written"
