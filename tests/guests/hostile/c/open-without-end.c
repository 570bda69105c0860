// Opens its file again and again, and never closes it.
// outcome: failed
// says: limit: 256 open files
// grants: {"dirs": [{"host": "data/open", "guest": "/data", "mode": "rw"}]}

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

int main(void) {
    int count = 0;
    while (open("/data/file", O_RDWR | O_CREAT, 0600) >= 0 && count < 100000) {
        count++;
    }
    printf("%d files, then error %d\n", count, errno);
    return 0;
}
