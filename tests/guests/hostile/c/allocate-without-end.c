// Takes memory in pieces of every size and fills them, until it gets none, and goes on asking.
// outcome: out_of_memory
// limits: {"memory": "16MiB"}

#include <stdlib.h>
#include <string.h>

int main(void) {
    for (size_t size = 1 << 20; size; size /= 2) {
        for (char *piece; (piece = malloc(size)) != NULL;) {
            memset(piece, 0xa5, size);
            *(char *volatile *)piece = piece; // or the compiler sees that nobody uses it
        }
        if (size < 64) break;
    }
    abort();
}
