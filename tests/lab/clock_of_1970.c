/* The wall clock of a machine that has just booted without a battery: LD_PRELOAD. All other clocks stay as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

static int real(clockid_t id, struct timespec *now)
{
	static int (*next)(clockid_t, struct timespec *);
	if (!next)
		next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	return next(id, now);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
	return real(id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE ? CLOCK_BOOTTIME : id, now);
}

int gettimeofday(struct timeval *now, void *zone)
{
	struct timespec found;
	(void)zone;
	real(CLOCK_BOOTTIME, &found);
	now->tv_sec = found.tv_sec;
	now->tv_usec = found.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *now)
{
	struct timespec found;
	real(CLOCK_BOOTTIME, &found);
	if (now)
		*now = found.tv_sec;
	return found.tv_sec;
}
