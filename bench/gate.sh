#!/bin/bash
# SPDX-License-Identifier: MIT
# gate: how many instructions small workloads take (evfs-gate, counted by callgrind), beside bench/gate.tsv. Nothing
# else that the machine does shows in these counts. Ends with 1 if one takes over 3 % more, and with 77 where nothing
# is known yet of this compiler and C library. The last column is the clock, for advice only: what takes over 115 % of
# its time (each over a loop that never changes) is marked, and changes nothing.
#   bench/gate.sh                   compare
#   bench/gate.sh --update REASON   take the counts as they are now, and commit them with the reason
#   bench/gate.sh --only NAME,NAME  only these
# The environment: see lib.sh, but for SCRATCH; BASELINE is another file than bench/gate.tsv.
set -euo pipefail
only= reason=
while [ $# -gt 0 ]; do
    case $1 in
    --only) only=,${2:?names}, ;;
    --update) reason=${2:?a reason} ;;
    *) sed -n '7,9s/^# //p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
SCRATCH=/tmp # SQLite takes more instructions for a longer path: always one of this length
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-gate
have valgrind || die "valgrind is missing: scripts/setup --test"
gate=$drivers/evfs-gate
baseline=${BASELINE:-$bench_dir/gate.tsv}
more=3 advice=115 # percent

# count NAME UNITS: instructions a unit, and time a unit, into $SCRATCH/NAME.
# What glibc would decide by the sizes of the processor's caches is decided here; and that large blocks are new ones,
# since clearing old ones counts, and whether there are such is chance.
count() {
    local name=$1 units=$2 out=$SCRATCH/$1.callgrind n
    GLIBC_TUNABLES=glibc.cpu.x86_non_temporal_threshold=16777216:glibc.cpu.x86_rep_movsb_threshold=2048:glibc.malloc.mmap_threshold=32768 \
        valgrind --tool=callgrind --callgrind-out-file="$out" --toggle-collect=measured \
        "$gate" run "$name" "$SCRATCH/$name.store" >"$SCRATCH/$name.log" 2>&1 ||
        { cat "$SCRATCH/$name.log" >&2; return 1; }
    n=$(awk '/^(totals|summary): / { n = $2 } END { print n + 0 }' "$out")
    [ "$n" -gt 0 ] || { echo "$name: callgrind counted nothing" >&2; return 1; }
    rm -rf "$SCRATCH/$name.store" "$out"
    awk -v n="$n" -v units="$units" 'BEGIN { printf "%.1f\n", n / units }' >"$SCRATCH/$name.count"
}
export -f count
export SCRATCH gate

wanted() { [ -z "$only" ] || [[ $only == *,$1,* ]]; }
id=$("$gate" id)
"$gate" list | while read -r name units unit; do
    wanted "$name" && printf '%s %s %s\n' "$name" "$units" "$unit" || true
done >"$SCRATCH/list"
[ -s "$SCRATCH/list" ] || die "no such workload"
cut -d ' ' -f 1,2 "$SCRATCH/list" | xargs -P "$(nproc)" -L 1 bash -c 'count "$@"' gate ||
    die "a workload could not be counted"
while read -r name units unit; do
    printf '%s\t%s\t%s\t%s\t%s\n' "$id" "$name" "$unit" "$(cat "$SCRATCH/$name.count")" \
        "$("$gate" time "$name" "$SCRATCH/$name.store")"
done <"$SCRATCH/list" >"$SCRATCH/now"

if [ -n "$reason" ]; then
    { # rows of other compilers stay, and of this one those that were not counted now
        [ ! -e "$baseline" ] || awk -F '\t' 'NR == FNR { now[$1, $2] = 1; next } !(($1, $2) in now)' \
            "$SCRATCH/now" "$baseline"
        cat "$SCRATCH/now"
    } | sort -t $'\t' -k 1,1 -k 2,2 >"$SCRATCH/new"
    cp "$SCRATCH/new" "$baseline"
    if [ -z "${BASELINE:-}" ]; then
        git -C "$bench_dir" add gate.tsv
        git -C "$bench_dir" commit -q -m "bench/gate: $reason" -- gate.tsv
    fi
fi
[ -e "$baseline" ] || : >"$SCRATCH/none"
echo "Compiler and machine: $id"
echo
awk -F '\t' -v more=$more -v advice=$advice '
    BEGIN {
        print "| workload | a | instructions | baseline | change | time to baseline |"
        print "|---|---|---|---|---|---|"
    }
    FILENAME != now { was[$1, $2] = $4; clock[$1, $2] = $5; next }
    {
        known = ($1, $2) in was
        change = known ? ($4 / was[$1, $2] - 1) * 100 : 0
        took = known && clock[$1, $2] > 0 ? $5 / clock[$1, $2] * 100 : 0
        over = known && change > more
        printf "| %s | %s | %s | %s | %s | %s |\n", $2, $3, $4, known ? was[$1, $2] : "none",
            known ? sprintf("%+.2f %%%s", change, over ? " TOO MUCH" : "") : "",
            took ? sprintf("%.0f %%%s", took, took > advice ? " (advice only)" : "") : ""
        bad += over; none += !known
    }
    END {
        print ""
        if (bad) { printf "%d of them take over %d %% more instructions than bench/gate.tsv says\n", bad, more; exit 1 }
        if (none) { printf "%d of them have no baseline: bench/gate.sh --update REASON\n", none; exit 77 }
    }' now="$SCRATCH/now" "$([ -e "$baseline" ] && echo "$baseline" || echo "$SCRATCH/none")" "$SCRATCH/now"
