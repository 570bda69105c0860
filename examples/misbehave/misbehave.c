// misbehave.wasm: does on purpose what a job should not, to show what the host does about it.
// The first argument says what; README.md has the table.
//
// Built as a plain wasip1 module, not as a component: a file that hosts run as it is, and whose
// exit code reaches them in full.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// For ever, without a single call to the host: ended by whichever comes first of timeout and fuel.
static int spin(void) {
    for (volatile unsigned turns = 0;; turns++) {
    }
}

// Honest work that is only too much of it: with fuel enough, it ends.
static int burn(unsigned long rounds) {
    uint64_t x = 1; // xorshift64: each round needs the last one, so that nothing can be skipped
    for (unsigned long i = 0; i < rounds; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    printf("%lu rounds: %016llx\n", rounds, (unsigned long long)x);
    return 0;
}

static int fail(void) {
    fputs("misbehave: failed, as asked\n", stderr);
    return 3;
}

// Takes memory until none is given, then gives up as most programs do.
static int eat(void) {
    const size_t piece = 1024 * 1024;
    unsigned long pieces = 0;
    // Volatile, or the compiler sees that nobody uses the memory and takes none.
    for (char *volatile p; (p = malloc(piece)); pieces++) {
        memset(p, 0xa5, piece); // touched, or it would cost the host nothing
    }
    fprintf(stderr, "misbehave: no more memory after %lu MiB\n", pieces);
    abort();
}

static int flood(void) {
    for (unsigned long line = 1;; line++) {
        if (printf("line %lu of a flood that does not end\n", line) < 0) {
            perror("misbehave: stdout");
            return 1;
        }
    }
}

// Waits in a call to the host: uses no fuel, so that only the timeout can end it early.
static int wait_for(unsigned seconds) {
    fprintf(stderr, "misbehave: sleeping for %u s\n", seconds);
    sleep(seconds);
    printf("slept for %u s\n", seconds);
    return 0;
}

static int usage(void) {
    fputs("misbehave: give one of these in \"args\": spin, burn [ROUNDS], fail, eat, flood, sleep SECONDS\n",
          stderr);
    return 2;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    unsigned long number = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;

    if (!strcmp(what, "spin")) {
        return spin();
    }
    if (!strcmp(what, "burn")) {
        return burn(number ? number : 1000000000);
    }
    if (!strcmp(what, "fail")) {
        return fail();
    }
    if (!strcmp(what, "eat")) {
        return eat();
    }
    if (!strcmp(what, "flood")) {
        return flood();
    }
    if (!strcmp(what, "sleep") && number) {
        return wait_for(number);
    }
    return usage();
}
