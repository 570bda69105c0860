// Makes a file of petabytes without writing them, in each way there is, against a quota.
// outcome: succeeded
// grants: {"dirs": [{"host": "data/sparse", "guest": "/data", "mode": "rw", "quota": "64KiB"}]}

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int failed(const char *what) {
    printf("got more than its quota: %s\n", what);
    return 1;
}

int main(void) {
    const off_t petabytes = (off_t)1 << 52;
    const char byte = 1;
    int file = open("/data/sparse", O_RDWR | O_CREAT, 0600);
    if (file < 0 || write(file, &byte, 1) != 1) {
        return 2; // what it may do works
    }
    for (off_t size = (off_t)1 << 17; size <= petabytes; size *= 2) {
        if (ftruncate(file, size) == 0) return failed("ftruncate");
        if (posix_fallocate(file, 0, size) == 0) return failed("posix_fallocate");
        if (posix_fallocate(file, size - 1, 1) == 0) return failed("posix_fallocate at the end");
        if (pwrite(file, &byte, 1, size) > 0) return failed("pwrite");
        if (lseek(file, size, SEEK_SET) == size && write(file, &byte, 1) > 0) return failed("write");
    }
    // And honestly, file by file.
    char name[32], piece[4096];
    memset(piece, 'x', sizeof piece);
    for (int at = 0; at < 1000; at++) {
        snprintf(name, sizeof name, "/data/%d", at);
        int one = open(name, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (one < 0 || write(one, piece, sizeof piece) < 0) {
            return at < 17 ? 0 : failed("many files");
        }
        close(one);
    }
    return failed("a thousand files");
}
