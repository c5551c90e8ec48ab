/* SPDX-License-Identifier: MIT */
/* The meta-schemas of draft 2020-12: what JSON Schema itself demands of a schema. Their assertions; titles
 * and comments are left out. Written with ' for ", which none of them contains. */
#include "jsonschema_docs.h"

#define BASE "https://json-schema.org/draft/2020-12/"
#define META(name)                                                                                 \
    "{'$schema':'" BASE "schema','$id':'" BASE "meta/" name                                        \
    "','$dynamicAnchor':'meta','type':['object','boolean'],"

static const char schema[] =
    "{'$schema':'" BASE "schema','$id':'" BASE "schema','$vocabulary':{'" BASE "vocab/core':true,"
    "'" BASE "vocab/applicator':true,'" BASE "vocab/unevaluated':true,'" BASE
    "vocab/validation':true,"
    "'" BASE "vocab/meta-data':true,'" BASE "vocab/format-annotation':true,'" BASE
    "vocab/content':true},"
    "'$dynamicAnchor':'meta','allOf':[{'$ref':'meta/core'},{'$ref':'meta/"
    "applicator'},{'$ref':'meta/unevaluated'},"
    "{'$ref':'meta/validation'},{'$ref':'meta/meta-data'},{'$ref':'meta/format-annotation'},"
    "{'$ref':'meta/content'}],'type':['object','boolean'],'properties':{"
    "'definitions':{'type':'object','additionalProperties':{'$dynamicRef':'#meta'},'deprecated':"
    "true,'default':{}},"
    "'dependencies':{'type':'object','additionalProperties':{'anyOf':[{'$dynamicRef':'#meta'},"
    "{'$ref':'meta/validation#/$defs/stringArray'}]},'deprecated':true,'default':{}},"
    "'$recursiveAnchor':{'$ref':'meta/core#/$defs/anchorString','deprecated':true},"
    "'$recursiveRef':{'$ref':'meta/core#/$defs/uriReferenceString','deprecated':true}}}";

static const char core[] = META(
    "core") "'properties':{'$id':{'$ref':'#/$defs/uriReferenceString','pattern':'^[^#]*#?$'},"
            "'$schema':{'$ref':'#/$defs/uriString'},'$ref':{'$ref':'#/$defs/uriReferenceString'},"
            "'$anchor':{'$ref':'#/$defs/anchorString'},'$dynamicRef':{'$ref':'#/$defs/"
            "uriReferenceString'},"
            "'$dynamicAnchor':{'$ref':'#/$defs/anchorString'},'$vocabulary':{'type':'object',"
            "'propertyNames':{'$ref':'#/$defs/"
            "uriString'},'additionalProperties':{'type':'boolean'}},"
            "'$comment':{'type':'string'},'$defs':{'type':'object','additionalProperties':{'$"
            "dynamicRef':'#meta'}}},"
            "'$defs':{'anchorString':{'type':'string','pattern':'^[A-Za-z_][-A-Za-z0-9._]*$'},"
            "'uriString':{'type':'string','format':'uri'},'uriReferenceString':{'type':'string','"
            "format':'uri-reference'}}}";

static const char applicator[] =
    META("applicator") "'properties':{'prefixItems':{'$ref':'#/$defs/"
                       "schemaArray'},'items':{'$dynamicRef':'#meta'},"
                       "'contains':{'$dynamicRef':'#meta'},'additionalProperties':{'$dynamicRef':'#"
                       "meta'},"
                       "'properties':{'type':'object','additionalProperties':{'$dynamicRef':'#meta'"
                       "},'default':{}},"
                       "'patternProperties':{'type':'object','additionalProperties':{'$dynamicRef':"
                       "'#meta'},"
                       "'propertyNames':{'format':'regex'},'default':{}},"
                       "'dependentSchemas':{'type':'object','additionalProperties':{'$dynamicRef':'"
                       "#meta'},'default':{}},"
                       "'propertyNames':{'$dynamicRef':'#meta'},'if':{'$dynamicRef':'#meta'},'then'"
                       ":{'$dynamicRef':'#meta'},"
                       "'else':{'$dynamicRef':'#meta'},'allOf':{'$ref':'#/$defs/"
                       "schemaArray'},'anyOf':{'$ref':'#/$defs/schemaArray'},"
                       "'oneOf':{'$ref':'#/$defs/schemaArray'},'not':{'$dynamicRef':'#meta'}},"
                       "'$defs':{'schemaArray':{'type':'array','minItems':1,'items':{'$dynamicRef':"
                       "'#meta'}}}}";

static const char unevaluated[] =
    META("unevaluated") "'properties':{'unevaluatedItems':{'$dynamicRef':'#meta'},'"
                        "unevaluatedProperties':{'$dynamicRef':'#meta'}}}";

static const char validation[] = META(
    "validation") "'properties':{'type':{'anyOf':[{'$ref':'#/$defs/simpleTypes'},{'type':'array',"
                  "'items':{'$ref':'#/$defs/"
                  "simpleTypes'},'minItems':1,'uniqueItems':true}]},'const':true,"
                  "'enum':{'type':'array','items':true},'multipleOf':{'type':'number','"
                  "exclusiveMinimum':0},"
                  "'maximum':{'type':'number'},'exclusiveMaximum':{'type':'number'},'minimum':{'"
                  "type':'number'},"
                  "'exclusiveMinimum':{'type':'number'},'maxLength':{'$ref':'#/$defs/"
                  "nonNegativeInteger'},"
                  "'minLength':{'$ref':'#/$defs/"
                  "nonNegativeIntegerDefault0'},'pattern':{'type':'string','format':'regex'},"
                  "'maxItems':{'$ref':'#/$defs/nonNegativeInteger'},'minItems':{'$ref':'#/$defs/"
                  "nonNegativeIntegerDefault0'},"
                  "'uniqueItems':{'type':'boolean','default':false},'maxContains':{'$ref':'#/$defs/"
                  "nonNegativeInteger'},"
                  "'minContains':{'$ref':'#/$defs/nonNegativeInteger','default':1},"
                  "'maxProperties':{'$ref':'#/$defs/nonNegativeInteger'},"
                  "'minProperties':{'$ref':'#/$defs/"
                  "nonNegativeIntegerDefault0'},'required':{'$ref':'#/$defs/stringArray'},"
                  "'dependentRequired':{'type':'object','additionalProperties':{'$ref':'#/$defs/"
                  "stringArray'}}},"
                  "'$defs':{'nonNegativeInteger':{'type':'integer','minimum':0},"
                  "'nonNegativeIntegerDefault0':{'$ref':'#/$defs/nonNegativeInteger','default':0},"
                  "'simpleTypes':{'enum':['array','boolean','integer','null','number','object','"
                  "string']},"
                  "'stringArray':{'type':'array','items':{'type':'string'},'uniqueItems':true,'"
                  "default':[]}}}";

static const char meta_data[] = META("meta-data") "'properties':{'title':{'type':'string'},'"
                                                  "description':{'type':'string'},'default':true,"
                                                  "'deprecated':{'type':'boolean','default':false},"
                                                  "'readOnly':{'type':'boolean','default':false},"
                                                  "'writeOnly':{'type':'boolean','default':false},'"
                                                  "examples':{'type':'array','items':true}}}";

static const char format_annotation[] =
    META("format-annotation") "'properties':{'format':{'type':'string'}}}";
static const char format_assertion[] =
    META("format-assertion") "'properties':{'format':{'type':'string'}}}";

static const char content[] = META("content") "'properties':{'contentEncoding':{'type':'string'},'"
                                              "contentMediaType':{'type':'string'},"
                                              "'contentSchema':{'$dynamicRef':'#meta'}}}";

static const struct {
    const char *name, *text;
    unsigned vocabulary;
} metas[] = {
    {"schema", schema, 0},
    {"meta/core", core, JS_CORE},
    {"meta/applicator", applicator, JS_APPLICATOR},
    {"meta/unevaluated", unevaluated, JS_UNEVALUATED},
    {"meta/validation", validation, JS_VALIDATION},
    {"meta/meta-data", meta_data, JS_META_DATA},
    {"meta/format-annotation", format_annotation, JS_FORMAT_ANNOTATION},
    {"meta/format-assertion", format_assertion, JS_FORMAT_ASSERTION},
    {"meta/content", content, JS_CONTENT},
};

/* Is uri BASE, of which part is the beginning of the rest, and then name? */
static bool is_named(struct slice uri, const char *part, const char *name)
{
    const size_t base = sizeof BASE - 1, p = strlen(part), n = strlen(name);

    return uri.n == base + p + n && memcmp(uri.p, BASE, base) == 0 &&
           memcmp(uri.p + base, part, p) == 0 && memcmp(uri.p + base + p, name, n) == 0;
}

struct slice js_meta_find(struct slice uri, struct js_arena *a)
{
    for (size_t i = 0; i < ARRAY_LEN(metas); i++) {
        if (!is_named(uri, "", metas[i].name))
            continue;
        const size_t n = strlen(metas[i].text);
        char *const p = js_arena_get(a, n);
        for (size_t k = 0; p && k < n; k++)
            p[k] = metas[i].text[k] == '\'' ? '"' : metas[i].text[k];
        return (struct slice){p, p ? n : 0};
    }
    return (struct slice){NULL, 0};
}

unsigned js_meta_vocabulary(struct slice uri)
{
    for (size_t i = 1; i < ARRAY_LEN(metas); i++)
        if (is_named(uri, "vocab/", metas[i].name + strlen("meta/")))
            return metas[i].vocabulary;
    return 0;
}
