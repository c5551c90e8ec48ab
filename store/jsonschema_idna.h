/* SPDX-License-Identifier: MIT */
/* jsonschema_idna: labels of internationalized host names (RFC 5891 to 5893). */
#ifndef STORE_JSONSCHEMA_IDNA_H
#define STORE_JSONSCHEMA_IDNA_H

#include "util.h"

/* Is this label, which begins with "xn--" and has only letters, digits and hyphens, the A-label of a
 * U-label? *ret_rtl becomes true if it has right-to-left characters. */
bool js_idna_a_label(struct slice label, bool *ret_rtl);
/* Is this label, which isn't ASCII, a U-label? *ret_n: the length of its A-label. */
bool js_idna_u_label(struct slice label, size_t *ret_n, bool *ret_rtl);
/* Does a label (either kind) keep the Bidi rule? */
bool js_idna_bidi(struct slice label);

#endif
