/* SPDX-License-Identifier: MIT */
/* jsonschema_ecma: the syntax of regular expressions of ECMA-262, into that of PCRE2. */
#ifndef STORE_JSONSCHEMA_ECMA_H
#define STORE_JSONSCHEMA_ECMA_H

#include "util.h"

/* Check text and write what PCRE2 is to compile. 0 with *ret (to free()) and its length; -EINVAL with a
 * sentence in why; -E2BIG; -ENOMEM. */
int js_ecma_translate(struct slice text, char **ret, size_t *ret_n, char *why, size_t why_n);

#endif
