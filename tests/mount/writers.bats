# SPDX-License-Identifier: MIT
# Append by any program, in any spelling, cut anywhere; transactions, versions, ids; many writers at once.
load lib.bash

setup() {
    setup_store
    E=$MNT/entities
}
teardown() { cleanup; }

@test "bash, printf, cat, tee and a loop append to what did not exist" {
    echo '{"n":1}' >>"$E/a/b/first.jsonl"
    printf '{"n":%d}\n' 2 3 4 >>"$E/a/b/first.jsonl"
    printf '{"n":5} {"n":6}\t{"n":7}\n\n' >"$T/in"
    cat "$T/in" >>"$E/a/b/first.jsonl"
    echo '{"n":8}' | tee -a "$E/a/b/first.jsonl" >/dev/null
    for i in 9 10 11; do echo "{\"n\":$i}" >>"$E/a/b/first.jsonl"; done
    echo '{"n":12}' >"$E/a/b/second.jsonl" # a new file: > makes it
    same "$(jq .n "$E/a/b/first.jsonl" | tr '\n' ' ')" '1 2 3 4 5 6 7 8 9 10 11 '
    same "$(jq .n "$E/a/b/second.jsonl")" 12
    same "$(jq .version "$E/a/b/events.jsonl" | tail -n 1)" 12
    same "$(cd "$E" && find . -type f | sort | tr '\n' ' ')" \
        './a/b/events.jsonl ./a/b/first.jsonl ./a/b/second.jsonl ./a/b/state.json ./a/events.jsonl '
    check_log
}

@test "python, node, C, dd and perl append" {
    python3 -c 'import sys
with open(sys.argv[1], "a") as f: f.write("{\"by\":\"python\"}\n")' "$E/p/t.jsonl"
    n=1
    if command -v node >/dev/null; then
        node -e 'require("fs").appendFileSync(process.argv[1], "{\"by\":\"node\"}\n")' "$E/p/t.jsonl"
        node -e 'require("fs").promises.appendFile(process.argv[1], "{\"by\":\"node\"}\n")' "$E/p/t.jsonl"
        n=$((n + 2))
    fi
    cat >"$T/w.c" <<'C'
#include <fcntl.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    int fd = open(argv[argc - 1], O_WRONLY | O_APPEND | O_CREAT, 0644);
    return fd < 0 || write(fd, "{\"by\":\"C\"}\n", 11) != 11 || close(fd) < 0;
}
C
    gcc -o "$T/w" "$T/w.c" && "$T/w" "$E/p/t.jsonl"
    echo '{"by":"dd"}' | dd of="$E/p/t.jsonl" oflag=append conv=notrunc status=none
    perl -e 'open(F, ">>", $ARGV[0]) or die; print F "{\"by\":\"perl\"}\n"; close(F) or die' "$E/p/t.jsonl"
    same "$(lines "$E/p/t.jsonl")" $((n + 3))
    same "$(jq -r .by "$E/p/t.jsonl" | tail -n 3 | tr '\n' ' ')" 'C dd perl '
    cp "$E/p/t.jsonl" "$E/p/copied.jsonl"
    cmp "$E/p/t.jsonl" "$E/p/copied.jsonl"
}

@test "whole events at the root, a category, an entity and a type" {
    echo '{"entity":"o/1","type":"x","data":1}' >>"$MNT/events.jsonl"
    echo '{"entity":"o/1","type":"x","data":2}' >>"$E/o/events.jsonl"
    echo '{"type":"x","data":3}' >>"$E/o/1/events.jsonl"
    echo '{"entity":"o/1","type":"x","data":4}' >>"$E/o/1/events.jsonl"
    echo '{"entity":"o/1/sub","type":"x","data":5}' >>"$E/o/1/events.jsonl"
    echo '{"entity":"o/1","data":6}' >>"$MNT/types/x/events.jsonl"
    echo '{"entity":"q","data":7}' >>"$MNT/types/new.type/events.jsonl"
    echo '{"type":"category","data":8}' >>"$E/o/events.jsonl"
    same "$(jq -c '[.entity,.type,.version,.data]' "$MNT/events.jsonl")" '["o/1","x",1,1]
["o/1","x",2,2]
["o/1","x",3,3]
["o/1","x",4,4]
["o/1/sub","x",1,5]
["o/1","x",5,6]
["q","new.type",1,7]
["o","category",1,8]'
    same "$(lines "$E/o/events.jsonl") $(lines "$E/o/1/events.jsonl") $(lines "$E/o/1/x.jsonl")" '7 6 5'
    same "$(cat "$E/o/category.jsonl")" 8
}

@test "the stored line has the fields in their order, and data as it was written" {
    echo '{ "data" : {"b": 1.50e+3,  "a":"\u00e9 \/"} , "meta":{"k":"v"},"type":"t","entity":"e","id":"i1","time":"2026-01-02T03:04:05+01:00"}' \
        >>"$MNT/events.jsonl"
    line=$(cat "$MNT/events.jsonl")
    re='^\{"seq":1,"id":"i1","time":"2026-01-02T03:04:05\+01:00","recorded":"[0-9T:.-]{26}Z","entity":"e","type":"t","version":1,'
    re+='"uid":'$(id -u)',"meta":\{"k":"v"\},"crc":"[0-9a-f]{8}","data":\{"b": 1\.50e\+3,  "a":"\\u00e9 \\/"\}\}$'
    [[ $line =~ $re ]] || { echo "$line"; false; }
    echo 'null' >>"$E/e/t.jsonl"
    re='^\{"seq":2,"id":"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}","time":"[^"]*Z","entity":"e",'
    line=$(tail -n 1 "$MNT/events.jsonl")
    [[ $line =~ $re ]] || { echo "$line"; false; }
    same "$(jq -c 'has("recorded"), has("tx"), has("meta")' <<<"$line" | tr '\n' ' ')" 'false false false '
}

@test "the spellings of AllSource" {
    echo '{"event_type":"user.created","entity_id":"user-1","payload":{"n":1},"metadata":{"s":"x"},"timestamp":"2026-01-01T00:00:00Z"}' \
        >>"$MNT/events.jsonl"
    same "$(jq -c '[.type,.entity,.data,.meta,.time]' "$MNT/events.jsonl")" \
        '["user.created","user-1",{"n":1},{"s":"x"},"2026-01-01T00:00:00Z"]'
    same "$(drive write "$MNT/events.jsonl" '{"entity":"a","entity_id":"a","type":"t"}\n')" EINVAL
    same "$(rejected .reason)" GIVEN_TWICE
}

@test "CloudEvents: every valid one of the conformance files, no invalid one" {
    need_data cloudevents/valid-events.json
    d=$EVFS_TEST_DATA/cloudevents n=0
    while IFS= read -r ev; do
        same "$(drive write "$MNT/events.jsonl" "@/dev/stdin" <<<"$ev")" "$((${#ev} + 1))" "$ev"
        n=$((n + 1))
    done < <(jq -c '.tests[].event | if .id then .id += "-\(input_line_number)" else . end' "$d/valid-events.json" |
        awk '{ sub(/"id":"/, "&" NR "-"); print }')
    [ "$n" -ge 10 ]
    same "$(lines "$MNT/events.jsonl")" "$n"
    refusals=0
    while IFS= read -r ev; do
        r=$(drive write "$MNT/events.jsonl" "@/dev/stdin" <<<"$ev")
        case $r in EINVAL) refusals=$((refusals + 1)) ;; *) echo "$r: $ev" >>"$T/taken" ;; esac
    done < <(jq -c '.tests[].event' "$d/invalid-events.json")
    # What is taken although it is invalid must be documented in docs/json.md, by its id.
    touch "$T/taken"
    sed 's/^[^{]*//' "$T/taken" >"$T/taken.json"
    while IFS= read -r id; do
        ev=$(jq -c --arg id "$id" '.tests[] | select(.id == $id).event' "$d/invalid-events.json")
        ! grep -qxF "$ev" "$T/taken.json" || grep -q "$id" "$EVFS_SOURCE_DIR/docs/json.md" ||
            { echo "$id is taken, and docs/json.md does not say so"; false; }
    done < <(jq -r '.tests[].id' "$d/invalid-events.json")
    [ "$refusals" -ge 15 ]
}

@test "CloudEvents: entity, meta and batches" {
    echo '{"specversion":"1.0","id":"c1","source":"/shop","subject":"order/7","type":"com.x","traceid":"t9","data":{"a":1}}' \
        >>"$MNT/events.jsonl"
    same "$(jq -c '[.entity,.id,.type,.data,.meta.traceid]' "$MNT/events.jsonl")" '["shop/order/7","c1","com.x",{"a":1},"t9"]'
    same "$(jq -r .type "$E/shop/order/7/events.jsonl")" com.x
    need_data cloudevents/valid-batches.json
    # Its batches repeat the ids of each other with the same content: that stores nothing twice.
    while IFS= read -r batch; do
        same "$(drive write "$MNT/events.jsonl" "@/dev/stdin" <<<"$batch")" "$((${#batch} + 1))" "$batch"
    done < <(jq -c '.tests[].batch' "$EVFS_TEST_DATA/cloudevents/valid-batches.json")
    check_log
    before=$(lines "$MNT/events.jsonl")
    while IFS= read -r batch; do
        same "$(drive write "$MNT/events.jsonl" "@/dev/stdin" <<<"$batch")" EINVAL "$batch"
    done < <(jq -c '.tests[].batch' "$EVFS_TEST_DATA/cloudevents/invalid-batches.json")
    same "$(lines "$MNT/events.jsonl")" "$before"
}

@test "pretty-printed values, and what is a line break too many" {
    jq -n '{entity:"p",type:"t",data:{a:[1,2,{b:null}],c:{}}}' >>"$MNT/events.jsonl"
    printf '{\n\t"x": [\n\t\t1,\n\t\t2\n\t]\n}\n' >>"$E/p/t.jsonl"
    same "$(cat "$E/p/t.jsonl" | jq -c .)" '{"a":[1,2,{"b":null}],"c":{}}
{"x":[1,2]}'
    same "$(lines "$E/p/t.jsonl") $(lines "$MNT/events.jsonl")" '2 2'
    # A forgotten brace is found on its own line: the next line is not swallowed.
    same "$(drive write "$E/p/t.jsonl" '{"x":{"y":1}\n' '{"z":2}\n')" 'EINVAL 8'
    same "$(tail -n +3 "$E/p/t.jsonl")" '{"z":2}'
}

@test "values cut anywhere across writes" {
    {
        jq -nc 'range(300) | {entity:"cut/\(. % 7)",type:"t",data:{n:.,s:"é\"\\\u0001 \(. * 7919)"}}'
        jq -n '[range(50) | {entity:"cut/tx",type:"u",data:{n:.}}]'
        jq -n 'range(30) | {entity:"cut/pretty",type:"p",data:{n:.,deep:[[{a:[.]}]]}}'
        printf '{"entity":"cut/num","type":"n","data":12} {"entity":"cut/num","type":"n","data":true}\n'
    } >"$T/in"
    for seed in 1 2 3; do
        drive cut "$MNT/events.jsonl" "$T/in" $seed
    done
    same "$(lines "$MNT/events.jsonl")" $((3 * 382))
    drive cut "$E/cut/scalar/n.jsonl" <(seq 1000) 4
    same "$(cksum <"$E/cut/scalar/n.jsonl")" "$(seq 1000 | cksum)"
    for seed in 1 2 3; do jq -c 'if type == "array" then .[] else . end | .data' "$T/in"; done >"$T/want"
    head -n $((3 * 382)) "$MNT/events.jsonl" | jq -c .data >"$T/got"
    cmp "$T/want" "$T/got"
    check_log
}

@test "two open files never mix; one of them may end inside a value" {
    same "$(drive two "$E/m/t.jsonl" "$E/m/t.jsonl" '{"a":' '{"b":' '1}' '2}' '\n' '\n')" '5 5 2 2 1 1'
    same "$(sort "$E/m/t.jsonl" | tr '\n' ' ')" '{"a":1} {"b":2} '
    # A number ends at white space; without it, it is unfinished, and the close rejects it.
    same "$(drive write "$E/m/n.jsonl" '1 2' '3 4')" '3 3'
    same "$(cat "$E/m/n.jsonl" | tr '\n' ' ')" '1 23 '
    wait_for 10 grep -q UNFINISHED "$MNT/.evfs/rejected.jsonl"
    # White space must stand between two values: the first is stored, the second refused.
    same "$(drive write "$E/m/apart.jsonl" '{}{}\n' '{}\n')" '2 EINVAL'
    same "$(cat "$E/m/apart.jsonl")" '{}'
}

@test "a transaction is all or nothing, over several entities" {
    echo '[{"entity":"t/a","type":"x","expected_version":0},{"entity":"t/b","type":"x"},{"entity":"t/a","type":"y","expected_version":1}]' \
        >>"$MNT/events.jsonl"
    same "$(jq -c '[.seq,.entity,.version,.tx]' "$MNT/events.jsonl")" '[1,"t/a",1,2]
[2,"t/b",1,1]
[3,"t/a",2,null]'
    before=$(cksum <"$MNT/events.jsonl")
    same "$(drive write "$MNT/events.jsonl" '[{"entity":"t/a","type":"x"},{"entity":"t/b","type":"x","expected_version":7}]\n')" ESTALE
    same "$(drive write "$MNT/events.jsonl" '[{"entity":"t/a","type":"x"},{"entity":"t/b"}]\n')" EINVAL
    same "$(drive write "$MNT/events.jsonl" '[{"entity":"t/a","type":"x"},17]\n')" EINVAL
    same "$(drive write "$E/t/a/events.jsonl" '[{"type":"x"},{"entity":"t/b","type":"x"}]\n')" EINVAL
    same "$(cksum <"$MNT/events.jsonl")" "$before"
    # An array into TYPE.jsonl is data.
    echo '[1,2]' >>"$E/t/a/z.jsonl"
    same "$(cat "$E/t/a/z.jsonl")" '[1,2]'
    # A large one, in many writes.
    jq -nc '[range(20000) | {entity:"t/large/\(. % 100)",type:"x",data:.}]' >>"$MNT/events.jsonl"
    same "$(jq -c '[.seq,.tx]' "$E/t/large/events.jsonl" | sed -n '1p;$p' | tr '\n' ' ')" '[5,19999] [20004,null] '
    echo '[]' >>"$MNT/events.jsonl"
    same "$(check_log)" 20004
}

@test "expected_version, and who comes first" {
    w() { drive write "$MNT/events.jsonl" "{\"entity\":\"v\",\"type\":\"x\",\"expected_version\":$1}\n"; }
    n=$(printf "%s\n" "{\"entity\":\"v\",\"type\":\"x\",\"expected_version\":0}" | wc -c)
    same "$(w 1) $(w 0) $(w 0) $(w 1) $(w 1)" "ESTALE $n ESTALE $n ESTALE"
    same "$(jq .version "$E/v/events.jsonl" | tr "\n" " ")" "1 2 "
    # Of ten that expect the same version, one wins.
    pids=
    for i in 1 2 3 4 5 6 7 8 9 10; do
        w 2 >"$T/r$i" 3>&- &
        pids="$pids $!"
    done
    wait $pids
    same "$(cat "$T"/r* | grep -c ESTALE)" 9
    same "$(jq .version "$E/v/events.jsonl" | tail -n 1)" 3
}

@test "ids: a repeat stores nothing, another content is refused, for ever" {
    ev='{"entity":"i/1","type":"x","id":"id-1","data":{"a":1}}'
    echo "$ev" >>"$MNT/events.jsonl"
    echo "$ev" >>"$MNT/events.jsonl"
    same "$(lines "$MNT/events.jsonl")" 1
    same "$(drive write "$MNT/events.jsonl" "${ev/:1\}/:2\}}\n")" EEXIST
    # The scope is the entity.
    echo "${ev/i\/1/i\/2}" >>"$MNT/events.jsonl"
    same "$(lines "$MNT/events.jsonl")" 2
    # Before expected_version is looked at; and within a transaction.
    echo "${ev/\"id\"/\"expected_version\":0,\"id\"}" >>"$MNT/events.jsonl"
    echo "[$ev,{\"entity\":\"i/1\",\"type\":\"x\",\"id\":\"id-2\"}]" >>"$MNT/events.jsonl"
    same "$(jq -c '[.id,.version,.tx]' "$E/i/1/events.jsonl" | tr '\n' ' ')" '["id-1",1,null] ["id-2",2,null] '
    # The store's own ids are known as well: its lines can be poured into it again.
    echo '{"own":1}' >>"$E/i/3/x.jsonl"
    cat "$E/i/3/events.jsonl" >"$T/own"
    cat "$T/own" >>"$MNT/events.jsonl"
    same "$(lines "$E/i/3/events.jsonl")" 1
    remount
    echo "$ev" >>"$MNT/events.jsonl"
    cat "$T/own" >>"$MNT/events.jsonl"
    same "$(lines "$MNT/events.jsonl")" 4
    same "$(drive write "$MNT/events.jsonl" "${ev/:1\}/:3\}}\n")" EEXIST
    check_log
}

@test "one store's lines can be poured into another" {
    jq -nc 'range(500) | {entity:"p/\(. % 9)",type:"t\(. % 4)",meta:{m:.},data:{n:.}}' >>"$MNT/events.jsonl"
    cp "$MNT/events.jsonl" "$T/lines"
    stop_store
    DATA=$T/other
    mkdir "$DATA"
    start_store
    cat "$T/lines" >>"$MNT/events.jsonl"
    same "$(jq -c '[.id,.time,.entity,.type,.version,.meta,.data]' "$MNT/events.jsonl" | cksum)" \
        "$(jq -c '[.id,.time,.entity,.type,.version,.meta,.data]' "$T/lines" | cksum)"
    cat "$T/lines" >>"$MNT/events.jsonl"
    same "$(lines "$MNT/events.jsonl")" 500
}

@test "odd names of types and entities round-trip" {
    jq -nc '("a/b","..",".","x.jsonl","y.json","z.csv","events","100%","tab\tq","\"quote\"","ü","sp ace","~","q~",".h","events.jsonl") |
        {entity:("odd/" + .),type:.,data:.}, {entity:("odd//" + .),type:.,data:.}' >>"$MNT/events.jsonl"
    n=$(lines "$MNT/events.jsonl")
    same "$n" 32
    # Each line is found again below a directory, in a file of its type; the path is enough to append more.
    find "$E/odd" -name '*.jsonl' ! -name events.jsonl -size +0 -print0 |
        while IFS= read -r -d '' f; do
            cat "$f" >>"$T/found"
            head -n 1 "$f" >>"$f"
        done
    same "$(lines "$T/found")" 32
    same "$(lines "$MNT/events.jsonl")" 64
    same "$(head -n 32 "$MNT/events.jsonl" | jq -c '[.entity,.type,.data]' | sort | cksum)" \
        "$(tail -n 32 "$MNT/events.jsonl" | jq -c '[.entity,.type,.data]' | sort | cksum)"
    same "$(ls -A "$MNT/types" | wc -l | tr -d ' ')" 16
    for f in a%2Fb %2E%2E %2E x%2Ejsonl y%2Ejson z%2Ecsv %65vents 100%25 tab%09q; do
        [ -s "$MNT/types/$f/events.jsonl" ] || { echo "no types/$f"; false; }
    done
    # Only the canonical encoding is a name.
    refused stat "$MNT/types/%61/events.jsonl" 2>/dev/null
    refused stat "$MNT/types/a%2fb" 2>/dev/null
    refused stat "$E/odd/%2e" 2>/dev/null
}

@test "eight writers at once on one file" {
    n=$(by_mode 2000 12500 12500)
    drive writers 8 "$n" one "$MNT"
    same "$(check_log)" $((8 * n))
    drive check-writers 8 "$n" "$MNT/events.jsonl"
    health_ok
}

@test "eight writers at once on many files, while others read" {
    n=$(by_mode 2000 12500 12500)
    drive writers 8 "$n" many "$MNT" 3>&- &
    w=$!
    while kill -0 $w 2>/dev/null; do
        # What is read is always whole lines, and as long as stat said or longer.
        size=$(stat -c %s "$MNT/events.jsonl")
        [ "$(tail -c 1 "$MNT/events.jsonl" | wc -l)" = 1 ] || [ "$size" = 0 ]
        tail -n 3 "$E/load/events.jsonl" 2>/dev/null | jq -e . >/dev/null || [ ! -e "$E/load/events.jsonl" ]
    done
    wait $w
    same "$(check_log)" $((8 * n))
    drive check-writers 8 "$n" "$MNT/events.jsonl"
    for i in 0 3 7; do same "$(lines "$E/load/w$i/events.jsonl")" "$n"; done
    same "$(cat "$MNT"/types/t*/events.jsonl | wc -l | tr -d ' ')" $((8 * n))
    remount
    same "$(check_log)" $((8 * n))
}

@test "with one thread, eight writers and readers get on as well" {
    stop_store
    start_store -o max_threads=1,clone_fd=off # of which evfs knew once
    local pids=()
    for w in 1 2 3 4 5 6 7 8; do
        for i in $(seq 100); do
            echo "{\"i\":$i}" >>"$E/w$w/t.jsonl"
            [ $((i % 25)) != 0 ] || tail -n 1 "$E/w$w/t.jsonl" >/dev/null
        done 3>&- &
        pids+=($!)
    done
    wait "${pids[@]}"
    same "$(lines "$MNT/events.jsonl")" 800
    for bad in max_threads=0 max_threads=65 max_threads=x; do
        run -2 "$EVFS_BIN" mount -o "$bad" "$DATA" "$T"
    done
}
