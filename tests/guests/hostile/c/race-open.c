// Opens paths that lead out at the instant at which race-rename has turned them, again and again.
// outcome: succeeded
// grants: {"dirs": [{"host": "data/race", "guest": "/data", "mode": "rw"}]}
// limits: {"timeout": "20s", "fuel": "unlimited"}

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const paths[] = {
    "/data/swap/secret.txt",     "/data/swap/../secret.txt",   "/data/a/b/up/../secret.txt",
    "/data/b/up/secret.txt",     "/data/b/up/../secret.txt",   "/data/a/b/../../../secret.txt",
    "/data/b/../../secret.txt",  "/data/turn/../../secret.txt", "/data/a/b/up/a/b/up/../secret.txt",
};

int main(void) {
    for (time_t end = time(NULL) + 2; time(NULL) < end;) {
        for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
            int file = open(paths[i], O_RDONLY);
            if (file >= 0) {
                char text[64] = "";
                read(file, text, sizeof text - 1);
                printf("got out: %s holds %s\n", paths[i], text);
                return 1;
            }
            file = open(paths[i], O_WRONLY | O_TRUNC);
            if (file >= 0) {
                printf("got out: %s can be written\n", paths[i]);
                return 1;
            }
        }
    }
    return 0;
}
