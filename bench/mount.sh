#!/bin/bash
# SPDX-License-Identifier: MIT
# mount: what programs see: loading, single writes, shell loops, reading and listing, each beside the
# same on the file system below ("plain file"). See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-oneshot
n=$((1000000 / SCALE))
echoes=$((2000 / (SCALE > 10 ? 10 : 1)))
processes=$((echoes / 10))
say "making $n events of 200 bytes"
gen "$SCRATCH/in.jsonl" "$n" --per-entity 10
machine

append_to() { cat "$SCRATCH/in.jsonl" >>"$1"; }
read_all() { cat "$1" >/dev/null; }

# ---- load
load() {
    rm -rf "$SCRATCH/data"
    start_store "$SCRATCH/data"
    elapsed append_to "$mnt/events.jsonl"
    tail -n 1 "$mnt/events.jsonl" | grep -q "^{\"seq\":$n," || die "not all was stored"
    stop_store
}
load_plain() {
    rm -f "$SCRATCH/plain"
    elapsed append_to "$SCRATCH/plain"
}
measure "cat $n events >> events.jsonl" events/s ">=1500000" -- rate_of "$n" load
measure "the same >> plain file" events/s -- rate_of "$n" load_plain
rounds
table "the same >> plain file"

# ---- one write
event=$mnt/entities/bench/one/ev.jsonl
plain=(-o compress=off) # bench/compress.sh has what compressed segments cost
start_store "$SCRATCH/data" "${plain[@]}"
measure "write(2) of one event, open descriptor" us "<=25" -- "$drivers/evfs-oneshot" "$event" 1
measure "the same to a plain file" us -- "$drivers/evfs-oneshot" "$SCRATCH/one" 1
rounds
table "the same to a plain file"

# ---- loops of the shell
loop_echo() { for ((i = 0; i < $2; i++)); do echo '{"total":99}' >>"$1"; done; }
loop_sqlite() {
    for ((i = 0; i < $1; i++)); do
        sqlite3 "$SCRATCH/loop.db" "INSERT INTO e(data) VALUES('{\"total\":99}')"
    done
}
loop_redis() {
    for ((i = 0; i < $1; i++)); do
        redis-cli -s "$SCRATCH/redis.sock" XADD e '*' data '{"total":99}' >/dev/null
    done
}
measure "bash echo >> an existing file" us "<=120" -- us_of "$echoes" elapsed loop_echo "$event" "$echoes"
measure "bash echo >> plain file" us -- us_of "$echoes" elapsed loop_echo "$SCRATCH/one" "$echoes"
if have sqlite3; then
    sqlite3 "$SCRATCH/loop.db" \
        "PRAGMA journal_mode=WAL; CREATE TABLE e(seq INTEGER PRIMARY KEY, data)" >/dev/null
    measure "sqlite3 INSERT (a process each)" us -- us_of "$processes" elapsed loop_sqlite "$processes"
fi
if have redis-server && have redis-cli; then
    redis-server --port 0 --unixsocket "$SCRATCH/redis.sock" --dir "$SCRATCH" --save '' \
        --appendonly yes --appendfsync everysec >"$SCRATCH/redis.log" 2>&1 &
    served $! redis-cli -s "$SCRATCH/redis.sock" PING
    measure "redis-cli XADD (a process each)" us -- us_of "$processes" elapsed loop_redis "$processes"
fi
rounds
have sqlite3 || missing "sqlite3 INSERT (a process each)" sqlite3
have redis-server || missing "redis-cli XADD (a process each)" redis
table "bash echo >> plain file"
stop_store

# ---- reading: in each round first_read mounts the store, for those behind it
first_read() {
    [ -z "$daemon" ] || stop_store
    start_store "$SCRATCH/data" "${plain[@]}"
    elapsed read_all "$mnt/events.jsonl"
}
after_append() {
    echo '{"total":99}' >>"$event"
    elapsed read_all "$mnt/events.jsonl"
}
# Where nothing can grow, the kernel may keep the pages.
read_only() {
    stop_store
    start_store "$SCRATCH/data" -o ro
    read_all "$mnt/events.jsonl"
    elapsed read_all "$mnt/events.jsonl"
}
read_1m() { dd if="$1" of=/dev/null bs=1M status=none; }
gbs_of() { # gbs_of COMMAND...: GB/s of one that calls elapsed in the end
    "$@"
    awk "BEGIN { printf \"%.2f\\n\", $bytes / $us / 1e3 }"
}
start_store "$SCRATCH/data" "${plain[@]}"
bytes=$(stat -c %s "$mnt/events.jsonl")
cp "$mnt/events.jsonl" "$SCRATCH/copy"
[ "$(stat -c %s "$SCRATCH/copy")" = "$bytes" ] || die "not all was read"
base="cat of a plain file with the same bytes"
measure "first cat of events.jsonl after mounting" GB/s ">=1.5" -- gbs_of first_read
measure "cat again, nothing appended" GB/s ">=5" -- gbs_of elapsed read_all "$mnt/events.jsonl"
measure "dd bs=1M, nothing appended" GB/s -- gbs_of elapsed read_1m "$mnt/events.jsonl"
measure "cat again, one append before each" GB/s -- gbs_of after_append
measure "cat again, mounted with -o ro" GB/s -- gbs_of read_only
measure "$base" GB/s -- gbs_of elapsed read_all "$SCRATCH/copy"
rounds
table "$base"
stop_store

# ---- small reads, a process each
again() { for ((i = 0; i < processes; i++)); do "$@" >/dev/null; done; }
small() { us_of "$processes" elapsed again "$@"; }
start_store "$SCRATCH/data"
measure "tail -n 1 events.jsonl" us -- small tail -n 1 "$mnt/events.jsonl"
measure "tail -n 1 plain file" us -- small tail -n 1 "$SCRATCH/copy"
measure "cat of an event: cat entities/E/TYPE.jsonl" us -- small cat "${event%ev.jsonl}first.jsonl"
measure "ls -l of an entity" us -- small ls -l "${event%/*}"
mkdir "$SCRATCH/few"
touch "$SCRATCH/few"/{1,2,3,4}
echo '{"total":99}' >"$SCRATCH/few/first"
echo '{"total":99}' >>"${event%ev.jsonl}first.jsonl"
measure "cat of a plain file" us -- small cat "$SCRATCH/few/first"
measure "ls -l of a plain directory" us -- small ls -l "$SCRATCH/few"
rounds
table "cat of a plain file"
stop_store
rm -rf "$SCRATCH/copy" "$SCRATCH/plain" "$SCRATCH/data"

# ---- a large directory
say "listing $n entities"
rss() { v=("$(awk '/^VmRSS/ { print $2 }' "/proc/$daemon/status")"); }
list() {
    # The directories' number is what ls must say: neither fewer nor more.
    elapsed count_names "$1"
    [ "$(cat "$SCRATCH/count")" = "$2" ] || die "ls shows $(cat "$SCRATCH/count") names, not $2"
}
# shellcheck disable=SC2010 # ls is what is measured
count_names() { ls -f "$1" | grep -vc '^\.\|\.jsonl$\|\.json$' >"$SCRATCH/count"; }
start_store :memory:
seq 1 "$n" | sed 's|.*|{"entity":"many/&","type":"t","data":1}|' >>"$mnt/events.jsonl"
rss; row "daemon's memory before" KiB
list "$mnt/entities/many" "$n"
v=("$us"); per 1000; row "ls -f of $n entities, the first" ms
each list "$mnt/entities/many" "$n"; per 1000; row "ls -f of $n entities" ms "<=1000"
rss; row "daemon's memory after" KiB
stop_store
# A plain directory of so many files takes long to make: a tenth, and ten times its time.
tenth=$((n / 10))
mkdir "$SCRATCH/many"
(cd "$SCRATCH/many" && seq 1 "$tenth" | xargs touch)
base="ten times ls -f of $tenth plain files"
each list "$SCRATCH/many" "$tenth"; per 100; row "$base" ms
table "$base"
