#!/bin/bash
# SPDX-License-Identifier: MIT
# validate: what validating by a JSON Schema costs an event, and what scanning the same bytes does, which an append
# does anyway. On the data of a real history (GIT_EVENTS, JSON Lines or .zst; the history of git's own repository in
# the figures), by four schemas: types and required names; strict, with formats, lengths, vocabularies and no other
# names; the same with anyOf; and strict with regular expressions instead of lengths.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
need evfs-validate
data=${GIT_EVENTS:-${EVFS_TEST_DATA:-}/git-events.jsonl.zst}
[ -e "$data" ] || die "GIT_EVENTS names no file of events"
case $data in
*.zst)
    have zstdcat || die "zstd is missing"
    zstdcat "$data" >"$SCRATCH/all.jsonl"
    ;;
*) cp "$data" "$SCRATCH/all.jsonl" ;;
esac
awk -v scale="$SCALE" 'NR % scale == 0' "$SCRATCH/all.jsonl" >"$SCRATCH/in.jsonl"

types() {
    cat <<'END'
{"type":"object","required":["commit","author","committed","file","files"],
 "properties":{"commit":{"type":"string"},"author":{"type":"string"},"committed":{"type":"string"},
  "file":{"type":"integer"},"files":{"type":"integer"},"blob":{"type":"string"},"old":{"type":"string"},
  "mode":{"type":"string"},"from":{"type":"string"},"binary":{"type":"boolean"},
  "lines":{"type":"object","required":["added","deleted"],
   "properties":{"added":{"type":"integer"},"deleted":{"type":"integer"}}}}}
END
}
strict() { # strict COMMIT BLOB [MORE]: their schemas, and further keywords
    cat <<END
{"\$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
 "required":["commit","author","committed","file","files"],"additionalProperties":false,
 "properties":{"commit":{"type":"string",$1},"author":{"type":"string","minLength":1,"maxLength":64},
  "committed":{"type":"string","format":"date-time"},"file":{"type":"integer","minimum":1},
  "files":{"type":"integer","minimum":1},"blob":{"\$ref":"#/\$defs/blob"},"old":{"\$ref":"#/\$defs/blob"},
  "mode":{"enum":["100644","100755","120000","160000"]},"from":{"type":"string","minLength":1},
  "binary":{"const":true},"lines":{"\$ref":"#/\$defs/lines"}},
 ${3:-}
 "\$defs":{"blob":{"type":"string",$2},"lines":{"type":"object","required":["added","deleted"],
   "additionalProperties":false,"properties":{"added":{"\$ref":"#/\$defs/count"},"deleted":{"\$ref":"#/\$defs/count"}}},
  "count":{"type":"integer","minimum":0}}}
END
}
types >"$SCRATCH/types"
strict '"minLength":40,"maxLength":40' '"minLength":16,"maxLength":16' >"$SCRATCH/strict"
strict '"pattern":"^[0-9a-f]{40}$"' '"pattern":"^[0-9a-f]{16}$"' >"$SCRATCH/patterns"
strict '"minLength":40,"maxLength":40' '"minLength":16,"maxLength":16' \
    '"anyOf":[{"required":["lines"]},{"required":["binary"]}],' >"$SCRATCH/union"
machine
one_core "$drivers/evfs-validate" "$RUNS" "$SCRATCH/in.jsonl" "$SCRATCH"/{types,strict,union,patterns} >"$SCRATCH/out"
figures() { mapfile -t v < <(awk -v what="$1" '$1 == what && NF == 2 { print $2 }' "$SCRATCH/out"); }
figures scan
row "scanning" ns
figures "$SCRATCH/types"
row "types and required names" ns '<=1000'
figures "$SCRATCH/strict"
row "strict" ns '<=1000'
figures "$SCRATCH/union"
row "strict, and one of two names" ns '<=1000'
figures "$SCRATCH/patterns"
row "strict, with regular expressions" ns '<=1000'
table scanning
for schema in types strict union patterns; do
    mapfile -t v < <(awk -v what="$SCRATCH/$schema" '$1 == what && NF == 3 { print $3 }' "$SCRATCH/out")
    row "allocations, $schema" "of all events"
done
table
