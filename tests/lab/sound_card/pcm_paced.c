/*
 * ALSA ioplug "paced": a sound card that is not there.
 *
 * It takes frames at the pace of CLOCK_MONOTONIC, as a card takes them at the pace of its crystal, and writes what its
 * converter would emit to a file: zeros where it ran dry, nothing twice. As with a card, a stream that ran dry is in
 * the state XRUN until it is prepared again, frames that come too late are lost, and stopping drops what is buffered.
 *
 * Configuration (all but `type` are optional):
 *   pcm.NAME {
 *     type paced
 *     file "/abs/heard.raw"   what was emitted, interleaved and appended
 *     log "/abs/heard.log"    events, appended: "start|xrun|stop NANOSECONDS FRAME", FRAME counted in the file
 *     format S24_LE           the only sample format (S16_LE); the file then has samples of this format
 *     rate 48000              the only rate (8000 to 96000), or the lowest one if there is a rate_max
 *     rate_max 96000          the highest rate
 *     channels 1              the only channel count (1 or 2), or the least if there is a channels_max
 *     channels_max 8          the most channels
 *     ppm 100                 how much faster than nominal its clock runs
 *     period_min 4096         bounds of period and buffer, in frames
 *     period_max 4096
 *     buffer_min 4096
 *     buffer_max 32768
 *     unplugged "/abs/file"   while this file exists, the card does not: it cannot be opened, and an open handle is dead for ever
 *     unplug_at_start "/abs/file"  if this file exists when a stream is started, it is renamed to the one above: the card is
 *                             pulled at that moment
 *     stuck "/abs/file"       while this file exists, the calls that it names block, as in a driver that hangs: open, start, stop,
 *                             close, xrun (recovering from one); an empty file names start, stop and close
 *   }
 *
 * Build: gcc -shared -fPIC -DPIC -O2 -o libasound_module_pcm_paced.so pcm_paced.c -lasound
 */
#define _GNU_SOURCE
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000LL

typedef struct {
	snd_pcm_ioplug_t io;
	int timer;
	FILE *file, *log;
	double ppm;
	char *unplugged, *unplug_at_start, *stuck;

	double frames_per_ns;
	size_t frame_bytes;
	char *ring; /* io.buffer_size frames */

	int64_t epoch_ns; /* when frame 0 of the file was emitted; 0 before the first start */
	int64_t run_ns;   /* when this run was started */
	uint64_t before;  /* frames that were in the file before that */
	uint64_t emitted; /* frames in the file since then */
	uint64_t given;   /* frames from the application in this run */
	uint64_t played;  /* of those, emitted */
	int dead;         /* the card was pulled: this handle never works again, whether the card comes back or not */
	int dry;          /* this run is over: the converter found no frame */
	snd_pcm_uframes_t avail_min, boundary;
} paced_t;

static int64_t now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NANOSECONDS + time.tv_nsec;
}

static void log_event(paced_t *paced, const char *event, int64_t time_ns)
{
	if (!paced->log)
		return;
	fprintf(paced->log, "%s %lld %llu\n", event, (long long)time_ns, (unsigned long long)(paced->before + paced->emitted));
	fflush(paced->log);
}

static void emit(paced_t *paced, const char *frames, uint64_t count)
{
	if (paced->file) {
		fwrite(frames, paced->frame_bytes, count, paced->file);
		fflush(paced->file); /* the process may be killed, and what was heard was heard */
	}
	paced->emitted += count;
}

static void emit_silence(paced_t *paced, uint64_t count)
{
	static const char zeros[4096];
	const uint64_t most = sizeof zeros / paced->frame_bytes;
	while (count) {
		uint64_t part = count < most ? count : most;
		emit(paced, zeros, part);
		count -= part;
	}
}

static int is_running(const paced_t *paced)
{
	return paced->io.state == SND_PCM_STATE_RUNNING || paced->io.state == SND_PCM_STATE_DRAINING;
}

static int is_in_xrun(const paced_t *paced)
{
	return paced->dry && paced->io.state == SND_PCM_STATE_RUNNING;
}

static int file_exists(const char *path)
{
	return path && access(path, F_OK) == 0;
}

/* Whether the card was missing now or at any earlier look. */
static int is_pulled(paced_t *paced)
{
	if (!paced->dead && file_exists(paced->unplugged)) {
		paced->dead = 1;
		if (is_running(paced))
			log_event(paced, "stop", now_ns());
	}
	return paced->dead;
}

static int names_call(const char *path, const char *call)
{
	char names[64] = "";
	FILE *file = path ? fopen(path, "re") : NULL;
	if (!file)
		return 0;
	size_t length = fread(names, 1, sizeof names - 1, file);
	fclose(file);
	names[length] = 0;
	return strstr(length ? names : "start stop close", call) != NULL;
}

/* Block as a driver that hangs in this call. */
static void wait_while_stuck(const char *path, const char *call)
{
	while (names_call(path, call))
		usleep(1000);
}

/* Emit all frames whose time has come. */
static void catch_up(paced_t *paced)
{
	if (is_pulled(paced))
		snd_pcm_ioplug_set_state(&paced->io, SND_PCM_STATE_DISCONNECTED);
	if (!is_running(paced))
		return;
	int64_t time_ns = now_ns();
	uint64_t due = (uint64_t)((time_ns - paced->run_ns) * paced->frames_per_ns);
	int ran_dry = due > paced->given;
	if (ran_dry)
		due = paced->given;
	while (paced->played < due) {
		uint64_t offset = paced->played % paced->io.buffer_size;
		uint64_t part = due - paced->played;
		if (part > paced->io.buffer_size - offset)
			part = paced->io.buffer_size - offset;
		emit(paced, paced->ring + offset * paced->frame_bytes, part);
		paced->played += part;
	}
	if (ran_dry && !paced->dry) {
		paced->dry = 1;
		if (paced->io.state == SND_PCM_STATE_RUNNING)
			log_event(paced, "xrun", time_ns);
	}
}

static int paced_start(snd_pcm_ioplug_t *io)
{
	paced_t *paced = io->private_data;
	wait_while_stuck(paced->stuck, "start");
	if (file_exists(paced->unplug_at_start))
		rename(paced->unplug_at_start, paced->unplugged);
	if (is_pulled(paced))
		return -ENODEV;
	paced->run_ns = now_ns();
	if (!paced->epoch_ns) {
		paced->epoch_ns = paced->run_ns;
		if (paced->file && !fseek(paced->file, 0, SEEK_END))
			paced->before = ftell(paced->file) / paced->frame_bytes;
	}
	/* The converter went on emitting while the stream stood. */
	uint64_t due = (uint64_t)((paced->run_ns - paced->epoch_ns) * paced->frames_per_ns);
	if (due > paced->emitted)
		emit_silence(paced, due - paced->emitted);
	paced->dry = 0;
	log_event(paced, "start", paced->run_ns);
	return 0;
}

static int paced_stop(snd_pcm_ioplug_t *io)
{
	paced_t *paced = io->private_data;
	wait_while_stuck(paced->stuck, "stop");
	catch_up(paced);
	if (paced->dead)
		return -ENODEV;
	if (paced->run_ns) /* else it was opened only to be asked what it takes */
		log_event(paced, "stop", now_ns());
	return 0;
}

static int paced_prepare(snd_pcm_ioplug_t *io)
{
	paced_t *paced = io->private_data;
	if (paced->dry)
		wait_while_stuck(paced->stuck, "xrun");
	if (is_pulled(paced))
		return -ENODEV;
	paced->given = paced->played = 0;
	paced->dry = 0;
	return 0;
}

static snd_pcm_sframes_t paced_pointer(snd_pcm_ioplug_t *io)
{
	paced_t *paced = io->private_data;
	catch_up(paced);
	if (paced->dead)
		return -ENODEV;
	return is_in_xrun(paced) ? -EPIPE : (snd_pcm_sframes_t)(paced->played % paced->boundary);
}

/* Set the timer to when the application may write again; in the past if it may now. A driver's poll() looks anew each time, so
 * this is called after each write and after each wake-up as well: PulseAudio asks for the descriptors once only. */
static void arm_timer(paced_t *paced)
{
	int64_t wake_ns = 1;
	catch_up(paced);
	if (is_running(paced)) {
		int64_t needed = paced->given;
		if (paced->io.state != SND_PCM_STATE_DRAINING)
			needed += (int64_t)paced->avail_min - (int64_t)paced->io.buffer_size;
		if (needed > (int64_t)paced->played)
			wake_ns = paced->run_ns + (int64_t)(needed / paced->frames_per_ns) + 1000;
	}
	struct itimerspec timer = {.it_value = {.tv_sec = wake_ns / NANOSECONDS, .tv_nsec = wake_ns % NANOSECONDS}};
	timerfd_settime(paced->timer, TFD_TIMER_ABSTIME, &timer, NULL);
}

static snd_pcm_sframes_t paced_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas, snd_pcm_uframes_t offset,
                                        snd_pcm_uframes_t size)
{
	paced_t *paced = io->private_data;
	const char *source = (const char *)areas->addr + (areas->first + areas->step * offset) / 8;
	snd_pcm_uframes_t left = size;
	catch_up(paced);
	if (paced->dead)
		return -ENODEV;
	if (is_in_xrun(paced))
		return -EPIPE;
	while (left) {
		uint64_t start = paced->given % io->buffer_size;
		uint64_t part = left;
		if (part > io->buffer_size - start)
			part = io->buffer_size - start;
		memcpy(paced->ring + start * paced->frame_bytes, source, part * paced->frame_bytes);
		source += part * paced->frame_bytes;
		paced->given += part;
		left -= part;
	}
	arm_timer(paced);
	return size;
}

static int paced_delay(snd_pcm_ioplug_t *io, snd_pcm_sframes_t *delay)
{
	paced_t *paced = io->private_data;
	catch_up(paced);
	*delay = paced->given - paced->played;
	return 0;
}

static int paced_hw_params(snd_pcm_ioplug_t *io, snd_pcm_hw_params_t *params)
{
	paced_t *paced = io->private_data;
	(void)params;
	paced->frame_bytes = snd_pcm_format_physical_width(io->format) / 8 * io->channels;
	paced->frames_per_ns = io->rate * (1 + paced->ppm * 1e-6) / NANOSECONDS;
	free(paced->ring);
	paced->ring = calloc(io->buffer_size, paced->frame_bytes);
	return paced->ring ? 0 : -ENOMEM;
}

static int paced_sw_params(snd_pcm_ioplug_t *io, snd_pcm_sw_params_t *params)
{
	paced_t *paced = io->private_data;
	snd_pcm_sw_params_get_avail_min(params, &paced->avail_min);
	snd_pcm_sw_params_get_boundary(params, &paced->boundary);
	return 0;
}

static int paced_poll_descriptors_count(snd_pcm_ioplug_t *io)
{
	(void)io;
	return 1;
}

static int paced_poll_descriptors(snd_pcm_ioplug_t *io, struct pollfd *descriptors, unsigned count)
{
	paced_t *paced = io->private_data;
	(void)count;
	arm_timer(paced);
	descriptors->fd = paced->timer;
	descriptors->events = POLLIN;
	return 1;
}

static int paced_poll_revents(snd_pcm_ioplug_t *io, struct pollfd *descriptors, unsigned count, unsigned short *revents)
{
	paced_t *paced = io->private_data;
	(void)count;
	*revents = 0;
	if (descriptors->revents & POLLIN) {
		uint64_t expirations;
		if (read(paced->timer, &expirations, sizeof expirations) < 0)
			expirations = 0;
		catch_up(paced);
		int is_broken = is_in_xrun(paced) || paced->io.state == SND_PCM_STATE_DISCONNECTED;
		*revents = is_broken ? POLLOUT | POLLERR : POLLOUT;
		arm_timer(paced);
	}
	return 0;
}

static int paced_close(snd_pcm_ioplug_t *io)
{
	paced_t *paced = io->private_data;
	wait_while_stuck(paced->stuck, "close");
	if (paced->file)
		fclose(paced->file);
	if (paced->log)
		fclose(paced->log);
	close(paced->timer);
	free(paced->ring);
	free(paced->unplugged);
	free(paced->unplug_at_start);
	free(paced->stuck);
	free(paced);
	return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
	.start = paced_start,
	.stop = paced_stop,
	.pointer = paced_pointer,
	.transfer = paced_transfer,
	.close = paced_close,
	.hw_params = paced_hw_params,
	.sw_params = paced_sw_params,
	.prepare = paced_prepare,
	.delay = paced_delay,
	.poll_descriptors_count = paced_poll_descriptors_count,
	.poll_descriptors = paced_poll_descriptors,
	.poll_revents = paced_poll_revents,
};

typedef struct {
	const char *file, *log, *unplugged, *unplug_at_start, *stuck, *format;
	double ppm;
	long rate, rate_max, channels, channels_max, period_min, period_max, buffer_min, buffer_max;
} settings_t;

typedef struct {
	const char *name;
	int (*read)(const snd_config_t *node, void *value);
	size_t offset;
} field_t;

static int read_string(const snd_config_t *node, void *value)
{
	return snd_config_get_string(node, value);
}

static int read_integer(const snd_config_t *node, void *value)
{
	return snd_config_get_integer(node, value);
}

static int read_real(const snd_config_t *node, void *value)
{
	return snd_config_get_ireal(node, value);
}

#define FIELD(name, read) {#name, read, offsetof(settings_t, name)}
static const field_t fields[] = {
	FIELD(file, read_string),         FIELD(log, read_string),           FIELD(unplugged, read_string),
	FIELD(unplug_at_start, read_string), FIELD(stuck, read_string),      FIELD(format, read_string),
	FIELD(ppm, read_real),            FIELD(rate, read_integer),         FIELD(rate_max, read_integer),
	FIELD(channels, read_integer),    FIELD(channels_max, read_integer), FIELD(period_min, read_integer),
	FIELD(period_max, read_integer),  FIELD(buffer_min, read_integer),   FIELD(buffer_max, read_integer),
};

static int read_field(const snd_config_t *node, const char *id, settings_t *settings)
{
	for (size_t index = 0; index < sizeof fields / sizeof *fields; index++)
		if (!strcmp(id, fields[index].name))
			return fields[index].read(node, (char *)settings + fields[index].offset);
	return -EINVAL;
}

static int read_settings(snd_config_t *conf, settings_t *settings)
{
	snd_config_iterator_t item, next;
	snd_config_for_each(item, next, conf) {
		snd_config_t *node = snd_config_iterator_entry(item);
		const char *id;
		if (snd_config_get_id(node, &id) < 0 || !strcmp(id, "comment") || !strcmp(id, "type") || !strcmp(id, "hint"))
			continue;
		int error = read_field(node, id, settings);
		if (error < 0) {
			SNDERR("paced: field %s is unknown or has the wrong type", id);
			return error;
		}
	}
	return 0;
}

static long or_else(long value, long otherwise)
{
	return value ? value : otherwise;
}

static int constrain(snd_pcm_ioplug_t *io, const settings_t *settings)
{
	static const unsigned accesses[] = {SND_PCM_ACCESS_MMAP_INTERLEAVED, SND_PCM_ACCESS_RW_INTERLEAVED};
	const snd_pcm_format_t format = settings->format ? snd_pcm_format_value(settings->format) : SND_PCM_FORMAT_S16_LE;
	if (format == SND_PCM_FORMAT_UNKNOWN)
		return -EINVAL;
	const unsigned formats[] = {format};
	const long channels = or_else(settings->channels, 1), rate = or_else(settings->rate, 8000);
	const long frame = snd_pcm_format_physical_width(format) / 8 * channels;
	snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 2, accesses);
	snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 1, formats);
	snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, channels, or_else(settings->channels_max, or_else(settings->channels, 2)));
	snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_RATE, rate, or_else(settings->rate_max, or_else(settings->rate, 96000)));
	snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, settings->period_min ? settings->period_min * frame : 128,
	                                settings->period_max ? settings->period_max * frame : 1 << 20);
	snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_BUFFER_BYTES, settings->buffer_min ? settings->buffer_min * frame : 256,
	                                settings->buffer_max ? settings->buffer_max * frame : 1 << 22);
	snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 1024);
	return 0;
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

SND_PCM_PLUGIN_DEFINE_FUNC(paced)
{
	settings_t settings = {0};
	int error = read_settings(conf, &settings);
	if (error < 0)
		return error;
	if (stream != SND_PCM_STREAM_PLAYBACK)
		return -ENOTSUP;
	wait_while_stuck(settings.stuck, "open");
	if (file_exists(settings.unplugged))
		return -ENODEV;
	paced_t *paced = calloc(1, sizeof *paced);
	if (!paced)
		return -ENOMEM;
	paced->ppm = settings.ppm;
	paced->unplugged = copy(settings.unplugged);
	paced->unplug_at_start = copy(settings.unplug_at_start);
	paced->stuck = copy(settings.stuck);
	paced->avail_min = 1;
	paced->boundary = 1UL << 30;
	paced->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	/* PortAudio opens every device once when it lists them: append, never truncate. */
	paced->file = settings.file ? fopen(settings.file, "ae") : NULL;
	paced->log = settings.log ? fopen(settings.log, "ae") : NULL;
	paced->io.version = SND_PCM_IOPLUG_VERSION;
	paced->io.name = "paced virtual sound card";
	paced->io.callback = &callbacks;
	paced->io.private_data = paced;
	paced->io.flags = SND_PCM_IOPLUG_FLAG_MONOTONIC | SND_PCM_IOPLUG_FLAG_BOUNDARY_WA;
	paced->io.poll_fd = paced->timer;
	paced->io.poll_events = POLLIN;
	error = snd_pcm_ioplug_create(&paced->io, name, stream, mode);
	if (error < 0) {
		paced_close(&paced->io);
		return error;
	}
	error = constrain(&paced->io, &settings);
	if (error < 0) {
		snd_pcm_ioplug_delete(&paced->io);
		return error;
	}
	*pcmp = paced->io.pcm;
	return 0;
}
SND_PCM_PLUGIN_SYMBOL(paced);
