#!/bin/bash
# SPDX-License-Identifier: MIT
# train: a little of everything that evfs does, for a profile: all workloads of evfs-gate, then a mount that is appended
# to (a process an event, an open descriptor, in bulk, in transactions, with ids, badly), listed, read in all kinds of
# files, synced, killed and opened again.
#   bench/train.sh BUILD    of the programs in BUILD; EVFS and GATE name others
set -euo pipefail
BUILD=${1:?the build directory}
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
gate=${GATE:-$BUILD/bench/evfs-gate}
for program in "$gate" "$EVFS" "$BUILD/bench/evfs-gen"; do [ -x "$program" ] || die "$program is missing"; done

say "workloads of evfs-gate"
"$gate" list | while read -r name _; do
    for _ in 1 2; do
        "$gate" run "$name" "$SCRATCH/gate"
        rm -rf "$SCRATCH/gate"
    done
done

say "a mount"
data=$SCRATCH/data
"$BUILD/bench/evfs-gen" 100000 --entities 500 >"$SCRATCH/in.jsonl"
"$BUILD/bench/evfs-gen" 5000 --per-entity 1 --ids >"$SCRATCH/ids.jsonl"
start_store "$data"
cat "$SCRATCH/in.jsonl" >>"$mnt/events.jsonl"
for _ in 1 2; do cat "$SCRATCH/ids.jsonl" >>"$mnt/events.jsonl"; done
for i in $(seq 1500); do echo "{\"n\":$i,\"note\":\"said\"}" >>"$mnt/entities/a/b$((i % 40))/t$((i % 7)).jsonl"; done
for i in $(seq 1500); do echo "{\"n\":$i}"; done >>"$mnt/entities/a/held/t.jsonl"
for i in $(seq 200); do
    echo "[{\"entity\":\"a/b$i\",\"type\":\"x\",\"data\":{\"i\":$i}},{\"entity\":\"c\",\"type\":\"y\"}]" >>"$mnt/events.jsonl"
done
for _ in $(seq 20); do echo '{"no":' >>"$mnt/events.jsonl" 2>/dev/null || true; done
sync "$mnt/events.jsonl"
ls -lR "$mnt/entities/a" "$mnt/types" >/dev/null
for _ in 1 2 3; do cat "$mnt/events.jsonl" "$mnt"/types/*/events.jsonl; done >/dev/null
cat "$mnt"/entities/orders/*/events.jsonl "$mnt"/entities/a/*/*.jsonl "$mnt"/entities/a/*/state.json >/dev/null
tail -n 5 "$mnt/events.jsonl" >/dev/null
find "$mnt" -name '*.json' >/dev/null
stop_store
start_store "$data"
tail -n 1 "$mnt/events.jsonl" >/dev/null
stop_store
"$EVFS" verify "$data" >/dev/null
"$EVFS" export "$data" >/dev/null
