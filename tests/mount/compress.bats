# SPDX-License-Identifier: MIT
# Sealed segments are compressed in the background: whoever reads meanwhile, or afterwards, notices nothing, and
# whatever happens at any point of it, no event is lost.
load lib.bash

setup() {
    need_mount
    need zstd jq cmp
    need_data git-events.jsonl.zst
    make_dirs
    F=$MNT/events.jsonl
}
teardown() { cleanup; }

# history N: so many events of a real history, in segments of 256 KiB, none of them compressed; what they are
# stored as is in $T/want.
history() {
    start_store -o segment_size=256K,compress=off
    zstd -dc "$EVFS_TEST_DATA/git-events.jsonl.zst" | head -n "$1" >"$T/input.jsonl"
    cat "$T/input.jsonl" >>"$F"
    cat "$F" >"$T/want"
    stop_store
    same "$(ls "$DATA"/log | grep -c zst)" 0
}
stat_of() { jq ".$1" "$MNT/.evfs/stats.json"; }
compressed() { ls "$DATA"/log | grep -c '\.jsonl\.zst$' || true; }
plain() { ls "$DATA"/log | grep -c '\.jsonl$' || true; }
# All but the last segment are compressed, and nobody reads the plain files any more.
all_compressed() { [ "$(plain)" = 1 ] && [ "$(compressed)" = $(($(stat_of segments) - 1)) ]; }
right() { cmp "$F" "$T/want" && health_ok && same "$(stat -c %s "$F")" "$(stat -c %s "$T/want")"; }

@test "readers notice nothing while segments are compressed" {
    history 12000
    start_store -o segment_size=256K,compress=6
    size=$(stat -c %s "$T/want")
    makefile=$(jq -c 'select(.entity == "files/Makefile") | .data' "$T/want" | cksum)
    read_all() { until [ -e "$T/stop" ]; do cmp "$F" "$T/want" || echo all >>"$T/wrong"; echo >>"$T/all"; done; }
    read_some() {
        until [ -e "$T/stop" ]; do
            at=$((RANDOM * RANDOM % size))
            cmp -s <(tail -c +$((at + 1)) "$F" | head -c 70000) <(tail -c +$((at + 1)) "$T/want" | head -c 70000) ||
                echo "at $at" >>"$T/wrong"
        done
    }
    read_entity() {
        until [ -e "$T/stop" ]; do
            [ "$(jq -c .data "$MNT/entities/files/Makefile/events.jsonl" | cksum)" = "$makefile" ] ||
                echo entity >>"$T/wrong"
        done
    }
    pids=
    for reader in read_all read_some read_entity; do
        $reader 3>&- &
        pids+=" $!"
    done
    tail -c 3000 -f "$F" >"$T/tail" 2>&1 3>&- & # an open file that is not read holds nothing up
    wait_for 120 all_compressed
    n=$(lines "$T/all")
    more_read() { [ "$(lines "$T/all")" -gt $((n + 1)) ]; }
    wait_for 60 more_read
    touch "$T/stop"
    wait $pids
    kill %tail
    refused test -e "$T/wrong"
    right
    # The disk has shrunk, and memory is as said.
    [ $(($(stat_of disk_bytes) * 4)) -lt "$(stat_of bytes)" ]
    [ "$(stat_of unpacked_bytes)" -le $((64 << 20)) ]
    same "$(stat_of bytes)" "$size"
}

@test "a compressed store is a store: zstdcat, export, verify, rebuild, appends" {
    history 6000
    start_store -o segment_size=256K,compress=1
    wait_for 120 all_compressed
    stop_store
    zstdcat "$DATA"/log/*.zst | cat - "$DATA"/log/*.jsonl | cmp - "$T/want"
    "$EVFS_BIN" export "$DATA" | cmp - "$T/want"
    "$EVFS_BIN" verify "$DATA"
    start_store -o ro
    right
    same "$(stat_of compressed)" "$(compressed)"
    stop_store
    rm -f "$DATA"/log/*.idx "$DATA/index.ckpt"
    start_store -o segment_size=256K,compress=off
    right
    tail -n 4000 "$T/input.jsonl" >>"$F"
    cat "$F" >"$T/want2"
    cmp -n "$(stat -c %s "$T/want")" "$T/want" "$T/want2"
    same "$(check_log)" 10000
    [ "$(plain)" -gt 3 ]
    stop_store
    "$EVFS_BIN" rebuild "$DATA"
    "$EVFS_BIN" verify "$DATA"
    "$EVFS_BIN" export "$DATA" | cmp - "$T/want2"
}

@test "kill -9 while segments are compressed loses nothing" {
    history 6000
    for kill in $(seq "$(by_mode 5 10 100)"); do
        start_store -o segment_size=256K,compress=$((kill % 3 * 6 + 1))
        before=$(compressed)
        more() { [ "$(ls "$DATA"/log | grep -c 'zst')" -gt $((before + kill % 2)) ] || all_compressed; }
        wait_for 60 more
        cat "$F" | cmp - "$T/want"
        kill_store
        "$EVFS_BIN" verify "$DATA"
        if [ $((kill % 4)) = 0 ]; then # from the beginning
            rm -rf "$DATA"
            "$EVFS_BIN" mount -o segment_size=256K,compress=off "$DATA" "$MNT"
            cat "$T/input.jsonl" >>"$F"
            cat "$F" >"$T/want"
            wait_for 10 unmount
        fi
        wait_for 20 idle
    done
    start_store -o segment_size=256K
    right
    wait_for 120 all_compressed
    right
    refused ls "$DATA"/log/*.tmp
}
# Nobody has the store.
idle() { flock -n "$DATA/lock" true; }

@test "a disk without room is left alone, and compressed when there is" {
    need_root
    history 6000
    size=$(du -s --block-size=1K "$DATA" | cut -f1)
    mv "$DATA" "$T/old"
    mkdir "$DATA"
    mount -t tmpfs -o size=$((size + 600))k none "$DATA" || skip 'no tmpfs'
    cp -r "$T/old/." "$DATA"
    head -c $(($(df -B1 --output=avail "$DATA" | tail -n 1) - 200000)) /dev/zero >"$DATA/full"
    start_store -o segment_size=256K,compress=1
    echo '{"n":1}' >>"$MNT/entities/a/t.jsonl" # appends go on
    same "$(compressed)" 0
    health_ok
    stop_store
    rm "$DATA/full"
    start_store -o segment_size=256K,compress=1
    wait_for 120 all_compressed
    same "$(check_log)" 6001
    stop_store
    umount "$DATA"
}

@test "damage in a compressed segment is named, and what is whole is read" {
    history 6000
    start_store -o segment_size=256K,compress=1
    wait_for 120 all_compressed
    stop_store
    second=$(ls "$DATA"/log/*.zst | sed -n 2p)
    cp "$second" "$T/good"
    printf x | dd of="$second" bs=1 seek=1000 conv=notrunc status=none
    out=$("$EVFS_BIN" verify "$DATA" 2>&1) && false
    contains "$out" "log/$(basename "$second")"
    start_store
    run cat "$F"
    [ "$status" != 0 ]
    first=$(zstdcat "$(ls "$DATA"/log/*.zst | head -n 1)" | wc -c)
    head -c "$first" "$F" | cmp - <(head -c "$first" "$T/want")
    contains "$(cat "$MNT/.evfs/health")" "log/$(basename "$second")"
    stop_store
    cp "$T/good" "$second"
    start_store
    right
}

@test "compress= is a level or off" {
    for bad in compress=0 compress=20 compress=fast compress= compress; do
        run "$EVFS_BIN" mount -f -o "$bad" "$DATA" "$MNT"
        same "$status" 2 "$bad"
    done
}
