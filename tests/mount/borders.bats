# SPDX-License-Identifier: MIT
# Who may do what: tenants, borders, and what nobody else may read, learn of, or store. The table of users and
# directories, and the rules that say what must come out, are in borders.py.
load lib.bash

setup() {
    need_root
    setup_store
    E=$MNT/entities F=$MNT/events.jsonl
}
teardown() { cleanup; }
race() { python3 "$BATS_TEST_DIRNAME/borders_race.py" "$MNT" "$@"; }
borders() { python3 "$BATS_TEST_DIRNAME/borders.py" "$MNT" "$@"; }

@test "every user tries every call on every kind of file" {
    borders matrix
    check_log
}

@test "every user appends to everything through every file: only what may be is stored, and read" {
    borders appends
    check_log
}

@test "every user reads, writes, makes and removes pinned schemas everywhere" {
    python3 "$BATS_TEST_DIRNAME/borders_schemas.py" "$MNT"
    check_log
}

@test "a refusal tells nothing of what is there" {
    borders oracles
}

@test "who owned a directory has no rights to it any more, though the kernel may think so" {
    borders stale
}

@test "8 writers above a border: once the chmod has returned, nothing of theirs is stored" {
    race flips "$(by_mode 10 30 5000)"
}

@test "a chmod or chown holds for the next open and stat of anybody, under load" {
    race at_once "$(by_mode 300 2000 20000)"
    check_log
}

@test "open documents: each user has a part of their bytes, whatever others hold" {
    race shares
    health_ok
}
