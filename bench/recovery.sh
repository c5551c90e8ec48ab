#!/bin/bash
# SPDX-License-Identifier: MIT
# recovery: how soon a store is ready: from its checkpoint, and from its log alone after kill -9.
# Everything is in the page cache. See lib.sh for the environment; 10 M events need some 6 GB there.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-reopen
reopen=$drivers/evfs-reopen
n=$((10000000 / SCALE))
killed=$((2000000 / SCALE))
gen "$SCRATCH/first.jsonl" 10000 --entities $((n / 10)) --seed 2
machine

# reopen_times COMMAND...: what evfs-reopen prints, of each run, after a warm-up.
reopen_times() {
    "$@" >/dev/null
    for _ in $(seq "$RUNS"); do "$@"; done >"$SCRATCH/times"
}
# column EXPRESSION FORMAT: v from $SCRATCH/times.
column() { mapfile -t v < <(awk "{ printf \"$2\\n\", $1 }" "$SCRATCH/times"); }
read_checkpoint() { cat "$SCRATCH/st/index.ckpt" >/dev/null; }
read_log() { cat "$SCRATCH"/st/log/*.jsonl | wc -l >"$SCRATCH/count"; }

say "filling a store with $n events"
"$drivers/evfs-gen" "$n" --per-entity 10 | "$reopen" fill "$SCRATCH/st"
reopen_times "$reopen" open "$SCRATCH/st" "$SCRATCH/first.jsonl"
awk -v n="$n" '$3 < n { exit 1 }' "$SCRATCH/times" || die "the store lost events"
say "the checkpoint has $(stat -c %s "$SCRATCH/st/index.ckpt") bytes"
# shellcheck disable=SC2016 # awk's
{
    column '$1' %.2f; row "open $n events from the checkpoint" ms
    column '$2' %.2f; row "the first 10,000 appends" ms
    column '$1 + $2' %.2f; row "both" ms "<=100"
}
each elapsed read_checkpoint; per 1000; row "cat of the checkpoint" ms
table "cat of the checkpoint"
rm -rf "$SCRATCH/st"

# Without a checkpoint, so that all of it is replayed: one may have been written on the way.
replay() {
    local status=0
    rm -rf "$SCRATCH/st"
    "$drivers/evfs-gen" "$killed" --per-entity 10 |
        bash -c '"$@"; exit $?' _ "$reopen" kill "$SCRATCH/st" 2>"$SCRATCH/err" || status=$?
    [ "$status" = 137 ] || die "filling ended with $status, not by SIGKILL: $(cat "$SCRATCH/err")"
    rm -f "$SCRATCH/st/index.ckpt"
    "$reopen" open "$SCRATCH/st" "$SCRATCH/first.jsonl"
}
say "kill -9 after $killed events"
reopen_times replay
awk -v n="$killed" '$3 != n { exit 1 }' "$SCRATCH/times" || die "a store lost events"
# shellcheck disable=SC2016
column '$3 * 1000 / $1' %.0f; row "replay of $killed events after kill -9" events/s ">=3000000"
each elapsed read_log; rate "$killed"; row "wc -l of the log" events/s
table "wc -l of the log"
