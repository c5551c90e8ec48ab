# SPDX-License-Identifier: MIT
# What was learned of a type, as files in types/T and by evfs schema.
load lib.bash

setup() {
    setup_store
    E=$MNT/entities F=$MNT/events.jsonl P=$MNT/types/placed
}
teardown() { cleanup; }

placed() { printf '%s\n' "$@" >>"$E/o/1/placed.jsonl"; }
# Two versions: a field more, and one that is missing sometimes.
two_versions() {
    placed '{"total":99,"note":"a"}' '{"total":12,"note":"b"}'
    same "$(ls "$P/schemas")" 1.json
    placed '{"total":7.5,"tax":1}'
    wait_for 10 test -e "$P/schemas/2.json"
}

@test "types/T shows what was learned, and it is true" {
    two_versions
    same "$(ls "$P")" $'README\nchanges.jsonl\nevents.jsonl\nschema.json\nschemas'
    same "$(jq -c '[.required, .properties.total.type, .properties.tax.type]' "$P/schema.json")" '[["total"],"number","integer"]'
    same "$(jq -c '.required|sort' "$P/schemas/1.json")" '["note","total"]'
    same "$(jq -c '.required' "$P/schemas/2.json")" '["total"]'
    same "$(lines "$P/changes.jsonl")" 2
    same "$(jq -c .version "$P/changes.jsonl" | tr '\n' ' ')" '1 2 '
    contains "$(cat "$P/README")" total
    contains "$(cat "$P/README")" 7.5
    # sizes are true, so that any tool copies them
    for f in README schema.json changes.jsonl schemas/1.json schemas/2.json; do
        size_is "$P/$f" "$(wc -c <"$P/$f")" || { echo "size of $f" >&2; return 1; }
    done
    cp -r "$P" "$T/copy"
    same "$(cksum <"$T/copy/schemas/1.json")" "$(cksum <"$P/schemas/1.json")"
    # at once: what has just been appended is in it
    for i in $(seq 20); do
        placed "{\"total\":1,\"field$i\":1}"
        same "$(jq -c ".properties.field$i.type" "$P/schema.json")" '"integer"' || return 1
    done
    check_log
}

@test "what was learned is only read" {
    two_versions
    for f in README schema.json changes.jsonl schemas/1.json; do
        same "$(drive write "$P/$f" 'x')" open:EPERM "$f" || return 1
        refused rm "$P/$f" 2>/dev/null
        refused mv "$P/$f" "$P/x" 2>/dev/null
        refused chmod 777 "$P/$f" 2>/dev/null
        refused truncate -s 0 "$P/$f" 2>/dev/null
    done
    refused chmod 777 "$P/schemas" 2>/dev/null
    refused chown 1 "$P/schemas" 2>/dev/null
    refused rmdir "$P/schemas" 2>/dev/null
    refused mkdir "$P/schemas/x" 2>/dev/null
    refused touch "$P/schemas/3.json" "$P/schemas/x" 2>/dev/null
    for name in 0.json 3.json 01.json +1.json 1.jsonl x.json 99999999999.json; do
        refused test -e "$P/schemas/$name" || { echo "$name" >&2; return 1; }
    done
    # of a type without events there is none, nor is a directory made there
    same "$(ls "$MNT/types/never")" ''
    refused cat "$MNT/types/never/schema.json" 2>/dev/null
    refused mkdir "$MNT/types/never/schemas" 2>/dev/null
    refused touch "$MNT/types/never/schema.json" 2>/dev/null
    health_ok
}

@test "it survives a remount, and a remount read-only" {
    two_versions
    before=$(cat "$P/changes.jsonl" "$P/schemas/1.json" "$P/schemas/2.json" | cksum)
    remount
    same "$(cat "$P/changes.jsonl" "$P/schemas/1.json" "$P/schemas/2.json" | cksum)" "$before"
    remount -o ro
    same "$(cat "$P/changes.jsonl" "$P/schemas/1.json" "$P/schemas/2.json" | cksum)" "$before"
    stat "$P/README" "$P/schema.json" >/dev/null
}

@test "a border closes what was learned of a type, as it closes its events" {
    need_root
    need setpriv
    two_versions
    as_user 1002 cat "$P/schema.json" "$P/README" "$P/changes.jsonl" "$P/schemas/1.json" >/dev/null
    install -d -o 1001 -m 700 "$E/acme"
    echo '{"total":1,"secret":"x"}' >>"$E/acme/1/placed.jsonl"
    for f in events.jsonl schema.json README changes.jsonl schemas/1.json schemas/2.json schemas/3.json; do
        refused as_user 1002 cat "$P/$f" 2>/dev/null || { echo "$f" >&2; return 1; }
        same "$(stat -c %A "$P/$f" | cut -c5-)" ------ "$f" || return 1
    done
    cat "$P/schema.json" "$P/schemas/3.json" >/dev/null
    chmod 755 "$E/acme"
    as_user 1002 cat "$P/schema.json" "$P/README" "$P/changes.jsonl" "$P/schemas/3.json" >/dev/null
}

@test "evfs schema show, diff, check and compat: in a mount" {
    two_versions
    run -0 "$EVFS_BIN" schema show "$P"
    contains "$output" total
    contains "$output" number
    same "$("$EVFS_BIN" schema show "$P/schema.json")" "$output"
    same "$(cd "$E" && "$EVFS_BIN" schema show placed)" "$output"
    same "$("$EVFS_BIN" schema show "$MNT" placed)" "$output"
    run -0 "$EVFS_BIN" schema diff "$P" 1 2
    contains "$output" note
    contains "$output" tax
    run -1 "$EVFS_BIN" schema diff "$P" 1 9
    contains "$output" 'no version 9'
    # against what was learned, since nothing is pinned
    printf '{"total":1}\n\n{"total":"x"}\n{"tax":1}\nnonsense\n' >"$T/in"
    run -1 --separate-stderr "$EVFS_BIN" schema check "$P" "$T/in"
    contains "$stderr" 'was learned'
    contains "$stderr" '3 of 4 values'
    same "$(cut -d: -f1-3 <<<"$output")" $'3: /total: type\n4: (whole value): required\n5: (whole value): -'
    run -0 "$EVFS_BIN" schema check "$P" <<<'{"total":1}'
    # against what is pinned
    echo '{"type":"object","properties":{"tax":{"type":"string"}}}' >"$P/pinned.json"
    run -1 --separate-stderr "$EVFS_BIN" schema check "$P" - <<<'{"tax":1}'
    contains "$stderr" 'is pinned'
    same "$(cut -d: -f1-3 <<<"$output")" '1: /tax: type'
    run -0 "$EVFS_BIN" schema show "$P"
    contains "$output" 'pinned: {"type":"object"'
    echo '{"type":"object","properties":{"tax":{"type":["string","null"]}}}' >"$T/wider"
    run -1 "$EVFS_BIN" schema compat "$P" "$T/wider"
    contains "$output" backward
    run -0 "$EVFS_BIN" schema compat "$P" "$P/pinned.json"
}

@test "evfs schema: of a store that is not mounted, and mistakes" {
    two_versions
    show=$("$EVFS_BIN" schema show "$P")
    stop_store
    same "$("$EVFS_BIN" schema show "$DATA" placed)" "$show"
    run -0 "$EVFS_BIN" schema diff "$DATA" placed 1 2
    contains "$output" tax
    run -1 "$EVFS_BIN" schema check "$DATA" placed - <<<'{}'
    run -1 "$EVFS_BIN" schema show "$DATA" nothing
    contains "$output" 'no such type'
    run -1 "$EVFS_BIN" schema show "$T"
    contains "$output" 'not in a mount'
    run -1 "$EVFS_BIN" schema show nothing
    run -2 "$EVFS_BIN" schema
    run -2 "$EVFS_BIN" schema grow x
    run -2 "$EVFS_BIN" schema diff x
    run -2 "$EVFS_BIN" schema diff "$DATA" placed one two
    run -2 "$EVFS_BIN" schema show a b c
    run -0 "$EVFS_BIN" schema --help
    contains "$output" 'check TYPE'
}

@test "of a small disk events have the larger part, and what can't be written is said" {
    need_root
    stop_store
    mount -t tmpfs -o size=4m,mode=700 tmpfs "$DATA" || skip 'cannot mount a tmpfs'
    start_store -o segment_size=1M,compress=off
    python3 - "$E" <<'END'
import os, sys
failed = 0
for i in range(6000):
    fd = os.open(f"{sys.argv[1]}/e/t{i % 40}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, b'{"f%c%c%c":{"text":"%s"}}\n' % (97 + i % 26, 97 + i // 26 % 26, 97 + i // 676, b"y" * 500))
    except OSError as e:
        failed = e.errno
    os.close(fd)
    if failed:
        break
assert failed == 28, failed
END
    n=$(lines "$F")
    used=$(du -s --block-size=1K "$DATA/log" | cut -f1)
    [ "$used" -gt "$(du -s --block-size=1K "$DATA/schemas" | cut -f1)" ]
    contains "$(cat "$MNT/.evfs/health")" "schemas: can't be written"
    jq -e . "$MNT/types/t1/schema.json" >/dev/null
    kill_store
    "$EVFS_BIN" verify "$DATA"
    mount -o remount,size=256m "$DATA" # of the free space learned files take half at most
    start_store
    same "$(lines "$F")" "$n"
    printf '%s\n' '{"more":1}' >>"$E/e/t1.jsonl"
    jq -e . "$MNT/types/t1/schema.json" >/dev/null
    stop_store
    "$EVFS_BIN" verify "$DATA"
    cp -a "$DATA/schemas" "$T/schemas"
    "$EVFS_BIN" rebuild "$DATA"
    diff -r "$DATA/schemas" "$T/schemas"
    umount "$DATA"
}
