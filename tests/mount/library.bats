# SPDX-License-Identifier: MIT
# libevstore as a user meets it: installed, found by pkg-config, the example built against it.
load lib.bash

setup() { make_dirs; }
teardown() { cleanup; }

installed() {
    need meson ninja pkg-config gcc
    meson setup "$T/build" "$EVFS_SOURCE_DIR" --prefix="$T/usr" --libdir=lib -Dtests=disabled -Dbench=false >"$T/log" 2>&1 &&
        ninja -C "$T/build" install >>"$T/log" 2>&1 || { tail -n 30 "$T/log"; return 1; }
    export PKG_CONFIG_PATH=$T/usr/lib/pkgconfig LD_LIBRARY_PATH=$T/usr/lib
}

@test "install, pkg-config, and the example program" {
    installed
    [ -e "$T/usr/include/evstore.h" ] && [ -x "$T/usr/bin/evfs" ]
    for page in man1/evfs.1 man5/evfs.5 man3/libevstore.3 man8/mount.evfs.8; do
        [ -e "$T/usr/share/man/$page" ]
    done
    pkg-config --exists evstore
    gcc -std=c11 -Wall -Wextra -Werror -o "$T/example" "$EVFS_SOURCE_DIR/tests/example/append_read.c" \
        $(pkg-config --cflags --libs evstore)
    "$T/example" "$T/store" >"$T/out"
    [ -s "$T/out" ]
    # The program says what it read; the store is one that evfs knows.
    "$T/usr/bin/evfs" verify "$T/store"
    n=$("$T/usr/bin/evfs" export "$T/store" | wc -l)
    [ "$n" -ge 2 ]
    grep -q '"seq":1,' "$T/out" || grep -q "$("$T/usr/bin/evfs" export "$T/store" | head -n 1 | jq -c .data)" "$T/out"
    # Its symbols are the public ones and no others.
    same "$(nm -D --defined-only "$T/usr/lib/libevstore.so" | awk '{ print $3 }' | grep -v '^evs_' || true)" ''
    # The header suffices in C++ too, where there is a compiler for it.
    ! command -v g++ >/dev/null ||
        echo '#include <evstore.h>' | g++ -x c++ -fsyntax-only -Wall -Werror $(pkg-config --cflags evstore) -
}
