package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Job is what the message of one says. The video is named, not sent: workers share
// the folder, as they would share a store of objects.
type Job struct {
	ID     string
	Name   string
	In     string // path
	Out    string
	Length time.Duration // 0: not known
}

// sources makes videos, or finds the user's; out is where results go.
func sources(ctx context.Context, f ffmpeg, s *settings, dir string, bar *demo.Bar) (jobs []Job, title string, err error) {
	out := filepath.Join(dir, "out")
	if s.out != "" {
		out = s.out
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, "", err
	}
	if s.videos != "" {
		jobs, err = ownVideos(ctx, f, s.videos, out, s.count)
		return jobs, fmt.Sprintf("%d videos of %s", len(jobs), s.videos), err
	}
	in := filepath.Join(dir, "in")
	if err := os.MkdirAll(in, 0o755); err != nil {
		return nil, "", err
	}
	add := func(id, name string, length time.Duration) string {
		file := filepath.Join(in, name)
		jobs = append(jobs, Job{ID: id, Name: name, In: file, Out: filepath.Join(out, name), Length: length})
		return file
	}
	for n := range s.count {
		if err := f.generate(ctx, add(fmt.Sprint(n+1), fmt.Sprintf("video-%d.mp4", n+1), s.length), n, s.length); err != nil {
			return nil, "", err
		}
		bar.Set(uint64(n + 1))
		if n == 0 { // one that nobody can read: the beginning of the first
			whole, err := os.ReadFile(jobs[0].In)
			if err != nil {
				return nil, "", err
			}
			if err := os.WriteFile(add("broken", brokenName, 0), whole[:len(whole)/3], 0o600); err != nil {
				return nil, "", err
			}
		}
	}
	// The broken one comes when every worker has something to do.
	jobs = append(append(slices.Clone(jobs[:1]), jobs[2:]...), jobs[1])
	return jobs, fmt.Sprintf("%d GENERATED videos of %.0f s, 854 × 480, and a broken one", s.count, s.length.Seconds()), nil
}

const brokenName = "broken.mp4"

// ownVideos are the files of a directory that look like videos, or one file.
func ownVideos(ctx context.Context, f ffmpeg, path, out string, limit int) (jobs []Job, err error) {
	err = filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		switch strings.ToLower(filepath.Ext(p)) {
		case ".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg":
		default:
			return nil
		}
		if len(jobs) == limit {
			return filepath.SkipAll
		}
		id := fmt.Sprint(len(jobs) + 1)
		full, err := filepath.Abs(p)
		if err != nil {
			return err
		}
		// The number keeps two of the same name apart.
		name := strings.TrimSuffix(filepath.Base(p), filepath.Ext(p)) + "-" + id + ".mp4"
		jobs = append(jobs, Job{ID: id, Name: filepath.Base(p), In: full, Out: filepath.Join(out, name), Length: f.length(ctx, full)})
		return nil
	})
	if err == nil && len(jobs) == 0 {
		err = fmt.Errorf("no video in %s", path)
	}
	return jobs, err
}
