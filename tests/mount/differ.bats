# SPDX-License-Identifier: MIT
# The same random system calls on an append-only directory of another filesystem and on evfs: every difference
# is on the list of differ_known.c, with its reason. 5 seconds with --quick, 20 in CI, 10 minutes with --long.
# SEED=n begins where a run that failed says. Without it the calls are always the same, so that what fails is a
# change of ours; --long draws others.
load lib.bash

setup() { setup_store; }
teardown() {
    [ -z "${oracle-}" ] || { chattr -R -a "$oracle" 2>/dev/null; rm -rf "$oracle"; }
    cleanup
}

# The first directory where files can be made append-only.
find_oracle() {
    local d
    for d in "$T" /var/tmp /dev/shm; do
        oracle=$(mktemp -d "$d/evfs-oracle.XXXXXX")
        chmod 711 "$oracle"
        touch "$oracle/try"
        if chattr +a "$oracle/try" 2>/dev/null && ! echo x 2>/dev/null >"$oracle/try"; then
            chattr -a "$oracle/try"
            rm "$oracle/try"
            return
        fi
        tried+=" $d ($(stat -f -c %T "$d"))"
        rm -rf "$oracle"
        oracle=
    done
    skip "no filesystem with append-only files:$tried"
}

@test "random calls of four processes: evfs answers as an append-only directory does" {
    need_root
    need chattr
    find_oracle
    seconds=$(by_mode 5 20 600)
    if [ "$MODE" = long ]; then
        export ALL=1 # every row of the list is still needed
    else
        export SEED=${SEED:-1}
    fi
    "$(helper differ)" "$oracle" "$MNT" "$seconds" >"$T/report"
    sed 's/^/# /' "$T/report" >&3
    health_ok_but_borders
    stop_store
    "$EVFS_BIN" verify "$DATA"
}
# Directories that shut somebody out are borders, which health names.
health_ok_but_borders() {
    local h
    h=$(grep -v border "$MNT/.evfs/health" || true)
    [ -z "$h" ] || [ "$h" = ok ] || { echo "health: $h" >&2; return 1; }
}
