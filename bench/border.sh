#!/bin/bash
# SPDX-License-Identifier: MIT
# border: what a small append, a process that appends, a bulk load and a read cost by each way that requests can take
# between the kernel and evfs: threads, io_uring. See lib.sh for the environment.
#   bench/border.sh [RING]    RING is a build with io_uring (scripts/build-libfuse); it needs
#                             /sys/module/fuse/parameters/enable_uring to be Y
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
ring=${1-}
switch=/sys/module/fuse/parameters/enable_uring
need evfs-oneshot
n=$((500000 / SCALE))
echoes=$((2000 / (SCALE > 10 ? 10 : 1)))
say "making $n events of 200 bytes"
gen "$SCRATCH/in.jsonl" "$n" --per-entity 10
machine

why=
if [ -z "$ring" ]; then
    why="a build with io_uring (bench/border.sh RING)"
elif [ "$(cat $switch 2>/dev/null)" != Y ]; then
    why="Y in $switch"
fi

event=$mnt/entities/bench/one/ev.jsonl
loop_echo() { for ((i = 0; i < echoes; i++)); do echo '{"total":99}' >>"$event"; done; }
load() { cat "$SCRATCH/in.jsonl" >>"$mnt/events.jsonl"; }
load_1m() { dd if="$SCRATCH/in.jsonl" of="$mnt/events.jsonl" bs=1M oflag=append conv=notrunc status=none; }
read_all() { cat "$mnt/events.jsonl" >/dev/null; }
read_1m() { dd if="$mnt/events.jsonl" of=/dev/null bs=1M status=none; }

# with OPTIONS COMMAND...: in a new store, which has all the events where READ is set.
with() {
    local options=$1 EVFS=$EVFS
    case $options in *io_uring*) EVFS=$ring/fs/evfs ;; esac
    rm -rf "$SCRATCH/data"
    # shellcheck disable=SC2086 # words
    start_store "$SCRATCH/data" $options
    [ -z "${READ-}" ] || load
    "${@:2}"
    stop_store
}
one_write() { "$drivers/evfs-oneshot" "$event" 1; }
gbs() {
    local bytes
    bytes=$(stat -c %s "$mnt/events.jsonl")
    elapsed "$1"
    awk "BEGIN { printf \"%.2f\\n\", $bytes / $us / 1e3 }"
}
read_gbs() { READ=1 with "$1" gbs "$2"; }

ways=("as it is:" "max_threads=1:-o max_threads=1" "max_threads=2:-o max_threads=2"
    "max_threads=32:-o max_threads=32")
[ -n "$why" ] || ways+=("io_uring:-o io_uring")

# part NAME UNIT GOAL COMMAND... LAST: a table, of COMMAND... OPTIONS LAST; GOAL is io_uring's.
part() {
    local way goal
    for way in "${ways[@]}"; do
        goal=
        [ "${way%%:*}" != io_uring ] || goal=$3
        measure "$1, ${way%%:*}" "$2" ${goal:+"$goal"} -- "${@:4:$#-4}" "${way#*:}" "${@: -1}"
    done
    rounds
    [ -z "$why" ] || absent "$1, io_uring" "$why"
    table "$1, as it is"
}
timed_with() { # timed_with THINGS UNIT OPTIONS FUNCTION
    local out=$SCRATCH/timed
    # shellcheck disable=SC2317 # with calls it
    in_store() { elapsed "$1"; echo "$us" >"$out"; }
    with "$3" in_store "$4"
    case $2 in
    us) awk -v n="$1" '{ printf "%.2f\n", $1 / n }' "$out" ;;
    rate) awk -v n="$1" '{ printf "%.0f\n", n * 1e6 / $1 }' "$out" ;;
    esac
}

part "write(2) of one event" us "<=12" with one_write
part "bash echo >>" us "<=35" timed_with "$echoes" us loop_echo
part "cat >> events.jsonl" events/s ">=1500000" timed_with "$n" rate load
part "dd bs=1M >> events.jsonl" events/s "" timed_with "$n" rate load_1m
part "cat events.jsonl" GB/s "" read_gbs read_all
part "dd bs=1M of events.jsonl" GB/s "" read_gbs read_1m
