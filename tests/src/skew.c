/* A clock that is wrong: for the tests, put before a program by LD_PRELOAD. CLOCK_REALTIME is off by as many seconds as
 * MILEPOST_TEST_SKEW_S says; the clock that timeouts go by is not touched. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  const char *skew = getenv("MILEPOST_TEST_SKEW_S");
  if (failed == 0 && clock == CLOCK_REALTIME && skew != NULL) now->tv_sec += atol(skew);
  return failed;
}
