/* SPDX-License-Identifier: MIT */
/* crc: CRC32C (Castagnoli; RFC 3720 appendix B.4). crc32c(0, "123456789", 9) is 0xe3069283. Uses the
 * processor's instruction where there is one, decided once at run time; tables elsewhere. */
#ifndef STORE_CRC_H
#define STORE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Continue crc (0 to begin) over n bytes: crc32c(crc32c(0, a), b) is the CRC of a and b joined. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* The CRC of n bytes at p and m at q, joined: both are read at once. */
uint32_t crc32c_two(const void *p, size_t n, const void *q, size_t m);

/* crc32c(0, ...) of the 32 bytes of four words, as they stand in memory: for what is checked one by one. */
uint32_t crc32c_words(uint64_t a, uint64_t b, uint64_t c, uint64_t d);

/* The portable one, for tests and for machines without the instruction. */
uint32_t crc32c_table(uint32_t crc, const void *p, size_t n);

#endif
