package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// howToInstall is what somebody without ffmpeg needs to know.
const howToInstall = `ffmpeg does the work, and it is missing. Install it:
  apt-get install ffmpeg         Debian, Ubuntu
  dnf install ffmpeg-free        Fedora
  brew install ffmpeg            macOS
  winget install ffmpeg          Windows
  pip install imageio-ffmpeg     anywhere: brings the program, whose path "python3 -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())'" prints for -ffmpeg`

// ffmpeg is the program.
type ffmpeg string

// findFFmpeg looks for it and asks for its version.
func findFFmpeg(ctx context.Context, name string) (program ffmpeg, version string, err error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", "", errors.New(howToInstall)
	}
	out, err := exec.CommandContext(ctx, path, "-version").Output()
	if err != nil {
		return "", "", fmt.Errorf("%s -version: %w", path, err)
	}
	version, _, _ = strings.Cut(string(out), " Copyright")
	return ffmpeg(path), strings.TrimSpace(version), nil
}

func (f ffmpeg) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, string(f), append([]string{"-nostdin", "-hide_banner", "-loglevel", "error", "-y"}, args...)...)
}

// generate makes a video: a test picture that moves, with a tone.
func (f ffmpeg) generate(ctx context.Context, file string, number int, length time.Duration) error {
	seconds := strconv.FormatFloat(length.Seconds(), 'f', 3, 64)
	picture := []string{"testsrc2", "testsrc", "rgbtestsrc", "smptehdbars"}[number%2]
	return quiet(f.command(ctx, "-f", "lavfi", "-i", fmt.Sprintf("%s=size=854x480:rate=%d:duration=%s", picture, frameRate, seconds),
		"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=%d:duration=%s", 220+55*number, seconds), "-c:v", "mpeg4", "-q:v", "4", "-c:a", "aac", "-shortest", file))
}

// frameRate is that of generated videos.
const frameRate = 25

// quiet runs a command, and makes its last words the error.
func quiet(c *exec.Cmd) error {
	var complaint bytes.Buffer
	c.Stderr = &complaint
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", c.Args[0], err, lastLine(complaint.String()))
	}
	return nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

var durationLine = regexp.MustCompile(`Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)`)

// length is how long a video is, or 0 if ffmpeg can't tell.
func (f ffmpeg) length(ctx context.Context, file string) time.Duration {
	// Without an output ffmpeg describes the input and ends with an error.
	out, _ := exec.CommandContext(ctx, string(f), "-nostdin", "-hide_banner", "-i", file).CombinedOutput()
	return parseLength(out)
}

func parseLength(said []byte) time.Duration {
	m := durationLine.FindSubmatch(said)
	if m == nil {
		return 0
	}
	hours, _ := strconv.Atoi(string(m[1]))
	minutes, _ := strconv.Atoi(string(m[2]))
	seconds, _ := strconv.ParseFloat(string(m[3]), 64)
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(seconds*float64(time.Second))
}

// transcode makes an H.264 video of at most 360 lines. It tells how much of it is done.
// One thread: the number of workers says how many processors are used.
func (f ffmpeg) transcode(ctx context.Context, in, out string, length time.Duration, progress func(percent int)) error {
	c := f.command(ctx, "-threads", "1", "-i", in, "-vf", "scale=-2:'min(360,ih)'", "-c:v", "libx264", "-preset", "medium", "-threads", "1", "-pix_fmt", "yuv420p",
		"-c:a", "aac", "-progress", "pipe:1", "-stats_period", "0.2", "-f", "mp4", out)
	var complaint bytes.Buffer
	c.Stderr = &complaint
	c.WaitDelay = 2 * time.Second
	told, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	follow(told, length, progress)
	if err := c.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &unreadable{lastLine(complaint.String())}
	}
	return nil
}

// unreadable is ffmpeg's word that it can't do a video: no other worker can either.
type unreadable struct{ why string }

func (u *unreadable) Error() string { return u.why }

// follow reads what ffmpeg tells with -progress until its end.
func follow(r io.Reader, length time.Duration, progress func(percent int)) {
	lines := bufio.NewScanner(r)
	last := -1
	for lines.Scan() {
		value, ok := strings.CutPrefix(lines.Text(), "out_time_us=")
		us, err := strconv.ParseInt(value, 10, 64) // N/A before the first frame
		if !ok || err != nil || length <= 0 {
			continue
		}
		if percent := int(max(0, min(99, 100*us/length.Microseconds()))); percent != last {
			last = percent
			progress(percent)
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line that was too long must not stop ffmpeg
}

// frames unpacks a whole video and counts its pictures.
func (f ffmpeg) frames(ctx context.Context, file string) (int, error) {
	c := f.command(ctx, "-i", file, "-map", "0:v:0", "-f", "null", "-progress", "pipe:1", "-")
	var complaint bytes.Buffer
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil || complaint.Len() > 0 {
		return 0, fmt.Errorf("%s: %v %s", file, err, lastLine(complaint.String()))
	}
	return parseFrames(out), nil
}

// parseFrames is the last count of what -progress told.
func parseFrames(told []byte) int {
	n := 0
	for line := range strings.Lines(string(told)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "frame="); ok {
			n, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return n
}
