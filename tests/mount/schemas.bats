# SPDX-License-Identifier: MIT
# Pinned schemas: pinned.json as any program writes a file, what is enforced, and who may.
load lib.bash

setup() {
    setup_store
    E=$MNT/entities F=$MNT/events.jsonl P=$MNT/types/placed
}
teardown() { cleanup; }

TOTAL='{"type":"object","required":["total"],"properties":{"total":{"type":"integer"}}}'
pin() { printf '%s\n' "$1" >"$P/pinned.json"; }
append() { printf '%s\n' "$1" >>"$E/o/1/placed.jsonl"; }
accepts() { append "$1" || { echo "refused: $1" >&2; return 1; }; }
breaks() { # breaks DATA: EBADMSG, and nothing is stored
    local before
    before=$(cksum <"$F")
    same "$(drive write "$E/o/1/placed.jsonl" "$1\\n")" EBADMSG "$1" || return 1
    same "$(cksum <"$F")" "$before" "$1 stored something"
}
no_pin() { [ ! -e "$P/pinned.json" ] && same "$(ls "$MNT/types")" "$1"; }

@test "what is pinned is enforced, and rejected.jsonl says what was broken" {
    accepts '{}'
    pin "$TOTAL"
    breaks '{}'
    same "$(rejected '[.reason,.errno,.instance_path,.schema_path,.keyword,.level,.path]|join(" ")')" \
        'SCHEMA EBADMSG  /required required strict /entities/o/1/placed.jsonl'
    breaks '{"total":"9"}'
    same "$(rejected '[.instance_path,.schema_path,.keyword]|join(" ")')" '/total /properties/total/type type'
    contains "$(rejected .detail)" '/total'
    accepts '{"total":9}'
    same "$(tail -n 1 "$E/o/1/placed.jsonl")" '{"total":9}'
    # by its name, whatever file it comes through
    same "$(drive write "$F" '{"entity":"x","type":"placed","data":1}\n')" EBADMSG
    same "$(drive write "$F" '{"entity":"x","type":"placed"}\n')" EBADMSG
    same "$(drive write "$P/events.jsonl" '{"entity":"x","data":{}}\n')" EBADMSG
    same "$(drive write "$E/o/events.jsonl" '{"type":"placed","data":{}}\n')" EBADMSG
    echo '{"entity":"x","type":"other","data":1}' >>"$F"
    # a transaction not at all, a write up to it
    before=$(lines "$F")
    same "$(drive write "$F" '[{"entity":"x","type":"placed","data":{"total":1}},{"entity":"x","type":"placed"}]\n')" EBADMSG
    same "$(lines "$F")" "$before"
    same "$(drive write "$F" '{"entity":"x","type":"placed","data":{"total":1}}\n' '{"entity":"x","type":"placed"}\n')" '50 EBADMSG'
    same "$(lines "$F")" $((before + 1))
    same "$(jq -c '[.pins,.schema_refused,.schema_warned]' "$MNT/.evfs/stats.json")" '[1,8,0]'
    rm "$P/pinned.json"
    accepts '{}'
    check_log
}

@test "the commands say what was broken" {
    pin "$TOTAL"
    run -1 "$EVFS_BIN" append "$E/o/1/placed.jsonl" <<<'{"total":"x"}'
    contains "$output" 'breaks the pinned schema'
    contains "$output" '/total'
    stop_store
    echo '{"entity":"o/1","type":"placed","data":{"total":"x"}}' >"$T/in"
    run -1 "$EVFS_BIN" import "$DATA" "$T/in"
    contains "$output" 'breaks the pinned schema'
    run -0 "$EVFS_BIN" verify "$DATA"
}

@test "every way to write a small file pins it, byte for byte" {
    for how in 'cat >"$P/pinned.json"' 'tee "$P/pinned.json" >/dev/null' 'dd of="$P/pinned.json" status=none' \
        'cat >"$T/s"; cp "$T/s" "$P/pinned.json"' 'cat >>"$P/pinned.json"' \
        'python3 -c "import sys; f = open(sys.argv[1], \"w\"); f.write(sys.stdin.read()); f.close()" "$P/pinned.json"' \
        'python3 -c "
import os, sys
text = sys.stdin.buffer.read()
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for i in reversed(range(len(text))):
    os.pwrite(fd, text[i:i + 1], i)
assert os.pread(fd, 99, 0) == text and os.fstat(fd).st_size >= 0
os.fsync(fd)
os.close(fd)" "$P/pinned.json"' \
        'cat >"$T/s"; mv "$T/s" "$P/pinned.json"'; do
        printf ' %s \n\n' "$TOTAL" | eval "$how" || { echo "failed: $how" >&2; return 1; }
        same "$(cksum <"$P/pinned.json")" "$(printf ' %s \n\n' "$TOTAL" | cksum)" "$how"
        size_is "$P/pinned.json" $((${#TOTAL} + 4))
        breaks '{}'
        rm "$P/pinned.json"
        no_pin placed 2>/dev/null || no_pin ''
    done
    # over an older one: shorter, longer, in place, behind it
    pin "$TOTAL"
    pin '{"type":"object"}'
    same "$(cat "$P/pinned.json")" '{"type":"object"}'
    accepts '{}'
    pin "$TOTAL"
    breaks '{}'
    echo '   ' >>"$P/pinned.json"
    same "$(cat "$P/pinned.json")" "$TOTAL"$'\n   '
    printf '{"type":"integer"}' >"$T/s"
    dd if="$T/s" of="$P/pinned.json" status=none
    same "$(cat "$P/pinned.json")" '{"type":"integer"}'
    refused test -e "$P/pinned.error"
    same "$(ls "$P" | grep pinned)" pinned.json
    touch "$P/pinned.json"
    same "$(cat "$P/pinned.json")" '{"type":"integer"}'
}

@test "a bad schema is refused when it is closed, the old one stays, and pinned.error says why" {
    pin "$TOTAL"
    run -1 cp /dev/stdin "$P/pinned.json" <<<'{"type":"objec'
    contains "$output" 'Invalid argument'
    same "$(cat "$P/pinned.json")" "$TOTAL"
    contains "$(cat "$P/pinned.error")" 'line 1'
    same "$(stat -c %s "$P/pinned.error")" "$(wc -c <"$P/pinned.error")"
    breaks '{}'
    printf '{\n  "type": nonsense\n}\n' >"$P/pinned.json"
    contains "$(cat "$P/pinned.error")" 'line 2, column 12'
    pin '{"type":"nonsense"}'
    contains "$(cat "$P/pinned.error")" '#/type'
    pin '{"x-evfs-level":"severe"}'
    contains "$(cat "$P/pinned.error")" '"strict", "warn" or "off"'
    : >"$P/pinned.json"
    wait_for 5 grep -q empty "$P/pinned.error"
    same "$(drive write "$P/pinned.error" 'x')" open:EPERM
    # a good one, the same again, or rm make it go
    pin "$TOTAL"
    refused test -e "$P/pinned.error"
    pin x
    test -e "$P/pinned.error"
    rm "$P/pinned.error"
    pin x
    rm "$P/pinned.json"
    refused test -e "$P/pinned.error"
    # of a type that nothing is pinned to
    pin x
    same "$(ls "$P")" pinned.error
    accepts '{}'
    # too large: while it is written, and nothing of it is left
    run -1 dd if=/dev/zero of="$P/pinned.json" bs=64k count=17 status=none
    contains "$output" 'File too large'
    contains "$(cat "$P/pinned.error")" '1048577 bytes'
    refused test -e "$P/pinned.json"
    # python sees it
    run -1 python3 -c 'import sys; f = open(sys.argv[1], "w"); f.write("{"); f.close()' "$P/pinned.json"
    contains "$output" 'Invalid argument'
    run -1 python3 -c 'import os, sys; f = open(sys.argv[1], "w"); f.write("{"); f.flush(); os.fsync(f.fileno())' "$P/pinned.json"
    contains "$output" 'Invalid argument'
}

@test "descriptors that are shared, or open at once: each open file is a text of its own, the last close wins" {
    python3 - "$P/pinned.json" <<'PY'
import os, sys
path = sys.argv[1]
read = lambda: open(path).read()
one, two = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for _ in range(2))
os.write(one, b'{"type":')
os.write(two, b'{"type":"integer"}')
os.write(one, b'"object"}')
assert not os.path.exists(path)
os.close(two)
assert read() == '{"type":"integer"}'
os.close(one)
assert read() == '{"type":"object"}'
# each close of a shared one checks what was written since, and says so again until something is
fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
again = [os.dup(fd) for _ in range(3)]
os.write(fd, b'{"type":')
for f in again[:2]:
    try:
        os.close(f)
        sys.exit("closed")
    except OSError as e:
        assert e.errno == 22
os.write(fd, b'"integer"}')
os.close(again[2])
assert read() == '{"type":"integer"}'
os.close(fd)
PY
    # a program that gets the descriptor, and ends: what is there by then is checked, and again at the end
    { printf '{"type":'; /bin/echo '"integer"}'; } >"$P/pinned.json"
    same "$(cat "$P/pinned.json")" '{"type":"integer"}'
    refused test -e "$P/pinned.error"
    # one that is open, and not written to, changes nothing
    exec 7<>"$P/pinned.json"
    pin '{"type":"object"}'
    exec 7<&-
    same "$(cat "$P/pinned.json")" '{"type":"object"}'
    # nor does a reader see half of anything
    exec 7<"$P/pinned.json"
    pin "$TOTAL"
    same "$(cat <&7)" '{"type":"object"}'
    exec 7<&-
}

@test "what can't be done with it" {
    pin "$TOTAL"
    for name in pinned.json~ .pinned.json.swp 4913 other.json pinned.txt; do
        refused touch "$P/$name" 2>/dev/null
    done
    for name in pinned.json~ .pinned.json.swp other.json; do
        refused touch "$E/o/$name" 2>/dev/null
    done
    refused mv "$P/pinned.json" "$P/x.json" 2>/dev/null
    refused ln "$P/pinned.json" "$P/x.json" 2>/dev/null
    refused chmod 777 "$P/pinned.json" 2>/dev/null
    refused chown 1 "$P/pinned.json" 2>/dev/null
    chmod 644 "$P/pinned.json" # as it is
    refused truncate -s 3 "$P/pinned.json" 2>/dev/null
    same "$(cat "$P/pinned.json")" "$TOTAL"
    refused rm "$P/events.jsonl" 2>/dev/null
    accepts '{"total":1}'
    refused rm "$P/events.jsonl" 2>/dev/null
    refused touch "$E/pinned.json" "$MNT/pinned.json" "$MNT/types/pinned.json/x" 2>/dev/null
    refused touch "$E/%/pinned.json" 2>/dev/null
}

@test "a directory's schema holds for every event at or below it" {
    printf '%s\n' "$TOTAL" >"$E/o/pinned.json"
    same "$(cd "$MNT" && find . -name 'pinned*')" ./entities/o/pinned.json
    same "$(ls "$E" "$E/o")" "$(printf '%s:\no\n\n%s:\npinned.json' "$E" "$E/o")"
    breaks '{}'
    same "$(rejected .schema_path)" /required
    same "$(drive write "$E/o/any.jsonl" '5\n')" EBADMSG
    same "$(drive write "$F" '{"entity":"o/deep/er","type":"t","data":{}}\n')" EBADMSG
    echo 5 >>"$E/other/any.jsonl"
    echo '{"required":["tax"]}' >"$E/o/1/pinned.json"
    breaks '{"total":1}'
    breaks '{"tax":1}'
    accepts '{"total":1,"tax":1}'
    pin '{"required":["id"]}'
    breaks '{"total":1,"tax":1}'
    accepts '{"total":1,"tax":1,"id":1}'
    echo '{"type":' >"$E/o/1/pinned.json"
    contains "$(jq -r .why "$E/o/1/pinned.error.json")" 'line 2, column 1'
    remount
    same "$(cat "$E/o/1/pinned.json")" '{"required":["tax"]}'
    breaks '{"total":1,"id":1}'
    install -d -m 750 "$E/new"
    echo true >"$E/new/pinned.json"
    refused rmdir "$E/new" 2>/dev/null
    rm "$E/new/pinned.json"
    rmdir "$E/new"
    echo true >"$E/only/a/b/pinned.json"
    same "$(ls "$E")" $'o\nonly\nother'
    rm "$E/only/a/b/pinned.json" "$E/o/1/pinned.json" "$E/o/pinned.json"
    same "$(ls "$E")" $'o\nother'
    health_ok
    check_log
}

@test "warn stores, counts and lists; off does not look" {
    pin '{"x-evfs-level":"warn","type":"object","required":["total"]}'
    accepts '{}'
    accepts '{"total":1}'
    echo '[{"entity":"a","type":"placed","data":1},{"entity":"a","type":"placed","data":{"total":2}}]' >>"$F"
    same "$(lines "$F")" 4
    same "$(jq -rc '[.reason,.level,.keyword,.value]|join(" ")' "$MNT/.evfs/rejected.jsonl")" \
        $'SCHEMA warn required {}\n\nSCHEMA warn type {"entity":"a","type":"placed","data":1},'
    same "$(jq -c '[.pins,.schema_refused,.schema_warned,.rejected]' "$MNT/.evfs/stats.json")" '[1,0,2,0]'
    pin '{"x-evfs-level":"off","type":"object","required":["total"]}'
    accepts 7
    same "$(lines "$MNT/.evfs/rejected.jsonl")" 2
}

@test "a schema that replaces one must be compatible as that one asks" {
    base='"type":"object","required":["total"],"properties":{"total":{"type":"integer"}'
    for row in 'backward "x":true,"required":["total"] 0' 'backward "properties":{"total":{"type":"number"}} 0' \
        'backward "properties":{"total":{"type":"string"}} 1' 'forward "properties":{"total":{"type":"number"}} 1' \
        'forward "properties":{"total":{"type":"integer","minimum":0}} 0' \
        'full "properties":{"total":{"type":"number"}} 1' 'full "title":"t" 0' 'none "properties":{"total":{"type":"string"}} 0'; do
        read -r mode change refused <<<"$row"
        rm -f "$P/pinned.json"
        pin "{\"x-evfs-compatibility\":\"$mode\",$base}}"
        new=$(jq -c ". + {$change}" "$P/pinned.json")
        pin "$new"
        if [ "$refused" = 1 ]; then
            same "$(cat "$P/pinned.json")" "{\"x-evfs-compatibility\":\"$mode\",$base}}" "$row" || return 1
            contains "$(cat "$P/pinned.error")" "\"$mode\" of the pinned schema" || return 1
            contains "$(cat "$P/pinned.error")" /total || return 1
        else
            same "$(cat "$P/pinned.json")" "$new" "$row" || return 1
            refused test -e "$P/pinned.error" || return 1
        fi
    done
    # the mode is that of the one that is replaced; another mode or level is no other schema
    pin "{\"x-evfs-compatibility\":\"full\",$base}}"
    pin "{\"x-evfs-compatibility\":\"none\",\"x-evfs-level\":\"warn\",$base}}"
    accepts '{}'
    pin '{"type":"string"}'
    refused test -e "$P/pinned.error"
    pin "{\"x-evfs-compatibility\":\"full\",$base}}"
    pin '{"type":"string"}'
    test -e "$P/pinned.error"
    rm "$P/pinned.json"
    pin '{"type":"string"}'
    refused test -e "$P/pinned.error"
}

@test "a full disk refuses a schema, and the old one stays" {
    need_root
    stop_store
    mount -t tmpfs -o size=8m,mode=700 tmpfs "$DATA" || skip 'cannot mount a tmpfs'
    start_store
    pin "$TOTAL"
    head -c 20M /dev/zero >"$DATA/filler" || true
    jq -nc '{title: ("x" * 200000)}' >"$T/large"
    run -1 cp "$T/large" "$P/pinned.json"
    contains "$output" 'No space left'
    same "$(cat "$P/pinned.json")" "$TOTAL"
    contains "$(cat "$P/pinned.error")" 'the disk is full'
    rm "$DATA/filler"
    breaks '{}'
    cp "$T/large" "$P/pinned.json"
    refused test -e "$P/pinned.error"
    remount
    same "$(cksum <"$P/pinned.json")" "$(cksum <"$T/large")"
}

@test "it survives a remount, kill -9, backup and restore" {
    pin "$TOTAL"
    accepts '{"total":1}'
    echo '{"required":["a"]}' >"$E/o/2/pinned.json"
    touch -d @1 "$P/pinned.json"
    when=$(stat -c %Y "$P/pinned.json")
    [ "$when" -gt 1700000000 ]
    kill_store
    start_store
    same "$(cat "$P/pinned.json" "$E/o/2/pinned.json")" "$TOTAL"$'\n{"required":["a"]}'
    same "$(stat -c %Y "$P/pinned.json")" "$when"
    breaks '{}'
    "$EVFS_BIN" backup "$DATA" "$T/copy"
    rm "$P/pinned.json"
    remount
    refused test -e "$P/pinned.json"
    accepts '{}'
    stop_store
    mv "$DATA" "$T/old"
    mv "$T/copy" "$DATA"
    start_store
    breaks '{}'
    stop_store
    run -0 "$EVFS_BIN" verify "$DATA"
    sqlite3 "$DATA/meta.db" "UPDATE pins SET schema = x'7b7d'" || skip 'no sqlite3'
    run -1 "$EVFS_BIN" verify "$DATA"
    contains "$output" 'pins: checksum differs: placed'
    start_store -o ro || true
}

@test "a restart, import --exact and repair keep what was accepted before" {
    accepts '{}'
    pin "$TOTAL"
    cp "$F" "$T/lines"
    remount
    same "$(cksum <"$F")" "$(cksum <"$T/lines")"
    stop_store
    run -0 "$EVFS_BIN" verify "$DATA"
    rm -r "$DATA"
    mkdir "$DATA"
    start_store
    pin "$TOTAL"
    stop_store
    run -0 "$EVFS_BIN" import --exact "$DATA" "$T/lines"
    start_store
    same "$(cksum <"$F")" "$(cksum <"$T/lines")"
    breaks '{}'
}

@test "once the close of pinned.json has returned, no event that breaks it is stored" {
    cat >"$T/race.py" <<'PY'
import os, sys, threading
mnt, rounds = sys.argv[1], int(sys.argv[2])
pin, log = mnt + "/types/placed/pinned.json", mnt + "/events.jsonl"
bad = b'{"entity":"e","type":"placed","data":{}}\n'
stop = False

def writer(path, text, flags):
    fd = os.open(path, flags, 0o644)
    while not stop:
        try:
            os.write(fd, text)
        except OSError as e:
            assert e.errno == 74, e
    os.close(fd)

ways = [(log, bad), (mnt + "/entities/e/placed.jsonl", b"{}\n"), (log, b"[" + bad + b"," + bad + b"]\n"),
        (mnt + "/types/placed/events.jsonl", b'{"entity":"f"}\n' * 50)]
for _ in range(rounds):
    stop = False
    threads = [threading.Thread(target=writer, args=(p, t, os.O_WRONLY | os.O_APPEND | os.O_CREAT)) for p, t in ways]
    for t in threads:
        t.start()
    before = os.stat(log).st_size
    while os.stat(log).st_size < before + 20000:
        pass
    with open(pin, "w") as f:
        f.write('{"type":"object","required":["total"]}')
    size = os.stat(log).st_size
    for _ in range(200):
        try:
            fd = os.open(log, os.O_WRONLY | os.O_APPEND)
            os.write(fd, bad)
            sys.exit("stored")
        except OSError as e:
            assert e.errno == 74, e
        finally:
            os.close(fd)
    stop = True
    for t in threads:
        t.join()
    assert os.stat(log).st_size == size, "something followed"
    os.unlink(pin)
PY
    python3 "$T/race.py" "$MNT" "$(by_mode 5 20 500)"
    check_log
}

@test "two writers of pinned.json: one of the two texts, never a mix" {
    cat >"$T/two.py" <<'PY'
import os, sys, threading
path = sys.argv[1]
texts = ['{"type":"integer","title":"%s"}' % (c * 3000) for c in "ab"]

def writer(text):
    for _ in range(int(sys.argv[2])):
        with open(path, "w") as f:
            for i in range(0, len(text), 100):
                f.write(text[i:i + 100])
                f.flush()

threads = [threading.Thread(target=writer, args=(t,)) for t in texts]
for t in threads:
    t.start()
while any(t.is_alive() for t in threads):
    try:
        now = open(path).read()
    except FileNotFoundError:
        continue
    assert now in texts, now[:200]
for t in threads:
    t.join()
assert open(path).read() in texts
PY
    python3 "$T/two.py" "$P/pinned.json" "$(by_mode 10 50 500)"
    refused test -e "$P/pinned.error"
}

@test "who may write in the directory may pin, and nobody else" {
    need_root
    need setpriv
    install -d -o 1001 -g 1001 -m 750 "$E/acme"
    as_user 1001 bash -c "echo '{\"required\":[\"a\"]}' >'$E/acme/pinned.json'"
    same "$(as_user 1001 cat "$E/acme/pinned.json")" '{"required":["a"]}'
    same "$(stat -c '%u %g %a' "$E/acme/pinned.json")" '1001 1001 640'
    refused as_user 1002 cat "$E/acme/pinned.json" 2>/dev/null
    refused as_user 1002 bash -c "echo true >'$E/acme/pinned.json'" 2>/dev/null
    refused as_user 1002 rm -f "$E/acme/pinned.json" 2>/dev/null
    chmod 755 "$E/acme"
    same "$(as_user 1002 cat "$E/acme/pinned.json")" '{"required":["a"]}'
    refused as_user 1002 bash -c "echo true >'$E/acme/pinned.json'" 2>/dev/null
    refused as_user 1002 rm -f "$E/acme/pinned.json" 2>/dev/null
    refused as_user 1002 bash -c "echo true >'$P/pinned.json'" 2>/dev/null
    refused as_user 1002 bash -c "echo true >'$E/acme/sub/pinned.json'" 2>/dev/null
    as_user 1001 bash -c "echo 'x' >'$E/acme/pinned.json'"
    same "$(as_user 1002 jq -r .why "$E/acme/pinned.error.json")" 'line 1, column 1: not JSON'
    # what is open stays open, as in any Unix; what is opened is judged anew
    chown 1003 "$E/acme"
    refused as_user 1001 bash -c "echo true >'$E/acme/pinned.json'" 2>/dev/null
    as_user 1003 rm "$E/acme/pinned.json"
    # in a sticky directory only its owner takes it away
    chmod 1777 "$E/acme"
    as_user 1002 bash -c "echo true >'$E/acme/pinned.json'"
    refused as_user 1002 rm "$E/acme/pinned.json" 2>/dev/null
    as_user 1003 rm "$E/acme/pinned.json"
}

@test "a read-only mount shows it, and takes none" {
    pin "$TOTAL"
    remount -o ro
    same "$(cat "$P/pinned.json")" "$TOTAL"
    same "$(drive write "$P/pinned.json" x)" open:EROFS
    refused rm "$P/pinned.json" 2>/dev/null
}

@test "in memory as well" {
    stop_store
    DATA=:memory: start_store
    pin "$TOTAL"
    breaks '{}'
    accepts '{"total":1}'
}
