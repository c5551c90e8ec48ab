#!/bin/bash
# SPDX-License-Identifier: MIT
# scaling: what an append and a question cost in a store of 10,000 to 100 M events, each ten times the one before: in
# the process, one core, a store on disk whose asked entities are in the page cache. Flat is what is wanted. Plotted
# by gnuplot into docs/img/scaling.svg, where SCALE is not 1 into build/bench/scaling.svg; PLOT is another file.
# 100 M events need 36 GB below SCRATCH, a tenth with SCALE=10. See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-scaling
most=$((100000000 / SCALE))
[ "$SCALE" = 1 ] && plot=$bench_dir/../docs/img/scaling.svg || plot=$BUILD/bench/scaling.svg
plot=${PLOT:-$plot}
sizes=()
for ((n = 10000; n <= most || n == 10000; n *= 10)); do
    sizes+=("$n")
    last=$n
done
machine
warm=:
if [ -e /sys/module/page_reporting ] && [ -x "$drivers/evfs-warm" ]; then
    export EVFS_WARM=$drivers/evfs-warm EVFS_WARM_MIB=$WARM
    warm='"$EVFS_WARM" "$EVFS_WARM_MIB"' # for sh, which doesn't read what bash quotes
fi
one_core "$drivers/evfs-scaling" "$SCRATCH/data" "$RUNS" "$warm" "${sizes[@]}" >"$SCRATCH/figures"

declare -A title=(
    [append]="an append, 1,000 a write"
    [entity]="an entity's 100 events"
    [type-newest]="the newest 100 events of a type"
    [count-entity]="how many events an entity has"
    [as-of]="an entity as of an event"
    [state]="the state of 100 events"
    [open-ms]="open, from the checkpoint"
    [index-bytes]="index, names apart"
)
for what in append entity type-newest count-entity as-of state open-ms index-bytes; do
    unit=us
    [ "$what" != open-ms ] || unit=ms
    [ "$what" != index-bytes ] || unit=B/event
    goal=
    for n in "${sizes[@]}"; do
        mapfile -t v < <(awk -v n="$n" -v w="$what" '$1 == n && $2 == w { print $3 }' "$SCRATCH/figures")
        # Goals: the speed of appends within a tenth; opening 100 M.
        [ "$what" != append ] || [ "$n" -lt 100000000 ] || goal='<=1.1x'
        [ "$what" != open-ms ] || [ "$n" -lt 100000000 ] || goal='<=600'
        row "${title[$what]}: $n" "$unit" ${goal:+"$goal"}
    done
    table "${title[$what]}: ${sizes[0]}"
done

if ! have gnuplot; then
    say "no plot: gnuplot is missing (scripts/setup --bench)"
    exit 0
fi
# The median, and least and most as its bar.
for what in append entity type-newest count-entity as-of state; do
    for n in "${sizes[@]}"; do
        awk -v n="$n" -v w="$what" '$1 == n && $2 == w { print $3 }' "$SCRATCH/figures" | sort -g |
            awk -v n="$n" '{ a[NR] = $1 } END { print n, a[int((NR + 1) / 2)], a[1], a[NR] }'
    done >"$SCRATCH/$what.dat"
done
mkdir -p "$(dirname "$plot")"
{
    cat <<END
set terminal svg size 800,500 font "sans-serif,13" background "white"
set output "$plot"
set title "What an append and a question cost, by the size of the store"
set xlabel "events in the store"
set ylabel "microseconds"
set logscale xy
set format x "10^{%L}"
set xrange [7000:$((last + last / 2))]
set yrange [0.1:1000]
set grid
set key outside right
END
    printf 'plot'
    comma=
    for what in state entity type-newest as-of append count-entity; do
        printf '%s "%s" using 1:2:3:4 with yerrorlines pt 7 ps 0.5 lw 1.5 title "%s"' "$comma" "$SCRATCH/$what.dat" "${title[$what]}"
        comma=,
    done
    echo
} >"$SCRATCH/plot"
gnuplot "$SCRATCH/plot"
say "plotted: $plot"
