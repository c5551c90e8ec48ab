#!/bin/bash
# SPDX-License-Identifier: MIT
# seek: reading 64 bytes at a random byte of all the events of an entity that has 1 M of them, among
# another's. In process, from the page cache. See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-seek
n=$((2000000 / SCALE))
say "making $n events of 200 bytes"
gen "$SCRATCH/in.jsonl" "$n" --entities 2
machine
in_store() { # in_store DIR
    rm -rf "$SCRATCH/st"
    "$drivers/evfs-seek" "$1" "$SCRATCH/in.jsonl" orders/0 1
}
base="pread(2) at a random byte of a plain file"
measure "64 bytes at a random byte of $((n / 2)) events, checked" us '<=10' -- in_store "$SCRATCH/st"
measure "the same of a store in memory" us -- in_store :memory:
measure "$base" us -- "$drivers/evfs-seek" --plain "$SCRATCH/in.jsonl" 1
rounds
table "$base"
