// Preloaded into a server: its time of day is the machine's plus what the file named in YHUB_TEST_TIME_SHIFT holds, a signed
// 64-bit number of milliseconds in the machine's byte order, which may change at any moment. The monotonic clock is left
// alone: servers measure with it.
//
// Ready-made libraries for this ask the allocator for memory before they are ready, and an allocator that looks at the clock
// asks back. Here nothing allocates, and nothing is looked up.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t none = 0;
static const volatile int64_t *shift_ms = &none;

__attribute__((constructor)) static void map_shift(void) {
  const char *path = getenv("YHUB_TEST_TIME_SHIFT");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *page = mmap(NULL, sizeof *shift_ms, PROT_READ, MAP_SHARED, file, 0);
  if (page == MAP_FAILED) abort(); // A test of the wrong time would pass for no reason.
  close(file);
  shift_ms = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    int64_t ms = *shift_ms, ns = now->tv_nsec + ms % 1000 * 1000000;
    now->tv_sec += ms / 1000;
    if (ns < 0) ns += 1000000000, now->tv_sec -= 1;
    if (ns >= 1000000000) ns -= 1000000000, now->tv_sec += 1;
    now->tv_nsec = ns;
  }
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  int result = clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return result;
}

time_t time(time_t *out) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (out) *out = precise.tv_sec;
  return precise.tv_sec;
}
