# SPDX-License-Identifier: MIT
# The scripts of bench/, with so few events that nothing is measured: each runs to its end, leaves neither mount nor
# file, and its JSON Lines are well formed, with as many rows as its tables.
load lib.bash

setup() {
    need jq
    need_mount
    make_dirs
    BUILD=${EVFS_BUILD_DIR:-$(dirname "$EVFS_BIN")}
    [ -x "$BUILD/bench/evfs-gen" ] || skip 'built with -Dbench=false'
}
teardown() { cleanup; }

try() { # try NAME [VARIABLE=VALUE...]
    local name=$1
    shift
    mkdir "$T/scratch"
    env BUILD="$BUILD" EVFS="$EVFS_BIN" SCRATCH="$T/scratch" RUNS=1 SCALE=1000 JSONL="$T/$name.jsonl" "$@" \
        "$EVFS_SOURCE_DIR/bench/$name.sh" >"$T/$name.md" 2>"$T/$name.err" 3>&- ||
        { tail -n 20 "$T/$name.err" >&2; return 1; }
    jq -es 'length > 0 and all(.[]; (.bench | type == "string") and (.what | length > 0) and
        (has("missing") or (.median | type == "number") and .min <= .median and .median <= .max and
        .runs >= 1 and (.unit | length > 0)))' "$T/$name.jsonl" >/dev/null || { cat "$T/$name.jsonl" >&2; return 1; }
    same "$(lines "$T/$name.jsonl")" "$(($(grep -c '^| ' "$T/$name.md") - $(grep -c '^| what' "$T/$name.md")))" rows
    same "$(ls -A "$T/scratch")" '' 'files left behind'
    ! grep -q "$T/scratch" /proc/self/mounts
}

@test "bench/ingest.sh" { try ingest; }
@test "bench/mount.sh" { try mount; }
@test "bench/border.sh" { try border; }
@test "bench/recovery.sh" { try recovery; }
@test "bench/seek.sh" { try seek; }
@test "bench/query.sh" { try query; }
@test "bench/state.sh" { try state; }
@test "bench/index.sh" { try index; }
@test "bench/time-travel.sh" { try time-travel; }
@test "bench/concurrent.sh" { try concurrent; }
@test "bench/sync.sh" { try sync; }
@test "bench/validate.sh" { need_data git-events.jsonl.zst; try validate; }
@test "bench/memory.sh" { try memory; }
@test "bench/scaling.sh" {
    command -v gnuplot >/dev/null || skip "no gnuplot"
    try scaling PLOT="$T/scaling.svg"
    grep -q "</svg>" "$T/scaling.svg"
}
@test "bench/peers.sh" { try peers; }

# Who runs below the scratch directory: nobody.
running() { grep -lazF "$T/scratch/" /proc/[0-9]*/cmdline 2>/dev/null || true; }
is_mounted() { grep -q "$T/scratch" /proc/self/mounts; }

@test "bench/peers.sh, ended by SIGTERM, leaves no server, mount or file" {
    mkdir "$T/scratch"
    BUILD="$BUILD" EVFS="$EVFS_BIN" SCRATCH="$T/scratch" RUNS=100 SCALE=1000 JSONL="$T/peers.jsonl" \
        "$EVFS_SOURCE_DIR/bench/peers.sh" >"$T/peers.md" 2>"$T/peers.err" 3>&- &
    local pid=$!
    wait_for 60 is_mounted
    [ -n "$(running)" ]
    kill "$pid"
    local code=0
    wait "$pid" || code=$?
    same "$code" 130
    same "$(running)" ''
    same "$(ls -A "$T/scratch")" '' 'files left behind'
    refused is_mounted
}

# The commands set what they like, and a second table has only its own figures.
@test "bench/lib.sh: rounds, goals and ratios" {
    cat >"$T/two.sh" <<'END'
. "$EVFS_SOURCE_DIR/bench/lib.sh"
value() { for ((i = 0; i < 7; i++)); do :; done; echo "$1"; }
measure a us -- value 2
measure 'b "quoted"' us '<=3' -- value 4
measure c us '>=1.5x' -- value 3
measure f us '<=10x' -- value 19
rounds
missing d nothing
table a
measure e us -- value 5
rounds
table
END
    BUILD="$T" SCRATCH="$T" RUNS=3 JSONL="$T/two.jsonl" bash "$T/two.sh" >"$T/two.md"
    same "$(jq -c '[.what, .median, .runs, (.ratio | values + 0) // null, .met, .missing]' "$T/two.jsonl")" '["a",2,3,1,null,null]
["b \"quoted\"",4,3,2,false,null]
["c",3,3,1.5,true,null]
["f",19,3,9.5,true,null]
["d",null,null,null,null,"nothing is not installed"]
["e",5,3,null,null,null]'
    printf '. "$EVFS_SOURCE_DIR/bench/lib.sh"\nmeasure g us -- echo inf\nrounds\n' >"$T/inf.sh"
    refused env BUILD="$T" SCRATCH="$T" RUNS=1 JSONL="$T/inf.jsonl" bash "$T/inf.sh" 2>"$T/inf.err"
    grep -q 'g: not a figure: inf$' "$T/inf.err"
}
