// digest.wasm: one line per file below the directories given as arguments, as `sha256sum` prints
// them, so that `sha256sum -c` can check them later; how many lines and bytes each has, in the log.
//
// An ordinary program. It sees those directories of the host that the job's definition grants, at
// the places where the definition puts them, and nothing else.

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sha256.h"

static struct { unsigned long long files, lines, bytes; } total;

static int fail(const char *what, const char *path) {
    fprintf(stderr, "digest: cannot %s %s: %s\n", what, path, strerror(errno));
    return 1;
}

static int digest_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        return fail("open", path);
    }
    static unsigned char buffer[64 * 1024];
    struct sha256 hash;
    unsigned long long lines = 0, bytes = 0;
    size_t size;
    sha256_start(&hash);
    while ((size = fread(buffer, 1, sizeof buffer, file)) > 0) {
        sha256_add(&hash, buffer, size);
        bytes += size;
        for (size_t i = 0; i < size; i++) {
            lines += buffer[i] == '\n';
        }
    }
    int bad = ferror(file) ? fail("read", path) : 0;
    fclose(file);
    if (bad) {
        return bad;
    }

    unsigned char digest[32];
    sha256_finish(&hash, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        printf("%02x", digest[i]);
    }
    printf("  %s\n", path);
    fprintf(stderr, "%s: %llu lines, %llu bytes\n", path, lines, bytes);
    total.files++;
    total.lines += lines;
    total.bytes += bytes;
    return 0;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The names in a directory but `.` and `..`, sorted: the output must not depend on the order in
// which the host's file system happens to keep them. Returns -1 where it cannot be read.
static int list(const char *path, char ***names) {
    DIR *dir = opendir(path);
    if (!dir) {
        return -1;
    }
    int count = 0;
    *names = NULL;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) {
            continue;
        }
        char **grown = realloc(*names, (count + 1) * sizeof **names);
        char *name = strdup(entry->d_name);
        if (!grown || !name) {
            fprintf(stderr, "digest: out of memory in %s\n", path);
            exit(1);
        }
        *names = grown;
        (*names)[count++] = name;
    }
    closedir(dir);
    qsort(*names, count, sizeof **names, compare_names);
    return count;
}

static int digest_dir(const char *path) {
    char **names;
    int count = list(path, &names);
    if (count < 0) {
        return fail("list", path);
    }
    const char *slash = path[strlen(path) - 1] == '/' ? "" : "/";
    int bad = 0;
    for (int i = 0; i < count; i++) {
        char inside[4096];
        struct stat status;
        int length = snprintf(inside, sizeof inside, "%s%s%s", path, slash, names[i]);
        if (length < 0 || (size_t)length >= sizeof inside) {
            errno = ENAMETOOLONG;
            bad |= fail("open", path);
        } else if (lstat(inside, &status)) {
            bad |= fail("look at", inside);
        } else if (S_ISDIR(status.st_mode)) {
            bad |= digest_dir(inside);
        } else if (S_ISREG(status.st_mode)) {
            bad |= digest_file(inside);
        } else {
            fprintf(stderr, "%s: skipped, neither a file nor a directory\n", inside);
        }
        free(names[i]);
    }
    free(names);
    return bad;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fputs("digest: no directory given: name one or more in \"args\", such as [\"/data\"]\n", stderr);
        return 1;
    }
    int bad = 0;
    for (int i = 1; i < argc; i++) {
        struct stat status;
        // Without any grant there is no file system at all: each path fails here.
        if (argv[i][0] == '\0' || stat(argv[i], &status)) {
            bad = fail("see", argv[i]);
            fprintf(stderr,
                    "digest: was it granted? \"grants\": {\"dirs\": [{\"host\": \"data\", \"guest\": \"%s\"}]}\n",
                    argv[i]);
        } else {
            bad |= S_ISDIR(status.st_mode) ? digest_dir(argv[i]) : digest_file(argv[i]);
        }
    }
    fprintf(stderr, "%llu files, %llu lines, %llu bytes\n", total.files, total.lines, total.bytes);
    return bad;
}
