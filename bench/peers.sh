#!/bin/bash
# SPDX-License-Identifier: MIT
# peers: evfs through its mount beside what else events are kept in, each with its best ordinary client: SQLite (in the
# process), Redis streams (redis-cli, redis-benchmark), PostgreSQL 15 (psql, pgbench; a table with a version in each
# stream and an index), NATS JetStream (its C library; Debian has no other client). `scripts/setup --bench` installs
# them. They are started here, on sockets below SCRATCH (NATS on the loopback), with their defaults but for durability,
# and stopped. As root, PostgreSQL runs as user postgres, who must be able to reach SCRATCH.
# Goal: evfs ahead in every row. See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-writers
need evfs-readers
n=$((1000000 / SCALE))
entities=$(((n + 99) / 100))
digits=$((${#entities} - (entities == 10 ** (${#entities} - 1))))
few=$((SCALE > 10 ? (n < 1000 ? n : 1000) : 10000)) # events of one persistent client
durable=$((SCALE > 10 ? (n < 800 ? 1 + n / 17 : 50) : 500)) # of one that waits for the disk
processes=$((SCALE > 10 ? 3 : 50))   # of which each appends an event
reads=$((SCALE > 10 ? 500 : 5000))
say "making $n events of $entities entities"
gen "$SCRATCH/in.jsonl" "$n" --per-entity 100
mapfile -t some < <(head -n 2000 "$SCRATCH/in.jsonl" | cut -d '"' -f 4 | sort -u | head -n 100)
event='{"n":7,"customer":"c-0123456789abcdef","total":1130717.25,"note":"the parcel is to be left with a neighbour"}'
machine

# ---- the peers: each has a function that tells whether it is there, and starts it

want_redis() { have redis-server && have redis-cli && have redis-benchmark; }
start_redis() {
    mkdir "$SCRATCH/redis"
    redis-server --port 0 --unixsocket "$SCRATCH/redis/s" --dir "$SCRATCH/redis" --save '' --appendonly yes \
        --appendfsync everysec >"$SCRATCH/redis.log" 2>&1 &
    served $! redis-cli -s "$SCRATCH/redis/s" PING
    redis_pid=$!
}
redis() { redis-cli -s "$SCRATCH/redis/s" "$@"; }

pg_bin=${PG_BIN:-/usr/lib/postgresql/15/bin}
pg_user=()
want_pg() { [ -x "$pg_bin/postgres" ] && [ -x "$pg_bin/pgbench" ] && have psql; }
start_pg() {
    mkdir "$SCRATCH/pg"
    if [ "$(id -u)" = 0 ]; then
        pg_user=(setpriv --reuid=postgres --regid=postgres --clear-groups)
        chmod 711 "$SCRATCH"
        chown postgres: "$SCRATCH/pg"
    fi
    "${pg_user[@]}" "$pg_bin/initdb" -D "$SCRATCH/pg/data" -U bench -A trust -E UTF8 --no-locale \
        >"$SCRATCH/pg.log" 2>&1 || die "initdb: $(cat "$SCRATCH/pg.log")"
    export PGHOST=$SCRATCH/pg PGUSER=bench PGDATABASE=postgres PGOPTIONS='-c client_min_messages=warning'
    # As much memory as it is usually given, so that a million events fit, and no checkpoint for want of room.
    "${pg_user[@]}" "$pg_bin/postgres" -D "$SCRATCH/pg/data" -c listen_addresses= \
        -c unix_socket_directories="$SCRATCH/pg" -c shared_buffers=1GB -c max_wal_size=8GB \
        >"$SCRATCH/pg.log" 2>&1 &
    served $! psql -qAtXc 'SELECT 1'
    pg_pid=$!
    psql -qXc 'CREATE TABLE e(seq bigserial PRIMARY KEY, entity text NOT NULL, version int NOT NULL,
        type text NOT NULL, data json NOT NULL, at timestamptz NOT NULL DEFAULT now(), UNIQUE(entity, version))'
    insert="INSERT INTO e(entity, version, type, data) SELECT x.e, 1 + coalesce((SELECT max(version) FROM e
        WHERE entity = x.e), 0), 'type-07', '$event' FROM (SELECT 'client' || :client_id || '/' || :i) AS x(e);"
    printf '\\set i random(0, 99)\n%s\n' "${insert//$'\n'/ }" >"$SCRATCH/insert.sql"
    printf '\\set i random(0, %d)\n%s\n' $((entities - 1)) \
        "SELECT data FROM e WHERE entity = 'orders/' || lpad(:i::text, $digits, '0') ORDER BY version;" \
        >"$SCRATCH/select.sql"
}

want_nats() { have nats-server || [ -x /usr/sbin/nats-server ]; }
start_nats() {
    local server=/usr/sbin/nats-server ports
    ! have nats-server || server=$(command -v nats-server)
    mkdir "$SCRATCH/nats"
    "$server" -a 127.0.0.1 -p -1 -js -sd "$SCRATCH/nats" --ports_file_dir "$SCRATCH/nats" >"$SCRATCH/nats.log" 2>&1 &
    nats_pid=$!
    ports=$SCRATCH/nats/nats-server_$nats_pid.ports
    served $! test -s "$ports"
    nats_url=$(grep -o 'nats://[^"]*' "$ports")
}
nats() { "$drivers/evfs-nats" "$1" "$nats_url" "${@:2}"; }

start_peers() {
    redis_pid='' pg_pid='' nats_pid=''
    ! want_redis || start_redis
    ! want_pg || start_pg
    ! want_nats || [ ! -x "$drivers/evfs-nats" ] || start_nats
    [ -z "$nats_pid" ] || nats new
}

# A row of each peer that is there.
sqlite_row() { measure "$@"; }
redis_row() { if [ -n "$redis_pid" ]; then measure "$@"; else left_out+=("$1|redis-server"); fi; }
pg_row() { if [ -n "$pg_pid" ]; then measure "$@"; else left_out+=("$1|postgresql-15"); fi; }
nats_row() { if [ -n "$nats_pid" ]; then measure "$@"; else left_out+=("$1|nats-server or libnats-dev"); fi; }
left_out=()
finish() { # finish BASE
    local a
    rounds
    for a in "${left_out[@]}"; do missing "${a%|*}" "${a#*|}"; done
    left_out=()
    table "$1"
}
ahead='<=1x' # of events a second of a peer: not more than evfs
less='>=1x'  # of microseconds and bytes: not less

# ---- a) from a shell, one event a process
loop() { local i times=$1; shift; for ((i = 0; i < times; i++)); do "$@"; done; }
shell() { us_of "$1" elapsed loop "$@"; }
echo_event() { echo "$event" >>"$mnt/entities/shell/1/type-07.jsonl"; }
append_event() { "$EVFS" append "$mnt/entities/shell/1/type-07.jsonl" <<<"$event"; }
sqlite_event() { sqlite3 "$SCRATCH/shell.db" "INSERT INTO e(entity, type, data) VALUES('shell/1', 'type-07', '$event')"; }
redis_event() { redis XADD shell/1 '*' type type-07 data "$event" >/dev/null; }
nats_event() { nats one "$SCRATCH/in.jsonl" 1 >/dev/null; }
pg_event() {
    psql -qXc "INSERT INTO e(entity, version, type, data) SELECT 'shell/1', 1 + coalesce((SELECT max(version) FROM e
        WHERE entity = 'shell/1'), 0), 'type-07', '$event'"
}
a_process() {
    measure "evfs: echo >> TYPE.jsonl" us -- shell $((processes * 10)) echo_event
    measure "evfs: evfs append, a process, durable" us -- shell "$processes" append_event
    if have sqlite3; then
        sqlite3 "$SCRATCH/shell.db" 'PRAGMA journal_mode=WAL; CREATE TABLE e(seq INTEGER PRIMARY KEY, entity TEXT,
            type TEXT, data TEXT); CREATE INDEX i ON e(entity)' >/dev/null
        sqlite_row "SQLite: sqlite3, a process" us "$less" -- shell "$processes" sqlite_event
    else
        left_out+=("SQLite: sqlite3, a process|sqlite3")
    fi
    redis_row "Redis: redis-cli XADD, a process" us "$less" -- shell "$processes" redis_event
    pg_row "PostgreSQL: psql, a process" us "$less" -- shell "$processes" pg_event
    nats_row "NATS: its C library, a process" us "$less" -- shell "$processes" nats_event
    finish "evfs: echo >> TYPE.jsonl"
}

# ---- b) one persistent client, one event at a time, acknowledged; d) the same, durable before that
own_writers() { # own_writers KIND ARGUMENT...: in the process, new each time
    rm -rf "$SCRATCH"/own*
    "$drivers/evfs-writers" --batch 1 "${@:2}" "$1" "$SCRATCH/own" "$SCRATCH/in.jsonl"
}
# benchmark ARGUMENT...: requests a second. Its CSV has the command in the first field, quotes and all. It counts in
# milliseconds: what ends within one is "inf" a second, which is no figure.
benchmark() {
    local figure
    figure=$(redis-benchmark -s "$SCRATCH/redis/s" --csv "$@" | tail -n 1 | sed -E 's/.*"([^"]+)"(,"[^"]+"){6}$/\1/')
    [[ $figure =~ ^[0-9.]+$ ]] || die "redis-benchmark: not a figure: $figure"
    echo "$figure"
}
redis_writers() { # redis_writers SYNC CLIENTS EVENTS
    redis CONFIG SET appendfsync "$1" >/dev/null
    benchmark -c "$2" -n "$3" -r 100 XADD client/__rand_int__ '*' type type-07 data "$event"
    redis CONFIG SET appendfsync everysec >/dev/null
}
pg_writers() { # pg_writers SYNC CLIENTS EVENTS-EACH
    PGOPTIONS="$PGOPTIONS -c synchronous_commit=$1" "$pg_bin/pgbench" -nM prepared -f "$SCRATCH/insert.sql" -c "$2" \
        -j "$(($2 > 1 ? 2 : 1))" -t "$3" 2>/dev/null | awk '/^tps/ { printf "%.0f\n", $3 }'
}
one_client() {
    measure "evfs: write(2) to the mount" events/s -- mount_writers --events "$few"
    measure "evfs: library, in the process" events/s -- own_writers store --events "$few"
    sqlite_row "SQLite: in the process, a transaction each" events/s "$ahead" -- own_writers sqlite --events "$few"
    redis_row "Redis: AOF everysec" events/s "$ahead" -- redis_writers everysec 1 "$few"
    pg_row "PostgreSQL: synchronous_commit=off" events/s "$ahead" -- pg_writers off 1 "$few"
    nats_row "NATS: file store" events/s "$ahead" -- nats one "$SCRATCH/in.jsonl" "$few"
    finish "evfs: write(2) to the mount"
}
durably() {
    local clients
    stop_store
    start_store "$SCRATCH/data" -o sync
    for clients in 1 16; do
        measure "evfs: write(2), mounted -o sync, clients: $clients" events/s -- \
            mount_writers --threads "$clients" --events "$durable"
        sqlite_row "SQLite: synchronous=FULL, clients: $clients" events/s "$ahead" -- \
            own_writers sqlite --sync --threads "$clients" --events $((durable / 10))
        redis_row "Redis: AOF always, clients: $clients" events/s "$ahead" -- \
            redis_writers always "$clients" $((durable * clients < 800 ? 800 : durable * clients))
        pg_row "PostgreSQL: synchronous_commit=on, clients: $clients" events/s "$ahead" -- \
            pg_writers on "$clients" "$durable"
        finish "evfs: write(2), mounted -o sync, clients: $clients"
    done
    stop_store
    start_store "$SCRATCH/data"
    absent "NATS: file store" "before 2.10 it cannot sync before it acknowledges"
    table
}

# ---- c) bulk: each into an empty store, from a file as its loader wants it
resp() { # a client's protocol, for redis-cli --pipe
    awk -F '"' '{
        at = index($0, "\"data\":") + 7; d = substr($0, at, length($0) - at)
        printf "*7\r\n$4\r\nXADD\r\n$%d\r\n%s\r\n$1\r\n*\r\n$4\r\ntype\r\n$%d\r\n%s\r\n$4\r\ndata\r\n$%d\r\n%s\r\n",
            length($4), $4, length($8), $8, length(d), d }' "$SCRATCH/in.jsonl"
}
tsv() {
    awk -F '"' -v OFS='\t' '{
        at = index($0, "\"data\":") + 7
        print $4, ++version[$4], $8, substr($0, at, length($0) - at) }' "$SCRATCH/in.jsonl"
}
evfs_bulk() {
    stop_store
    rm -rf "$SCRATCH/data"
    start_store "$SCRATCH/data" -o compress=off
    elapsed append_all_to_mount
}
append_all_to_mount() { cat "$SCRATCH/in.jsonl" >>"$mnt/events.jsonl"; }
sqlite_bulk() {
    rm -f "$SCRATCH"/bulk.db*
    "$drivers/evfs-writers" --events "$n" --batch "$n" sqlite "$SCRATCH/bulk.db" "$SCRATCH/in.jsonl"
}
redis_pipe() { redis --pipe <"$SCRATCH/in.resp"; }
redis_bulk() {
    redis FLUSHALL >/dev/null
    elapsed redis_pipe
}
copy_in() { psql -qXc '\copy e(entity, version, type, data) FROM STDIN' <"$SCRATCH/in.tsv"; }
pg_bulk() {
    psql -qXc 'TRUNCATE e'
    elapsed copy_in
}
nats_bulk() {
    nats new
    nats bulk "$SCRATCH/in.jsonl"
}
in_bulk() {
    resp >"$SCRATCH/in.resp"
    tsv >"$SCRATCH/in.tsv"
    measure "evfs: cat >> events.jsonl" events/s -- rate_of "$n" evfs_bulk
    sqlite_row "SQLite: one transaction, in the process" events/s "$ahead" -- sqlite_bulk
    redis_row "Redis: redis-cli --pipe" events/s "$ahead" -- rate_of "$n" redis_bulk
    pg_row "PostgreSQL: COPY" events/s "$ahead" -- rate_of "$n" pg_bulk
    nats_row "NATS: published without waiting for each" events/s "$ahead" -- nats_bulk
    finish "evfs: cat >> events.jsonl"
}

# ---- e) one entity's 100 events, by a client that stays; what the bulk has left is read. What is new is plain, what
# was sealed is compressed while nothing else runs: its row is for itself.
evfs_reads() {
    local files=("${some[@]/%//events.jsonl}")
    "$drivers/evfs-readers" files "$reads" "${files[@]/#/$mnt/entities/}"
}
sqlite_reads() { "$drivers/evfs-readers" sqlite "$reads" "$SCRATCH/bulk.db" "${some[@]}"; }
redis_reads() { # all of one key: a key drawn at random would have to be one of redis-benchmark's own
    benchmark -c 1 -n "$reads" XRANGE "${some[0]}" - + | awk '{ printf "%.2f\n", 1e6 / $1 }'
}
pg_reads() {
    "$pg_bin/pgbench" -nM prepared -f "$SCRATCH/select.sql" -t "$reads" 2>/dev/null |
        awk '/^tps/ { printf "%.2f\n", 1e6 / $3 }'
}
nats_reads() { nats read $((reads / 10)) "${some[@]//\//.}"; }
reading() {
    measure "evfs: open, read, close of entities/E/events.jsonl" us -- evfs_reads
    sqlite_row "SQLite: SELECT, in the process" us "$less" -- sqlite_reads
    redis_row "Redis: XRANGE" us "$less" -- redis_reads
    pg_row "PostgreSQL: SELECT, prepared" us "$less" -- pg_reads
    nats_row "NATS: a consumer of the subject" us "$less" -- nats_reads
    finish "evfs: open, read, close of entities/E/events.jsonl"
}
reading_compressed() {
    stop_store
    start_store "$SCRATCH/data"
    for _ in $(seq 600); do # the last segment never is
        if [ "$(find "$SCRATCH/data/log" -name '*.jsonl' | wc -l)" -le 1 ]; then break; fi
        sleep 1
    done
    measure "evfs: the same from compressed segments" us -- evfs_reads
    finish "evfs: the same from compressed segments"
}

# ---- f) memory of the process and its children, and disk
disk_of() { du -sB1 "$@" | awk '{ b += $1 } END { print b }'; }
size() { # size KIND NAME BYTES [GOAL]
    v=("$(awk -v b="$3" -v n="$n" 'BEGIN { printf "%.1f\n", b / n }')")
    row "$1: $2" B/event ${4:+"$4"}
}
sizes() {
    size memory evfs "$(memory_of "$daemon")"
    [ -z "$redis_pid" ] || size memory Redis "$(memory_of "$redis_pid")" "$less"
    [ -z "$pg_pid" ] || size memory "PostgreSQL, with shared_buffers=1GB" "$(memory_of "$pg_pid")" "$less"
    [ -z "$nats_pid" ] || size memory NATS "$(memory_of "$nats_pid")" "$less"
    table "memory: evfs"
    reading_compressed
    size disk evfs "$(disk_of "$SCRATCH/data")"
    size disk SQLite "$(disk_of "$SCRATCH"/bulk.db*)" "$less"
    if [ -n "$redis_pid" ]; then # without what was there before
        redis BGREWRITEAOF >/dev/null
        until redis INFO persistence | grep -q '^aof_rewrite_in_progress:0'; do sleep 0.1; done
        size disk Redis "$(disk_of "$SCRATCH/redis")" "$less"
    fi
    [ -z "$pg_pid" ] || size disk "PostgreSQL, without its WAL" \
        "$(psql -qAtXc "SELECT pg_total_relation_size('e')")" "$less"
    [ -z "$nats_pid" ] || size disk NATS "$(disk_of "$SCRATCH/nats")" "$less"
    table "disk: evfs"
}

start_peers
start_store "$SCRATCH/data"
a_process
one_client
durably
in_bulk
reading
sizes
stop_store
