# SPDX-License-Identifier: MIT
# The gate of instructions (bench/gate.sh) stops what it is there to stop, and nothing else.
load lib.bash

setup() {
    make_dirs
    need valgrind meson ninja gcc
    export BUILD=$(dirname "$EVFS_BIN") SCRATCH=$T BASELINE=$T/gate.tsv
    [ -x "$BUILD/bench/evfs-gate" ] || skip "no evfs-gate: the benchmarks are not built"
}
teardown() { cleanup; }

gate() { "$EVFS_SOURCE_DIR/bench/gate.sh" --only ingest_batch_1000,scan "$@"; }

@test "the same program passes, and without a baseline it is said" {
    run gate
    [ "$status" -eq 77 ] && [[ $output == *'no baseline'* ]]
    gate --update 'as it is' >/dev/null
    [ "$(wc -l <"$BASELINE")" -eq 2 ]
    gate --update 'once more' >/dev/null
    [ "$(wc -l <"$BASELINE")" -eq 2 ]
    run gate
    echo "$output"
    [ "$status" -eq 0 ]
    # Another compiler's figures are no baseline for this one.
    sed -i 's/^[^\t]*/cc-0/' "$BASELINE"
    run gate
    [ "$status" -eq 77 ]
    run "$EVFS_SOURCE_DIR/bench/gate.sh" --only nothing
    [ "$status" -eq 1 ]
}

@test "appending that takes 5 % more instructions fails, reading goes on to pass" {
    gate --update 'as it is' >/dev/null
    n=$(awk -F '\t' '$2 == "ingest_batch_1000" { printf "%d", $4 * 0.05 / 2 + 3 }' "$BASELINE")
    mkdir "$T/tree"
    cp -r "$EVFS_SOURCE_DIR"/{store,fs,bench,docs,meson.build,meson_options.txt} "$T/tree"
    # Two instructions a round, in what writes a line.
    sed -i "/^size_t line_write(/,/^{/ s/^{/{\n    for (int round = 0; round < $n; round++)\n        __asm__ volatile(\"\");/" \
        "$T/tree/store/line.c"
    ! cmp -s "$T/tree/store/line.c" "$EVFS_SOURCE_DIR/store/line.c"
    CC=gcc meson setup "$T/build" "$T/tree" -Dtests=disabled >"$T/log" 2>&1 && ninja -C "$T/build" >>"$T/log" 2>&1 ||
        { tail -n 30 "$T/log"; return 1; }
    BUILD=$T/build run gate
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *'ingest_batch_1000'*'TOO MUCH'* ]]
    [ "$(grep -c 'TOO MUCH' <<<"$output")" -eq 1 ]
}
