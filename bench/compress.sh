#!/bin/bash
# SPDX-License-Identifier: MIT
# compress: what compressing sealed segments gives and costs: the ratio, on a real history (GIT_EVENTS, JSON Lines
# or .zst; the history of git's own repository in the figures), in segments of 256 MiB; reading at random and in
# order, of the same store plain and compressed. In process, from the page cache. LEVELS are those to try.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-pack
have zstdcat || die "zstd is missing"
LEVELS=${LEVELS:-1 3 9 15 19}
data=${GIT_EVENTS:-${EVFS_TEST_DATA:-}/git-events.jsonl.zst}
[ -e "$data" ] || die "GIT_EVENTS names no file of events"
case $data in
*.zst) zstdcat "$data" >"$SCRATCH/in.jsonl" ;;
*) cp "$data" "$SCRATCH/in.jsonl" ;;
esac
say "filling a store"
"$drivers/evfs-pack" fill "$SCRATCH/plain" "$SCRATCH/in.jsonl" $((300 * 1024 * 1024 / SCALE))
sealed=$(ls "$SCRATCH"/plain/log/*.jsonl | head -n -1)
[ -n "$sealed" ] || die "no segment is sealed: SCALE is too large"
bytes=$(cat $sealed | wc -c)
machine

reads() { # reads DIR NAME: both rows
    "$drivers/evfs-pack" read "$1" >"$SCRATCH/reads"
    mapfile -t v < <(awk '$1 == "random" { print $2 }' "$SCRATCH/reads")
    row "64 bytes at a random byte, $2" us
}
scans() {
    mapfile -t v < <(awk '$1 == "scan" { print $2 }' "$SCRATCH/reads")
    row "all bytes in order, $1" GB/s
}

for level in $LEVELS; do
    say "level $level"
    rm -rf "$SCRATCH/packed"
    cp -r "$SCRATCH/plain" "$SCRATCH/packed"
    drive "$drivers/evfs-pack" pack "$SCRATCH/packed" "$level"
    convert "printf \"%.1f\\n\", $bytes / \$1 / 1e6"
    row "compressing at level $level, of one processor" MB/s
    v=("$(cat "$SCRATCH"/packed/log/*.zst | wc -c | awk "{ printf \"%.2f\", $bytes / \$1 }")")
    row "so many times smaller, level $level" times
done
table

reads "$SCRATCH/plain" plain
reads_plain=$(cat "$SCRATCH/reads")
reads "$SCRATCH/packed" compressed
reads_packed=$(cat "$SCRATCH/reads")
table "64 bytes at a random byte, plain"
echo "$reads_plain" >"$SCRATCH/reads"
scans plain
echo "$reads_packed" >"$SCRATCH/reads"
scans compressed
table "all bytes in order, plain"
