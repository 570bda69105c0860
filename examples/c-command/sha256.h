// SHA-256 (FIPS 180-4), for input of any length in pieces of any length.
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t state[8];
    uint64_t length;         // bytes taken in so far
    unsigned char block[64]; // the last, not yet full block
};

void sha256_start(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t size);
void sha256_finish(struct sha256 *hash, unsigned char digest[32]);

#endif
