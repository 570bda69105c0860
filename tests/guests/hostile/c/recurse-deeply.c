// Calls itself for ever, each time with more on its stack in memory.
// outcome: trapped
// limits: {"memory": "64MiB"}

#include <string.h>

static int deeper(const char *above, unsigned depth) {
    char here[64];
    memcpy(here, above, sizeof here);
    here[depth % sizeof here] ^= 1;
    return depth == ~0u ? 0 : deeper(here, depth + 1) + here[0];
}

int main(int count, char **arguments) {
    (void)arguments;
    char first[64] = {0};
    first[0] = (char)count;
    return deeper(first, 1);
}
