/* SPDX-License-Identifier: MIT */
/* alloc: allocations that fail. The linker puts these functions where the library calls malloc() and its kin
 * (-Wl,--wrap); SQLite is told to use them. */
#ifndef ALLOC_H
#define ALLOC_H

#include <stdbool.h>
#include <stdint.h>

/* Once, before SQLite is first used. */
void alloc_init(void);
/* The nth allocation of the store's (or of SQLite's) from now fails, once or for ever; n 0: none. Returns how
 * many there were since the last set (0: they were not counted). */
uint64_t alloc_fault_set(uint64_t n, bool forever, bool sqlite);

#endif
