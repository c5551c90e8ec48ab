#!/bin/bash
# SPDX-License-Identifier: MIT
# heap: what 200,000 events of 10 an entity, appended in batches of 100 to a store on disk, take from the heap from
# the start of the program to its end: dhat's count of blocks and bytes, and the places that ask for most. The
# same numbers each time, whatever else the machine does. See lib.sh for the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-ingest
for tool in valgrind jq; do have $tool || die "$tool is missing: scripts/setup --test"; done
n=$((200000 / SCALE))
sites=12
gen "$SCRATCH/10each.jsonl" "$n" --per-entity 10

# A store each run, and one run as its warm-up; the driver's own copy of the input is left out below.
valgrind --tool=dhat --num-callers=40 --dhat-out-file="$SCRATCH/dhat.json" "$drivers/evfs-ingest" --mode allocs --runs 1 --batch 100 \
    --dir "$SCRATCH/st" "$SCRATCH/10each.jsonl" >"$SCRATCH/out" 2>"$SCRATCH/log" || { cat "$SCRATCH/log" >&2; exit 1; }
machine
jq -r --argjson n "$((2 * n))" --argjson sites $sites '
    # Frames of a place, innermost first: "0x…: name (file.c:12)"; those within libraries and of malloc are left out.
    def name: sub("^0x[0-9A-Fa-f]+: "; "");
    def sum(f): map(f) | add;
    . as $top
    | [.pps[] | {blocks: .tbk, bytes: .tb, peak: .gb, at: [.fs[] as $f | $top.ftbl[$f] | name
        | select(test("alloc_count.c|^\\[root\\]|\\(in /|^(malloc|calloc|realloc|strdup) ") | not)]}
       | select(.at | any(test("load_file")) | not)] as $all
    | "| what | blocks | bytes | at the peak, bytes | blocks an event |", "|---|---|---|---|---|",
      "| two stores of \($n / 2) events each, from open to close | \($all | sum(.blocks)) | \($all | sum(.bytes)) " +
      "| \($all | sum(.peak)) | \(($all | sum(.blocks)) / $n * 1e6 | round / 1e6) |",
      "", "| place | blocks | bytes |", "|---|---|---|",
      ($all | group_by(.at[0:2]) | map({at: .[0].at, blocks: sum(.blocks), bytes: sum(.bytes)})
        | sort_by(-.blocks)[:$sites][] | "| \(.at[0:2] | join(" < ") | if . == "" then "within libraries" else . end) | \(.blocks) | \(.bytes) |")
' "$SCRATCH/dhat.json"
