/* SPDX-License-Identifier: MIT */
/* outline: how scan_outline() sees values, so that equal outlines mean equal shapes (infer_shape()). For this process
 * only: its key is random. */
#ifndef STORE_OUTLINE_H
#define STORE_OUTLINE_H

#include "scan.h"

/* Constant, for as long as the process. Any thread. */
const struct scan_outliner *outline_by(void);

#endif
